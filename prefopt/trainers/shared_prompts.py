"""Completions of one prompt in one row: their order in micro-batches, and their log-probabilities."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prefopt.trainers.token_budget import Side, padded_tokens, passes
from reward_models.prefix_tree import Tree, TreeBatch, plant, row_width, why_not


def order_of_groups(group: Tensor) -> Tensor:
    """Return an order of rows that shuffles groups and keeps the rows of each together.

    Drawn from torch's generator, like the shuffle that it replaces. Groups that another process shares come last, so
    that whole ones fill micro-batches exactly where their sizes divide.

    Shape: ``(B,)`` int64, number of each row's group -> ``(B,)`` int64.
    """
    members = [torch.nonzero(group == number).flatten() for number in group.unique()]
    shuffled = [members[i] for i in torch.randperm(len(members)).tolist()]
    largest = max(map(len, members))
    return torch.cat(sorted(shuffled, key=lambda rows: len(rows) < largest))


def reorder(batch: Mapping[str, Any], order: Tensor) -> dict[str, Any]:
    """Put the rows of every tensor and list of a generation batch in this order."""

    def take(values: Any) -> Any:
        if values is None or (isinstance(values, Tensor) and values.ndim == 0):
            return values
        return values[order.to(values.device)] if isinstance(values, Tensor) else [values[i] for i in order.tolist()]

    return {name: take(values) for name, values in batch.items()}


def cheapest(tree: Tree, width: int) -> list[Tree]:
    """Split a tree evenly where masked attention over its long row would cost more than its prompt computed again.

    A layer of width d takes about ``24 d^2`` operations a token in its matrices and ``4 d`` a pair of tokens in
    attention, so that a row of n tokens costs ``n (6 d + n)`` in units of ``4 d``. A group is small enough to try every
    number of parts, and too small for a limit on the tokens of a tree: that would leave rests, which are padded.
    """
    prompt = len(tree.prompt)
    completions = len(tree) - prompt
    splits = [tree.split(prompt + -(-completions // parts)) for parts in range(1, len(tree.responses) + 1)]
    return min(splits, key=lambda rows: len(rows) * max(map(len, rows)) * (6 * width + max(map(len, rows))))


def completion_outputs(
    model: Any, input_ids: Tensor, attention_mask: Tensor, width: int, statistics: Collection[str], temperature: float,
    share: bool = True, top: int = 0, soft: Tensor | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Return ``logps`` ``(B, width)`` and what else is wanted, ``(B, width)`` or ``(B, width, ...)``, 0 where padded.

    Args:
        model: has the head of `attach_tree_head`, under whatever wraps it.
        input_ids, attention_mask: ``(B, T)``, of which the last ``width`` columns are the completions.
        width: padded tokens of a completion.
        statistics: what is wanted beside ``logps``.
        temperature: that of sampling.
        share: completions of one prompt share a row.
        top: how many of the largest logits.
        soft: ``(B, S, H)``, embeddings fed for the first S tokens of each completion; rows are then separate.
    """
    prompts, completions = rows_apart(input_ids, attention_mask, width)
    found = outputs_of(model, prompts, completions, statistics, temperature, share, top, soft)

    def filled(values: Tensor) -> Tensor:
        return nn.functional.pad(values, (*(0, 0) * (values.ndim - 2), 0, width - values.shape[1]))

    return {name: filled(values) for name, values in found.items()}


def lay_out(
    model: Any, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
) -> tuple[list[Tree], list[int]]:
    """Return the rows that completions are computed in, and the place of each among all rows' responses."""
    config = getattr(model, "module", model).config
    whole, order = plant(prompts, completions)
    if row_width(config) is not None:
        return whole, order
    hidden = config.get_text_config().hidden_size
    return [part for tree in whole for part in cheapest(tree, hidden)], order


