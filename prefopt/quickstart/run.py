"""The order of the stages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from rich.console import Console
from transformers.utils import logging as transformers_logging

from prefopt.quickstart.checking import check_data
from prefopt.quickstart.held_out import judge
from prefopt.quickstart.record import Findings, record
from prefopt.quickstart.settings import BASE, OFFLINE, ONLINE, Settings
from prefopt.quickstart.stages import Stages
from prefopt.quickstart.summary import print_summary, summary, write_summary
from prefopt.quickstart.training import align_online, align_with_pairs, train_reward_model
from prefopt.report import write_report
from prefopt.trainers.rewards.reading import read_sources
from reward_models.evaluation import evaluate_model

COUNT = 8
THREADS = 1


def run_quickstart(settings: Settings, console: Console | None = None) -> dict[str, Any]:
    """Run all stages; write ``report.html``, ``record.json`` and ``summary.json``; return the summary."""
    # Bound to the stream of this moment: stages redirect sys.stdout, which is for libraries then.
    console = console or Console(file=sys.stdout, highlight=False)
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    log = settings.output_dir / "run.log"
    log.unlink(missing_ok=True)
    stages = Stages(console, log, COUNT)
    with _calm():
        found = _find(settings, stages)
        with stages("write the report") as bar:
            done = record(found, settings)
            (settings.output_dir / "record.json").write_text(done.to_json(), encoding="utf-8")
            report = write_report(done, settings.output_dir / "report.html")
            bar.finish(report.name)
    figures = summary(done, found, settings)
    write_summary(figures, settings.output_dir / "summary.json")
    print_summary(done, figures, console)
    console.print(f"Report: {report.resolve()}", soft_wrap=True)
    return figures


def _find(settings: Settings, stages: Stages) -> Findings:
    judged = {}
    with stages("check the data") as bar:
        data = check_data(settings.rows)
        bar.finish(f"{sum(check.kept for check in data.checks):,} rows")
    with stages("train the reward model") as bar:
        model = train_reward_model(data.pairs, settings, bar)
    with stages("evaluate the reward model") as bar:
        evaluation, pair_scores = evaluate_model(model, data.held_out_pairs, batch_size=128)
        bar.finish(f"accuracy {100 * evaluation.accuracy.value:.1f} %")
    sources = [source.load("cpu") for source in read_sources(settings.sources())]
    with stages("judge the base policy") as bar:
        judged[BASE] = judge(settings.policy, data.held_out_prompts, sources, settings, bar)
        bar.note(f"right {100 * float(judged[BASE].right.mean()):.1f} %")
    with stages("align online, three rewards") as bar:
        online, history = align_online(data.prompts, settings, bar)
    with stages("align offline, pairs alone") as bar:
        offline = align_with_pairs(data.pairs, settings, bar)
    with stages("judge the aligned policies") as bar:
        for name, folder in ((ONLINE, online), (OFFLINE, offline)):
            judged[name] = judge(folder, data.held_out_prompts, sources, settings, bar)
            bar.note(f"right {100 * float(judged[name].right.mean()):.1f} %")
    return Findings(data, evaluation, pair_scores, history, judged, stages.seconds)


@contextmanager
def _calm() -> Iterator[None]:
    """One thread: the matrices are tiny, and two threads wait for one another on a busy machine. No chatter."""
    threads, verbosity = torch.get_num_threads(), transformers_logging.get_verbosity()
    torch.set_num_threads(THREADS)
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        transformers_logging.set_verbosity(verbosity)
