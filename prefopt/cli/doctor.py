"""``prefopt doctor``: what is installed, which device and sandbox are found, which extras and assets are there."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

from prefopt import __version__, assets
from prefopt.cli.arguments import parse
from prefopt.errors import UserError

CORE = ("torch", "transformers", "trl", "accelerate", "datasets", "safetensors", "numpy", "scipy")
OPTIONAL = {
    "peft": "LoRA adapters: pip install 'prefopt[peft]'",
    "math-verify": "answers compared as mathematics: pip install 'prefopt[math]'",
    "fastapi": "prefopt serve: pip install 'prefopt[serve]'",
    "vllm": "fast generation in align-online, through TRL",
    "deepspeed": "sharded training under accelerate launch",
    "bitsandbytes": "8-bit optimisers and quantised models",
    "tensorboard": "logging with --report-to tensorboard",
    "wandb": "logging with --report-to wandb",
    "trackio": "logging with --report-to trackio",
}


@dataclass(frozen=True)
class Arguments:
    """Doctor."""

    json: bool = field(default=False, metadata={"help": "Print JSON instead of a table"})


@dataclass(frozen=True)
class Finding:
    """One line of the report: ``ok`` is None where nothing can be wrong."""

    section: str
    name: str
    value: str
    note: str = ""
    ok: bool | None = None


def run(argv: list[str]) -> int:
    """Print the findings; return 1 where something that prefopt needs is missing or outside its range."""
    (arguments,) = parse(argv, "doctor", Arguments)
    findings = examine()
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print_table(findings)
    return 1 if any(finding.ok is False for finding in findings) else 0


def examine() -> list[Finding]:
    """Return all findings, grouped by section."""
    return [*_versions(), *_device(), *_sandbox(), *_extras(), *_files()]


def _versions() -> list[Finding]:
    ranges = _declared_ranges()
    found = [
        Finding("versions", "prefopt", __version__),
        Finding("versions", "python", platform.python_version(), platform.platform()),
    ]
    for name in CORE:
        version, wanted = _installed(name), ranges.get(name)
        tested = f"needs {wanted.specifier}" if wanted else ""
        ok = version is not None and (wanted is None or wanted.specifier.contains(version, prereleases=True))
        found.append(Finding("versions", name, version or "missing", tested, ok))
    return found


def _declared_ranges() -> dict[str, Requirement]:
    try:
        declared = importlib.metadata.requires("prefopt") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    wanted = [Requirement(line) for line in declared]
    return {one.name: one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})}


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> list[Finding]:
    import torch

    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        name = ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus)
        device = Finding("machine", "device", "cuda", name)
    elif torch.backends.mps.is_available():
        device = Finding("machine", "device", "mps", "Apple GPU")
    else:
        device = Finding("machine", "device", "cpu", "no accelerator that torch can use")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    cores = f"torch uses {torch.get_num_threads()} threads (OMP_NUM_THREADS sets it)"
    return [
        device,
        Finding("machine", "cores", str(os.cpu_count()), cores),
        Finding("machine", "memory", f"{memory / 2**30:.1f} GiB" if memory else "unknown"),
    ]


def _sandbox() -> list[Finding]:
    from reward_models.verifiable.sandbox import CONFINED, Sandbox, SandboxUnavailable

    found = []
    for tier in CONFINED:
        try:
            sandbox = Sandbox.named(tier)
        except SandboxUnavailable as error:
            found.append(Finding("sandbox", tier, "not available", str(error).removeprefix(f"{tier}: ")))
        else:
            python = f"{sandbox.interpreter.executable} {sandbox.interpreter.version}"
            found.append(Finding("sandbox", tier, "contains programs", f"{sandbox.guarantee} ({python})", True))
    best = next((finding.name for finding in found if finding.ok), "none: refused unless allow_unsafe is set")
    return [Finding("sandbox", "used for model-written code", best), *found]


def _extras() -> list[Finding]:
    return [Finding("optional", name, _installed(name) or "absent", gives) for name, gives in OPTIONAL.items()]


def _files() -> list[Finding]:
    try:
        embedded = Finding("files", "sample data", str(assets.root()), ", ".join(assets.names()), bool(assets.names()))
    except UserError as error:
        embedded = Finding("files", "sample data", "missing", str(error), False)
    real = Path(os.environ.get("PREFOPT_REAL_DATA", assets.PACKAGE.parent.parent / "shared" / "data"))
    about = "only some tests and benchmarks use it (PREFOPT_REAL_DATA names it)"
    return [embedded, Finding("files", "real data", str(real) if real.is_dir() else "absent", about)]


def _print_table(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="prefopt doctor", title_justify="left", show_lines=False)
    for heading in ("", "found", "note"):
        table.add_column(heading, overflow="fold")
    section = ""
    for finding in findings:
        if section and finding.section != section:
            table.add_section()
        section = finding.section
        mark = {True: " [green]✓[/green]", False: " [red]✗[/red]", None: ""}[finding.ok]
        table.add_row(finding.name, escape(finding.value) + mark, escape(finding.note))
    Console().print(table)
