"""Scoring a file on a Ray cluster (``pip install prefopt[ray]``): one actor a device, each with a part of the file.

Input, output and model lie where every node sees them under the same path. The parts are those of `scoring`: a killed
run goes on when it is called again with the same number of actors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reward_models.scoring.join import join_parts
from reward_models.scoring.parts import Part
from reward_models.scoring.report import ScoringReport
from reward_models.scoring.run import score_part
from reward_models.scoring.settings import ScoringSettings


class PartScorer:
    """An actor: the model stays loaded between parts."""

    def __init__(self, model: str, source: str, output: str, settings: ScoringSettings | None, device: str | None):
        from reward_models.devices import pick_device
        from reward_models.model import RewardModel

        self.name, self.source, self.output, self.settings = model, source, output, settings
        self.model = RewardModel.from_pretrained(model).to(pick_device(device))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Score part ``number`` of ``count``; return the counts of its report."""
        part = Part(int(row["number"]), int(row["count"]))
        return vars(score_part(self.model, self.source, self.output, self.settings, self.name, part))


def score_with_ray(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    settings: ScoringSettings | None = None,
    actors: int | None = None,
    device: str | None = None,
) -> ScoringReport:
    """Score a file as `scoring.score_file` does; ``actors`` defaults to the cluster's GPUs, or else to one."""
    import ray
    import ray.data

    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    gpus = int(ray.cluster_resources().get("GPU", 0)) if device in (None, "cuda") else 0
    count = actors or gpus or 1
    # A relative path means another place on another node.
    paths = [str(Path(path).resolve()) if Path(path).exists() else str(path) for path in (model, source)]
    arguments = (*paths, str(Path(output).resolve()), settings, device)
    numbers = ray.data.from_items(
        [{"number": i, "count": count} for i in range(1, count + 1)], override_num_blocks=count
    )
    done = numbers.map(
        PartScorer,
        fn_constructor_args=arguments,
        compute=ray.data.ActorPoolStrategy(size=count),
        num_gpus=1 if gpus else 0,
        num_cpus=1,
    )
    return join_parts(source, output, count, [ScoringReport(**row) for row in done.take_all()])
