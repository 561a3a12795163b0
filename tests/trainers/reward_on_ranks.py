"""Run by `test_two_processes_are_one` under torch.distributed: trains, poisons one row's loss, writes numbers."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from datasets import Dataset

from prefopt.trainers.reward import RewardConfig, RewardTrainer
from reward_models import RewardModel

BAD_ROW = 9


ORDERS = ("sequential", "random", "group_by_length")


def train(
    backbone: str, folder: Path, poison: bool = False, order: str = "sequential", rows: int = 24, epochs: int = 1
) -> RewardTrainer:
    torch.manual_seed(0)
    model = RewardModel.from_backbone(backbone)
    data = Dataset.from_list(
        [{"prompt": "a" * (i % 5 + 1), "chosen": "x" * (i % 7 + 1), "rejected": "y" * (i % 3 + 1)} for i in range(rows)]
    )
    world = int(os.environ["WORLD_SIZE"])
    config = RewardConfig(
        output_dir=str(folder),
        use_cpu=True,
        ddp_backend="gloo",
        learning_rate=1e-2,
        per_device_train_batch_size=8 // world,
        train_sampling_strategy=order,
        num_train_epochs=epochs,
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    trainer = RewardTrainer(model, config, data)
    if poison:
        compute = trainer.compute_loss

        def poisoned(*arguments, **options):
            loss = compute(*arguments, **options)
            return loss * float("nan") if BAD_ROW in arguments[1]["row"].tolist() else loss

        trainer.compute_loss = poisoned
    trainer.train()
    return trainer


def main() -> None:
    backbone, out = sys.argv[1], Path(sys.argv[2])
    trainer = train(backbone, out)
    ragged = {order: train(backbone, out, order=order, rows=21, epochs=2) for order in ORDERS}
    bad = train(backbone, out, poison=True)
    heads = bad.accelerator.gather(bad.accelerator.unwrap_model(bad.model).score_head.weight.detach())
    logs = [log for log in trainer.state.log_history if "loss" in log]
    if trainer.is_world_process_zero():
        out.mkdir(parents=True, exist_ok=True)
        result = {
            "losses": [log["loss"] for log in logs],
            "accuracies": [log["accuracy"] for log in logs],
            "head": trainer.accelerator.unwrap_model(trainer.model).score_head.weight.flatten().tolist(),
            "ragged": {
                order: [[log[name] for log in one.state.log_history if "loss" in log] for name in ("loss", "accuracy")]
                for order, one in ragged.items()
            },
            "poisoned": {
                "skipped": bad.finite_steps.skipped,
                "head": heads[0].tolist(),
                "heads_of_ranks_equal": bool((heads == heads[0]).all()),
            },
        }
        (out / "result.json").write_text(json.dumps(result))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        # gloo's threads now and then abort while the interpreter shuts down; what is tested is in the files by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main()
