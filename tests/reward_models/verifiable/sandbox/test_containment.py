"""Hostile programs are stopped, honest ones work, each protection is needed: on each tier, as root and as nobody."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward_models.verifiable.sandbox import CONFINED, Sandbox, SandboxUnavailable
from reward_models.verifiable.sandbox.bubblewrap import NOBODY
from reward_models.verifiable.sandbox.interpreter import find_interpreter
from reward_models.verifiable.sandbox.protections import TIERS
from reward_models.verifiable.sandbox.tiers import Tier, find_tier
from tests.reward_models.verifiable.sandbox import attacks

HERE = Path(__file__).parent

# Seen from outside alone: no program inside could tell.
OUTSIDE = {
    "bwrap": {"unprivileged_user": "user", "control_group_namespace": "cgroup"},
    "landlock": {"unprivileged_user": "user"},
}
MUTATIONS = [(tier, protection) for tier in CONFINED for protection in TIERS[tier]]


@pytest.fixture(scope="module", params=CONFINED)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox of each tier that works here, started with a token in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(attacks.TOKEN, "hf_secret")
        try:
            Sandbox.named(request.param)
        except SandboxUnavailable as error:
            pytest.skip(str(error))
        found = Sandbox(find_tier(request.param))
        yield found
        found.close()


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_attack_is_stopped(sandbox: Sandbox, name: str) -> None:
    """What the program answers, how it ended, and the host's bait, are as the attack's ``blocked`` demands."""
    attack = attacks.ATTACKS[name]
    if not attack.on(sandbox.tier):
        pytest.skip(f"tier {sandbox.tier} does not claim to stop it")
    if attack.beneath:
        assert attack.succeeds(sandbox.tier) is None
        return
    with attacks.baited() as bait:
        outcome = attacks.run(sandbox, attacks.PRELUDE + attack.program, bait, attack.limits)
    assert attack.blocked(outcome), outcome


@pytest.mark.parametrize("name", attacks.HONEST)
def test_honest_program_works(sandbox: Sandbox, name: str) -> None:
    """It answers True and exits with 0."""
    outcome = attacks.run(sandbox, attacks.PRELUDE + attacks.HONEST[name], {})
    assert (outcome.answer, outcome.usage.returncode) == (True, 0), outcome


def test_attacks_as_nobody(sandbox: Sandbox) -> None:
    """All of the above once more, started by an ordinary user without any capability."""
    if os.geteuid() != 0:
        pytest.skip("the tests above ran as an ordinary user")
    if not os.access(HERE, os.R_OK) or subprocess.run(["test", "-r", HERE / "attacks.py"], user=NOBODY).returncode:
        pytest.skip(f"{HERE} cannot be read by another user")
    done = subprocess.run(
        [find_interpreter(NOBODY).executable, HERE / "try_attacks.py", sandbox.tier],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {name: what for name, what in json.loads(done.stdout).items() if what is not None} == {}


@pytest.mark.parametrize("tier", CONFINED)
def test_interpreter_outside_usr(tier: str) -> None:
    """This process's own interpreter, wherever it lies, runs the standard library and shows no installed package."""
    try:
        Sandbox.named(tier)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    own = Sandbox(Tier(tier, find_interpreter(None), None))
    outcome = attacks.run(own, attacks.PRELUDE + attacks.HONEST["standard_library"], {})
    assert outcome.answer is True, outcome
    attack = attacks.ATTACKS["read_packages"]
    with attacks.baited() as bait:
        assert attack.blocked(attacks.run(own, attacks.PRELUDE + attack.program, bait))
    own.close()


def test_from_outside(sandbox: Sandbox) -> None:
    """The launcher has no capability, is not root, and in tier 1 shares no namespace with the host."""
    with sandbox._tier.open() as box:
        found = attacks.outside(box, sandbox.tier)
    namespaces = dict.fromkeys(("cgroup", "ipc", "mnt", "net", "uts", "pid"), sandbox.tier == "bwrap")
    assert found == {**namespaces, "user": True, "capabilities": True}


@pytest.mark.parametrize("tier", CONFINED)
def test_every_protection_is_tried(tier: str) -> None:
    """An attack, or a look from outside, names each protection."""
    assert attacks.uncovered(tier) == set(OUTSIDE[tier])


@pytest.mark.parametrize(("tier", "protection"), MUTATIONS)
def test_every_protection_is_needed(tier: str, protection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one protection removed, something that names it is stopped no more."""
    monkeypatch.setenv(attacks.TOKEN, "hf_secret")
    try:
        Sandbox.named(tier)
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    if protection in OUTSIDE[tier]:
        if protection == "unprivileged_user" and os.geteuid() != 0:
            pytest.skip("this user has no privilege to give up")
        with find_tier(tier).open({protection}) as box:
            assert not attacks.outside(box, tier)[OUTSIDE[tier][protection]]
        return
    named = [attack for attack in attacks.ATTACKS.values() if attack.stopped_by.get(tier) == protection]
    assert any(attack.succeeds(tier, frozenset({protection})) for attack in named)
