"""Run by `test_token_budget` under torch.distributed: three trainers under a budget that cuts ranks differently."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset

from prefopt import recipes
from prefopt.trainers.offline import OfflineTrainer
from prefopt.trainers.reward import RewardConfig, RewardTrainer
from reward_models import RewardModel
from tests.tiny import save_tiny, tiny_llama, tiny_tokenizer
from tests.trainers.online.support import trainer as online_trainer
from tests.trainers.pairs import quiet

SGD = {"optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_steps": 3, "logging_steps": 1}


def pairs() -> Dataset:
    """24 pairs, four short ones and four long ones in turn."""
    long = [i // 4 % 2 for i in range(24)]
    return Dataset.from_list(
        [
            {"prompt": f"{i:02}", "chosen": "x" * (3 + 40 * long[i]), "rejected": "y" * (2 + 30 * long[i])}
            for i in range(24)
        ]
    )


def played(run: Any) -> dict[str, Any]:
    """Train; losses, some weights, and for each rank the number of backward passes of each micro-batch."""
    passes: list[int] = []
    backward_once, take_step = run.accelerator.backward, run.training_step

    def backward(*given: Any, **named: Any) -> None:
        passes[-1] += 1
        backward_once(*given, **named)

    def step(*given: Any, **named: Any) -> Any:
        passes.append(0)
        return take_step(*given, **named)

    run.accelerator.backward, run.training_step = backward, step
    run.train()
    weights = torch.cat([value.detach().flatten()[:20] for value in run.model.parameters()])
    return {
        "losses": [line["loss"] for line in run.state.log_history if "loss" in line],
        "weights": weights.tolist(),
        "passes": gather_object([passes]) if run.accelerator.num_processes > 1 else [passes],
    }


def results(folder: Path, budget: int | None) -> dict[str, Any]:
    """What each trainer did in three steps on eight rows each."""
    size = 8 // int(os.environ.get("WORLD_SIZE", "1"))
    shared = {"per_device_train_batch_size": size, "train_sampling_strategy": "sequential", "token_budget": budget}
    backbone = save_tiny(folder / f"backbone-{os.environ.get('RANK', '0')}", tiny_llama(), tiny_tokenizer())
    model = RewardModel.from_backbone(backbone)
    torch.nn.init.normal_(model.score_head.weight, generator=torch.Generator().manual_seed(0))
    fixed = {"output_dir": str(folder / "reward"), "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}
    reward = RewardTrainer(model, RewardConfig(**(fixed | shared | SGD)), pairs())
    offline = OfflineTrainer(
        tiny_llama(), quiet(folder / "offline", **(shared | SGD)), recipes.build("dpo", beta=1.0), pairs(),
        processing_class=tiny_tokenizer(),
    )  # fmt: skip
    online = online_trainer(
        folder / "online", recipe={"recipe": "dapo", "sampling": ()}, per_device_train_batch_size=size // 2,
        gradient_accumulation_steps=2, steps_per_generation=2, seed=3, token_budget=budget and 10, **SGD,
    )  # fmt: skip
    return {"reward": played(reward), "offline": played(offline), "online": played(online)}


def main() -> None:
    """Both ranks play, rank 0 writes."""
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    found = results(out, 60)
    if os.environ["RANK"] == "0":
        (out / "result.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()
    # gloo's threads now and then abort while the interpreter shuts down; what is tested is in the files by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
