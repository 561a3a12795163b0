"""Going on where an earlier attempt ended: what of it may be used, and what must not be mixed in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reward_models.errors import DataError
from reward_models.scoring.lock import refuse_if_held
from reward_models.scoring.manifest import differences, known_before
from reward_models.scoring.parts import Part, damaged_of, part_files, remove_part
from reward_models.scoring.settings import ScoringSettings
from reward_models.scoring.store import ScoreStore, manifest_of, sound


def check_earlier(source: Path, output: Path, settings: ScoringSettings, part: Part = Part()) -> None:
    """Refuse what cannot go on, before a model is loaded.

    Raises:
        DataError: another process is at work on the output, or scores of another input or setting lie there.
    """
    files = part_files(output)
    if not files:
        return
    wanted = known_before(source, settings)
    for path, other in files.items():
        if other == part or other.count != part.count:
            refuse_if_held(path)
            if not settings.restart:
                _refuse_other(path, wanted)


def open_store(output: Path, part: Part, manifest: dict[str, Any], restart: bool) -> ScoreStore:
    """Open a part's store: an earlier attempt's, a new one where there is none or it is damaged.

    Scores of attempts with another number of parts, and what can still be read of a damaged store, are taken over.

    Raises:
        DataError: as `check_earlier` does, and for scores of another model.
    """
    path = part.path(output)
    others = [file for file, other in part_files(output).items() if other.count != part.count]
    for file in others:
        refuse_if_held(file)
    if restart:
        remove_part(path)
        return ScoreStore(path, manifest)
    if path.exists() and not sound(path):
        os.replace(path, damaged_of(path))
    for file in (path, *others):
        _refuse_other(file, manifest)
    donors = [file for file in (damaged_of(path), *others) if _gives(file, manifest)]
    return ScoreStore(path, manifest, donors)


def _refuse_other(path: Path, wanted: Mapping[str, Any]) -> None:
    if path.exists() and (kept := manifest_of(path)) and (reasons := differences(kept, wanted)):
        raise DataError(
            f"{path} holds scores of an earlier attempt, and they do not belong to this one: {'; '.join(reasons)}. "
            "Go back to what it was to go on there, or set restart to score everything anew"
        )


def _gives(path: Path, manifest: Mapping[str, Any]) -> bool:
    # Of a store that no longer says what it belongs to, each text's hash still does.
    return path.exists() and not differences(manifest_of(path), manifest)
