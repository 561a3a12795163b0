"""Whether a checkpoint is what was written: every file, its size, its contents, and the step that it is of."""

from __future__ import annotations

import json
import re
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from prefopt.trainers.checkpointing import manifest
from prefopt.trainers.checkpointing.foreign_code import code_in
from prefopt.trainers.checkpointing.manifest import Manifest
from reward_models.whole_files import WEIGHTS, files_of

FOLDER = re.compile(r"checkpoint-(\d+)")
SHARDED = re.compile(r"pytorch_model_fsdp.*|global_step\d+")
"""Weights as FSDP and DeepSpeed write them."""
SETTLED = 1_000_000_000
"""Nanoseconds after which a file that is changed has another time."""
STATE, OURS = "trainer_state.json", "training_args.json"
_Signature = tuple[tuple[str, int, int, int], ...]
_found: dict[Path, tuple[_Signature, Verdict]] = {}


@dataclass(frozen=True)
class Verdict:
    """What was found in a checkpoint's folder.

    Attributes:
        folder: looked at. step: of its name; of its contents where the name has none; -1 where neither tells.
        faults: what is wrong, a sentence each; none for a checkpoint that can be resumed from.
        manifest: None for a checkpoint of plain transformers, and for a damaged one.
    """

    folder: Path
    step: int
    faults: tuple[str, ...] = ()
    manifest: Manifest | None = None

    @property
    def valid(self) -> bool:
        """Whether a run can go on from it."""
        return not self.faults

    @property
    def run(self) -> str:
        """Identity of the run that wrote it; "" where nothing tells."""
        return "" if self.manifest is None else self.manifest.run

    @property
    def reason(self) -> str:
        """The faults as one line: the first three."""
        more = len(self.faults) - 3
        return "; ".join(self.faults[:3]) + (f"; and {more} more" if more > 0 else "")


def verify(folder: Path) -> Verdict:
    """Look at every byte of a checkpoint; what was found is remembered until a file of it changes."""
    signature, now = _signature(folder), time.time_ns()
    known = _found.get(folder.absolute())
    if known is not None and known[0] == signature:
        return known[1]
    try:
        verdict = _look(folder)
    except OSError as error:
        return Verdict(folder, _named(folder), (f"it cannot be read: {error}",))
    # A clock ticks some milliseconds: a file that was changed just now may be changed again at the same time.
    if all(changed < now - SETTLED for _, _, changed, _ in signature):
        _found[folder.absolute()] = (signature, verdict)
        for removed in [place for place in _found if not place.is_dir()]:
            del _found[removed]
    return verdict


def _look(folder: Path) -> Verdict:
    step = _named(folder)
    named = None if step < 0 else step
    if not folder.is_dir():
        return Verdict(folder, step, ("there is no such folder",))
    if not any(folder.iterdir()):
        return Verdict(folder, step, ("the folder is empty",))
    if not (folder / manifest.NAME).is_file():
        return _without_manifest(folder, named)
    try:
        said = manifest.read(folder)
    except (ValueError, OSError) as error:
        return Verdict(folder, step, (f"{manifest.NAME} cannot be trusted: {error}",))
    # Hashes are no signature: whoever plants a file can write the manifest anew.
    faults = _of_steps(folder, named, said.step) + _of_files(folder, said) or code_in(folder)
    return Verdict(folder, said.step if named is None else named, tuple(faults), None if faults else said)


def _named(folder: Path) -> int:
    match = FOLDER.fullmatch(folder.name)
    return int(match[1]) if match else -1


def _of_files(folder: Path, said: Manifest) -> list[str]:
    faults, whole = [], []
    for name, wanted in said.files.items():
        file = folder / name
        if not file.is_file():
            faults.append(f"{name} is missing")
        elif (size := file.stat().st_size) != wanted.bytes:
            what = "is empty" if size == 0 else "is truncated" if size < wanted.bytes else "is too long"
            faults.append(f"{name} {what}: {size:,} of {wanted.bytes:,} bytes")
        else:
            whole.append(name)
    for name, one in zip(whole, manifest.found_of(folder / name for name in whole), strict=True):
        if isinstance(one, OSError):
            faults.append(f"{name} cannot be read: {one.strerror}")
        elif one.sha256 != said.files[name].sha256:
            faults.append(f"{name} was changed: {_whose(folder, name, one.sha256)}")
    return faults


def _whose(folder: Path, name: str, sha256: str) -> str:
    """Say where contents come from that are not those of the manifest."""
    for other in sorted(folder.parent.glob("checkpoint-*")):
        try:
            record = manifest.read(other).files.get(name)
        except (ValueError, OSError):
            continue
        if other != folder and record is not None and record.sha256 == sha256:
            return f"it is that of {other.name}"
    return "its contents are not those that were written"


def _of_steps(folder: Path, named: int | None, said: int | None) -> list[str]:
    try:
        step = json.loads((folder / STATE).read_text(encoding="utf-8"))["global_step"]
    except FileNotFoundError:
        return [f"{STATE} is missing"] if said is None else []  # the manifest's files tell, too
    except (ValueError, KeyError, TypeError, OSError) as error:
        return [f"{STATE} cannot be read: {error}"]
    known = {"the folder's name": named, manifest.NAME: said}
    return [f"{STATE} is of step {step}, and {what} says {of}" for what, of in known.items() if of not in (None, step)]


def _without_manifest(folder: Path, named: int | None) -> Verdict:
    step = _named(folder)
    if (folder / OURS).is_file():
        return Verdict(folder, step, (f"{manifest.NAME} is missing: the checkpoint was not written to its end",))
    if not (folder / STATE).is_file():
        return Verdict(folder, step, (f"{STATE} is missing: this is no checkpoint, or part of one",))
    files = [file for file in files_of(folder) if file.stat().st_size == 0 or not _opens(file)]
    faults = _of_steps(folder, named, None) + [f"{file.name} is damaged" for file in files]
    faults += code_in(folder)
    if not any(WEIGHTS.fullmatch(path.name) or SHARDED.fullmatch(path.name) for path in folder.iterdir()):
        faults.append("it has no weights")
    return Verdict(folder, step, tuple(faults))


def _opens(file: Path) -> bool:
    """Whether a file without a known hash is whole, as far as its own form tells."""
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, "pt"):
                return True
        if file.suffix == ".json":
            json.loads(file.read_text(encoding="utf-8"))
        if file.suffix in (".pt", ".pth", ".bin"):
            with zipfile.ZipFile(file) as opened:
                return opened.testzip() is None
    except (SafetensorError, ValueError, OSError, zipfile.BadZipFile):
        return False
    return True


def _signature(folder: Path) -> _Signature:
    if not folder.is_dir():
        return ()
    stats = ((file, file.stat()) for file in files_of(folder))
    return tuple((file.name, one.st_size, one.st_ctime_ns, one.st_ino) for file, one in stats)