def outputs_of(
    model: Any, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], statistics: Collection[str],
    temperature: float, share: bool = True, top: int = 0, soft: Tensor | None = None,
) -> dict[str, Tensor]:  # fmt: skip
    """Return ``logps`` and what else is wanted of completions, ``(B, L)`` or ``(B, L, ...)``, L the longest's tokens.

    See `completion_outputs`; prompts and completions are token ids without padding.
    """
    device = next(model.parameters()).device
    share = share and soft is None
    if share:
        rows, order = lay_out(model, prompts, completions)
    else:
        rows, order = plant(prompts, completions, share=False)
    width = row_width(getattr(model, "module", model).config) if share else None
    trees, places = TreeBatch.collate(rows, width=width).to(device), torch.tensor(order, device=device)
    fed = {} if soft is None else {"soft": soft}
    found = model(trees=trees, statistics=tuple(sorted(statistics)), temperature=temperature, top=top, **fed)
    return {name: trees.by_response(values.to(device))[0][places] for name, values in found.items()}


def completion_passes(
    model: Any, input_ids: Tensor, attention_mask: Tensor, width: int, budget: int, share: bool,
    group: Tensor | None = None,
) -> list[Tensor]:  # fmt: skip
    """Return the numbers of the rows, on the CPU, that each pass takes under a budget of tokens.

    Args:
        model: the policy or the reference, not wrapped for several processes.
        input_ids, attention_mask, width: see `completion_outputs`.
        budget: tokens of a pass, padding counted.
        share: completions of one prompt share rows. Otherwise prompts keep the padding that they have.
        group: ``(B,)``, rows that go together; None lets every row go by itself.
    """
    sides = list(zip(*rows_apart(input_ids, attention_mask, width), strict=True))
    together: dict[int, list[int]] = {}
    for row, number in enumerate(range(len(sides)) if group is None else group.tolist()):
        together.setdefault(number, []).append(row)
    units = list(together.values())

    def tokens(laid_out: Sequence[Side]) -> int:
        asked, given = [prompt for prompt, _ in laid_out], [answer for _, answer in laid_out]
        if share:
            return padded_tokens(lay_out(model, asked, given)[0], row_width(model.config))
        return len(given) * (input_ids.size(1) - width + max(1, *map(len, given)))

    found = passes([[sides[i] for i in unit] for unit in units], share, budget, tokens)
    return [torch.tensor([i for number in part for i in units[number]]) for part in found]


def joined(batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return tokens and mask, ``(B, T)``, of prompts and completions."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    return ids, torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)


def rows_apart(ids: Tensor, mask: Tensor, width: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return prompts and completions, the last ``width`` columns of ``(B, T)`` tokens, without their padding."""
    return unpadded(ids[:, :-width], mask[:, :-width]), unpadded(ids[:, -width:], mask[:, -width:])


def unpadded(ids: Tensor, mask: Tensor) -> list[list[int]]:
    """Return the tokens of each row of ``(B, T)`` that its mask keeps."""
    kept = zip(ids.tolist(), mask.bool().tolist(), strict=True)
    return [[token for token, keep in zip(*row, strict=True) if keep] for row in kept]


def why_separate(args: Any, model: Any, longest: int) -> str | None:
    """Return why rows must be computed one by one, or None where trees give the same numbers.

    Args:
        args: an `OnlineConfig` with ``prefix_sharing: auto``.
        model: a causal language model or its adapter, not wrapped otherwise.
        longest: tokens of the longest prompt and completion together.
    """
    if args.torch_compile:
        return "torch_compile would compile anew for every shape of trees"
    if args.cast_lm_head_to_fp32:
        return "cast_lm_head_to_fp32 is not available for trees"
    adapters = getattr(model, "peft_config", {}).values()
    if any(adapter.is_prompt_learning for adapter in adapters):
        return "the adapter learns a prompt, which it puts before every row"
    bare = model.get_base_model() if hasattr(model, "peft_config") else model
    return why_not(bare.base_model, longest)
