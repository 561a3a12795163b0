"""Whether a file of transformers' own, a pickle in an archive, names code; it is looked through, never unpickled."""

from __future__ import annotations

from pathlib import Path

from torch.serialization import get_unsafe_globals_in_checkpoint

STATES = ("*.pt", "*.pth", "pytorch_model*.bin", "adapter_model.bin")
OF_GENERATORS = ("numpy.", "_codecs.encode")
"""What the state of numpy's generator consists of; transformers allows it by name when it reads that file."""


def code_in(folder: Path) -> list[str]:
    """Return a sentence for each file that names more than tensors, numbers and text, or that is no such archive."""
    found = []
    for file in sorted(file for pattern in STATES for file in folder.glob(pattern)):
        try:
            named = [name for name in get_unsafe_globals_in_checkpoint(file) if not name.startswith(OF_GENERATORS)]
        except Exception as error:  # whatever else is in the file, it is not opened
            found.append(f"{file.name} is no archive of tensors ({type(error).__name__}), and is not opened")
            continue
        if named:
            found.append(f"{file.name} names code ({named[0]}), which is never run")
    return found
