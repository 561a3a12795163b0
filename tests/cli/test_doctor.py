"""``prefopt doctor`` and the embedded assets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from prefopt import assets
from prefopt.cli import doctor, main
from prefopt.errors import UserError


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    main(["doctor", "--json"])
    return {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}


def test_json_names_versions_device_extras_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    found = findings(capsys)
    assert found["torch"]["value"] == torch.__version__
    assert found["device"]["value"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert set(doctor.CORE) | set(doctor.OPTIONAL) | {"sample data", "real data"} <= set(found)


def test_names_the_sandbox(capsys: pytest.CaptureFixture[str]) -> None:
    """Each tier with its guarantee, or with the reason why it does not work here; and the one that is used."""
    found = findings(capsys)
    for tier in ("bwrap", "landlock"):
        works = found[tier]["ok"]
        assert found[tier]["value"] == ("contains programs" if works else "not available")
        assert ("ends at its deadline" in str(found[tier]["note"])) == bool(works)
    working = [tier for tier in ("bwrap", "landlock") if found[tier]["ok"]]
    assert str(found["used for model-written code"]["value"]).startswith(working[0] if working else "none")


def test_a_version_outside_its_range_is_a_failure(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With trl 1.17 the online adapter is untested: doctor marks it and exits with 1."""
    installed = doctor._installed
    monkeypatch.setattr(doctor, "_installed", lambda name: "1.17.0" if name == "trl" else installed(name))
    found = findings(capsys)
    assert found["trl"]["ok"] is False
    assert "<1.17" in str(found["trl"]["note"])
    assert found["torch"]["ok"] is True
    assert main(["doctor"]) == 1


def test_the_table_shows_square_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    assert "'prefopt[peft]'" in capsys.readouterr().out.replace("\n", "")


def test_assets_from_the_wheel_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installed wheel carries ``prefopt/_data``; a checkout has ``data`` beside the package."""
    installed, checkout = tmp_path / "_data", tmp_path / "data"
    monkeypatch.setattr(assets, "INSTALLED", installed)
    monkeypatch.setattr(assets, "CHECKOUT", checkout)
    with pytest.raises(UserError, match="The sample data is missing"):
        assets.path("a.jsonl")
    checkout.mkdir()
    (checkout / "a.jsonl").write_text("{}")
    assert assets.path("a.jsonl") == checkout / "a.jsonl"
    installed.mkdir()
    (installed / "pairs.jsonl").write_text("{}")
    assert assets.names() == ["pairs.jsonl"]
    with pytest.raises(UserError, match=r"has no 'pair.jsonl' .* Did you mean 'pairs.jsonl'\?"):
        assets.path("pair.jsonl")
    with pytest.raises(UserError, match="leads out of the folder"):
        assets.path("../data/a.jsonl")
