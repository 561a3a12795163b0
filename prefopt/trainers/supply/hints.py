"""Hinted completions: they continue a part of the reference answer, the longer the harder their prompt is unaided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from prefopt.errors import UserError
from prefopt.online.hints import hint_ratio, hint_tokens
from prefopt.online.method import OnlineMethod
from prefopt.trainers.supply.references import score_rows
from prefopt.trainers.supply.texts import answer_ids

if TYPE_CHECKING:
    from prefopt.trainers.online_config import OnlineConfig
    from prefopt.trainers.online_trainer import OnlineTrainer

NAME = "hint_length"


class Hints:
    """Draws the completions of a generation batch in two rounds: unaided ones, and the last of each group with a hint.

    The unaided ones are scored in between, once more than the batch is, and `hint_ratio` of a prompt's scores says how
    much of its answer is given. A hint leaves room for at least one token. Where it rounds to no token, or no unaided
    completion was scored, the completion is an unaided one. In evaluation nothing is given.
    """

    def __init__(self, trainer: OnlineTrainer) -> None:
        self.trainer = trainer
        self.lengths = torch.zeros(0, dtype=torch.long)

    def __call__(self, rows: Sequence[Mapping[str, Any]], prompts: Sequence[list[int]]) -> list[list[int]]:
        """Return the tokens of completions, hints included; ``lengths`` ``(B,)`` are then those of their hints.

        Args:
            rows: of the data, one a completion. prompts: their tokens.
        """
        trainer, group = self.trainer, self.trainer.group_size
        self.lengths = torch.zeros(len(rows), dtype=torch.long)
        number = hinted(trainer.args) if trainer.mode == "train" else 0
        places = range(len(rows))
        unaided = [i for i in places if i % group < group - number]
        found = dict(zip(unaided, trainer.draw([prompts[i] for i in unaided]), strict=True))
        given = [i for i in places if i not in found]
        if given:
            hints = self._hints([rows[i] for i in unaided], [found[i] for i in unaided], group - number)
            starts = [hints[i // group] for i in given]
            self.lengths[given] = torch.tensor([len(start) for start in starts])
            left = [trainer.args.max_completion_length - len(start) for start in starts]
            prefixes = [[*prompts[i], *start] for i, start in zip(given, starts, strict=True)]
            drawn = trainer.continue_from(prefixes, left)
            found |= {i: [*start, *rest] for i, start, rest in zip(given, starts, drawn, strict=True)}
        return [found[i] for i in places]

    def _hints(self, rows: Sequence[Mapping[str, Any]], ids: list[list[int]], size: int) -> list[list[int]]:
        """Return the hint of each prompt, from its ``size`` unaided completions."""
        trainer, args = self.trainer, self.trainer.args
        texts = [str(trainer.tokenizer.decode(one, skip_special_tokens=True)) for one in ids]
        completions = [trainer.as_completion(row["prompt"], text) for row, text in zip(rows, texts, strict=True)]
        rewards = score_rows(trainer, rows, completions, ids).view(-1, size)
        noise = ((2 * torch.rand(len(rewards)) - 1) * args.hint_noise).tolist()
        column, longest = args.reference_answer, args.max_completion_length
        hints = []
        for row, scores, jitter in zip(rows[::size], rewards, noise, strict=True):
            # Without its end token, behind which nothing can be continued.
            answer = answer_ids(trainer.tokenizer, row[column], longest, f"the column '{column}'")[:-1]
            known = scores[~torch.isnan(scores)]
            ratio = hint_ratio(known, args.hint_least, args.hint_most, jitter) if len(known) else 0.0
            hints.append(answer[: hint_tokens(len(answer), ratio)])
        return hints


def hinted(config: OnlineConfig) -> int:
    """Return how many completions of a group continue a hint."""
    return config.num_generations // 2 if config.hinted is None else config.hinted


def draws_hints(objective: OnlineMethod, config: OnlineConfig) -> bool:
    """Whether hints are drawn here, and not the user's own."""
    return NAME in objective.needs and NAME not in config.inputs and config.reference_answer is not None


def check_hints(objective: OnlineMethod, config: OnlineConfig, other: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where completions cannot be begun with a hint, or too few would be compared."""
    number, group = hinted(config), config.num_generations
    if not draws_hints(objective, config):
        if config.hinted is not None:
            raise UserError("hinted is set, but no completion is begun with a hint; leave it out")
        return
    several = [name for name in ("tools", "environment_factory", "rollout_func") if other.get(name) is not None]
    settings = [
        name for name in ("use_vllm", "use_transformers_continuous_batching", "soft_tokens") if getattr(config, name)
    ]
    if several or settings:
        what = (several or settings)[0]
        raise UserError(f"hints are continued by transformers' generation, which {what} replaces; leave it out")
    if not 2 <= number <= group - 2:
        raise UserError(
            f"hinted={number} of num_generations={group}: at least two completions with a hint are compared with each "
            "other, and at least two without one; change either"
        )
    rows = config.per_device_train_batch_size * int(config.steps_per_generation or 1)
    if rows % group:
        raise UserError(
            f"a prompt's unaided completions decide on its hints, and {rows} completions a process do not hold whole "
            f"groups of num_generations={group}; make per_device_train_batch_size * steps_per_generation a multiple"
        )
    if not 0 <= config.hint_least <= config.hint_most <= 1 or config.hint_noise < 0:
        raise UserError("hint_least and hint_most are shares between 0 and 1, in this order; hint_noise is at least 0")
