"""Where a tier does not work, the reason is said, with what to do about it; and nothing runs without containment."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from reward_models.errors import ModelError
from reward_models.verifiable.sandbox import CONFINED, Sandbox, SandboxUnavailable, bubblewrap, canary, sandbox, tiers
from reward_models.verifiable.sandbox.box import Box
from reward_models.verifiable.sandbox.errors import SandboxFailure
from reward_models.verifiable.sandbox.inside import confinement
from reward_models.verifiable.sandbox.interpreter import VARIABLE, find_interpreter
from reward_models.verifiable.sandbox.tiers import find_tier, remedy


@pytest.fixture(autouse=True)
def _found_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_found", {})


def fake_bubblewrap(folder: Path, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a bwrap first on the PATH that complains and fails."""
    program = folder / "bwrap"
    program.write_text(f"#!/bin/sh\necho '{complaint}' >&2\nexit 1\n")
    program.chmod(0o755)
    folder.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    bubblewrap.options.cache_clear()


def test_without_bubblewrap_the_second_tier_is_best(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With no bwrap on the PATH, tier 1 says how to install it and ``best`` is Landlock where that works."""
    try:
        Sandbox.named("landlock")
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match=r"bwrap: bubblewrap is not installed.*apt install bubblewrap"):
        Sandbox.named("bwrap")
    assert Sandbox.best().tier == "landlock"


@pytest.mark.parametrize(
    ("complaint", "help_"),
    [
        ("bwrap: setting up uid map: Permission denied", "AppArmor"),
        ("bwrap: No permissions to create new namespace", "seccomp=unconfined"),
        ("bwrap: Creating new namespace failed: nesting depth or max_user_namespaces exceeded", "max_user_namespaces"),
    ],
)
def test_forbidden_namespaces(complaint: str, help_: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What bubblewrap says where a system forbids namespaces is passed on, with the remedy."""
    assert help_ in remedy(complaint)
    if sys.platform == "linux":
        # The unprivileged user must be able to run it too, which pytest's own folder would not allow.
        monkeypatch.setattr(tiers, "find_interpreter", lambda user: find_interpreter(None))
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        fake_bubblewrap(tmp_path, complaint, monkeypatch)
        with pytest.raises(SandboxUnavailable, match=f"bwrap: .*{complaint}.*{help_}"):
            Sandbox.named("bwrap")


FORBID = """
import ctypes, os
made, mapped = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
    os.write(made[1], b"x"), os.read(mapped[0], 1)
    os.setresgid(0, 0, 0), os.setresuid(0, 0, 0)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
    import sys, types
    package = sys.modules["reward_models.verifiable"] = types.ModuleType("reward_models.verifiable")
    package.__path__ = [{folder!r}]
    from reward_models.verifiable.sandbox import Sandbox, SandboxUnavailable
    try:
        Sandbox.named("bwrap")
    except SandboxUnavailable as error:
        print(error)
    print(Sandbox.best().tier, flush=True)
    os._exit(0)
os.read(made[0], 1)
for kind in ("uid_map", "gid_map"):
    open(f"/proc/{{pid}}/{{kind}}", "w").write("0 0 70000")
os.write(mapped[1], b"x")
os.waitpid(pid, 0)
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can forbid what this test forbids")
def test_where_the_system_forbids_namespaces() -> None:
    """Under ``max_user_namespaces = 0``, as in a hardened system, tier 1 says why not and tier 2 works."""
    for tier in CONFINED:
        try:
            Sandbox.named(tier)
        except SandboxUnavailable as error:
            pytest.skip(str(error))
    program = FORBID.format(folder=str(Path(sandbox.__file__).parents[1]))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    if "assert ctypes" in done.stderr:
        pytest.skip("no user namespace can be made here")
    *reason, best = done.stdout.splitlines()
    assert "max_user_namespaces=10000" in " ".join(reason), done.stderr
    assert best == "landlock"


def test_old_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below version 3 files could be truncated, so that the tier refuses and names both versions."""
    monkeypatch.setattr(confinement, "landlock_version", lambda: 2)
    with pytest.raises(SandboxUnavailable, match=r"landlock: .*Landlock version 2, and at least 3 is needed"):
        Sandbox.named("landlock")


def test_unknown_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both tiers need the filter, and it has no table for riscv64."""
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    for tier in CONFINED:
        with pytest.raises(SandboxUnavailable, match=f"{tier}: no table of system calls.*'riscv64'"):
            Sandbox.named(tier)


@pytest.mark.parametrize(("name", "system"), [("darwin", "Darwin"), ("win32", "Windows")])
def test_other_systems(name: str, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither tier exists there; the error names the system and the ways out."""
    monkeypatch.setattr(sys, "platform", name)
    monkeypatch.setattr(platform, "system", lambda: system)
    with pytest.raises(SandboxUnavailable, match=rf"(?s)needs Linux, and this is {system}.*remote.*allow_unsafe=True"):
        Sandbox.best()


def test_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that does not exist is named, with the variable that names another."""
    monkeypatch.setenv(VARIABLE, "/nowhere/python3")
    with pytest.raises(SandboxUnavailable, match=rf"/nowhere/python3: .*{VARIABLE}=/path/to/python3"):
        find_interpreter(None)


def test_nothing_runs_without_containment_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tier none is refused by ``named`` and by ``best``; with allow_unsafe it warns each time."""
    monkeypatch.setattr(sandbox, "CONFINED", ())
    with pytest.raises(SandboxUnavailable, match="allow_unsafe=True"):
        Sandbox.named("none")
    with pytest.raises(ModelError, match="cannot be contained on this machine"):
        Sandbox.best()
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="without containment"):
            assert Sandbox.best(allow_unsafe=True).tier == "none"


def test_unsafe_is_the_last_choice() -> None:
    """``allow_unsafe`` allows no containment, it does not ask for it."""
    try:
        best = Sandbox.best().tier
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    assert Sandbox.best(allow_unsafe=True).tier == best


def test_unknown_tier_and_protection() -> None:
    """A name that does not exist is an error that lists those that do."""
    with pytest.raises(SandboxUnavailable, match="no tier 'docker'; there are bwrap, landlock, none"):
        Sandbox.named("docker")
    with pytest.raises(ValueError, match="tier none has no protection landlock"):
        find_tier("none").open({"landlock"})


def test_canary_that_escapes_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the tier that contains nothing the canary reads, writes, connects and forks, and every success is named."""
    with find_tier("none").open() as box, pytest.raises(SandboxFailure) as caught:
        canary.run_canary(box, "none")
    for name in ("read a file of the host", "write to the host", "connect to a local port", "start a process"):
        assert name in str(caught.value)

    def open_all(tier: tiers.Tier, without: object = ()) -> Box:
        return opened(find_tier("none"))

    opened = tiers.Tier.open
    monkeypatch.setattr(tiers.Tier, "open", open_all)
    with pytest.raises(SandboxUnavailable, match="landlock: the canary could read a file of the host"):
        Sandbox.named("landlock")


@pytest.mark.parametrize("tier", CONFINED)
def test_probed_once(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary runs for the first request of a process; the reason of a failure is kept as well."""
    runs = []
    monkeypatch.setattr(sandbox, "run_canary", lambda box, tier: runs.append(tier))
    for _ in range(3):
        try:
            Sandbox.named(tier)
        except SandboxUnavailable as error:
            pytest.skip(str(error))
    assert runs == [tier]
