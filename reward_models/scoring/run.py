"""Score a file, or a part of it, on one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from reward_models.data.faults import BadRow
from reward_models.data.quarantine import Quarantine
from reward_models.disk_faults import disk_faults
from reward_models.errors import ModelError
from reward_models.folder import NOT_GATED
from reward_models.model import RewardModel
from reward_models.scoring.input import ScoringInput
from reward_models.scoring.join import join_parts
from reward_models.scoring.lock import hold
from reward_models.scoring.manifest import manifest_for
from reward_models.scoring.parts import Part, quarantine_of, unread_of
from reward_models.scoring.report import Progress, ScoringReport, silent, still
from reward_models.scoring.resume import open_store
from reward_models.scoring.rows import Columns
from reward_models.scoring.settings import ScoringSettings, check_files
from reward_models.scoring.shard import ShardScorer
from reward_models.scoring.store import BEGIN


def score_file(
    model: RewardModel,
    source: str | Path,
    output: str | Path,
    settings: ScoringSettings | None = None,
    model_name: str | Path = "",
    progress: Progress = silent,
) -> ScoringReport:
    """Score a JSONL or Parquet file (also .gz) into another, rows in the same order with score columns added.

    Rows hold prompt and completion(s), or prompt, chosen and rejected; any other preference shape is first brought to
    the latter. Memory holds about ``shard_rows`` texts. A killed run goes on where it was when called again. A score
    that is not finite becomes null and is counted.

    Raises:
        DataError: an unknown format, a bad row (with "raise"), no rows, a column that exists already, a disk that is
            full, another process at work on the output, or scores of an earlier attempt on another input, with another
            model or settings.
        ModelError: scores are to be explained, and the model has no gate; or the model or its device fails.
    """
    part = score_part(model, source, output, settings, model_name, progress=progress)
    return join_parts(source, output, 1, [part])


def score_part(
    model: RewardModel,
    source: str | Path,
    output: str | Path,
    settings: ScoringSettings | None = None,
    model_name: str | Path = "",
    part: Part = Part(),
    progress: Progress = silent,
    pulse: Callable[[], None] = still,
) -> ScoringReport:
    """Score one part of a file into ``OUTPUT.shard-i-of-n``, for `join_parts`.

    ``pulse`` is called after each batch, and now and then while the input is looked through.

    Raises:
        DataError: as `score_file` does.
        ModelError: as `score_file` does.
    """
    settings = settings or ScoringSettings()
    source, output = Path(source), Path(output)
    check_files(source, output)
    path = part.path(output)
    with disk_faults(output, lambda: BEGIN):
        output.parent.mkdir(parents=True, exist_ok=True)
    prepare(model, settings, model_name)
    formatter = model.formatter(settings.max_length)
    columns = Columns(model.names, settings.prefix, model.layout, model.steps is not None)
    rows = ScoringInput(source, columns, settings, _Counted(quarantine_of(path)))
    report = ScoringReport()
    with hold(path):
        store = open_store(output, part, manifest_for(model, source, settings, part.count), settings.restart)
        score = ShardScorer(model, formatter, rows, store, pulse)
        try:
            if settings.on_bad_row == "raise" and not store.settled():
                # A row that is mended makes another input: better now than after hours.
                rows.check(pulse)
            for shard, content in enumerate(rows.shards()):
                known = store.take(shard, [key for row in content for key in row.keys])
                if part.owns(shard):
                    report.rows += len(content)
                    own = [kept.settled for kept in known.values() if kept.shard == shard]
                    if own and all(own):
                        report.resumed_rows += len(content)
                    else:
                        score(shard, content, known, report)
                    progress(report.rows)
            store.finish()
        finally:
            store.close()
            report.damaged = store.damaged
            unread_of(path).unlink(missing_ok=True)
    return report


class _Counted(Quarantine):
    """Bad rows of a part: the join lists them, once for all parts."""

    def add(self, row: BadRow) -> None:
        """Count a row."""
        self.count += 1


def prepare(model: RewardModel, settings: ScoringSettings, model_name: str | Path = "") -> None:
    """Set a model to what the settings ask for.

    Raises:
        ModelError: it has no gate to explain, or no steps to sum up.
    """
    if settings.explain:
        if model.mixture is None:
            raise ModelError(f"{model_name or 'the model'}: {NOT_GATED}")
        model.explain = True
    if settings.step_summary is not None:
        model.sum_up_steps(settings.step_summary)
    model.use_attention(settings.attention, settings.max_length)
