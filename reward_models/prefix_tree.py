"""Several responses to one prompt in one forward pass.

A row holds ``prompt, response 1, response 2, ...``. Positions restart after the prompt, and a block mask keeps
responses
from seeing each other, so that every token sees exactly what it would see in a row of its own: the prompt's tokens are
computed once instead of once a response. Works with any Hugging Face decoder that takes position ids and a 4-D mask.

    trees = [Tree(prompt, responses), ...]
    batch = TreeBatch.collate(trees)
    hidden = backbone(**batch.model_inputs(backbone.config)).last_hidden_state      # (R, T, d)
    batch.last_states(hidden)                                                       # (N, d), for a reward head
    states, targets = batch.predicting_states(hidden)                               # (M, d), (M,), for
    log-probabilities

Letters: ``R`` rows (trees), ``T`` tokens of the longest row, ``N`` responses of all rows, ``M`` response tokens of
all rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from reward_models.batching import cheapest_tree, token_budget_batches

PADDING = -1
PROMPT = 0


@dataclass(frozen=True)
class Tree:
    """Token ids of a prompt and of its responses."""

    prompt: Sequence[int]
    responses: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        if not self.responses:
            raise ValueError("a tree needs at least one response")

    def __len__(self) -> int:
        return len(self.prompt) + sum(len(response) for response in self.responses)

    def split(self, budget: int) -> list[Tree]:
        """Return trees of at most ``budget`` tokens with the same prompt and, in order, the same responses.

        A response that exceeds the budget together with its prompt gets a tree of its own.
        """
        trees: list[Tree] = []
        taken: list[Sequence[int]] = []
        room = budget - len(self.prompt)
        for response in self.responses:
            if taken and sum(map(len, taken)) + len(response) > room:
                trees.append(replace(self, responses=taken))
                taken = []
            taken.append(response)
        return [*trees, replace(self, responses=taken)]


def plant(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    share: bool = True,
    budget: int | None = None,
    width: int | None = None,
) -> tuple[list[Tree], list[int]]:
    """Group responses by equal prompts.

    Args:
        prompts, responses: token ids, one prompt a response.
        share: False gives every response a row of its own, for models that a tree would be wrong for (see ``why_not``).
        budget: trees of more tokens are split.
        width: hidden size of the model; trees are then also split where that costs less (see ``cheapest_tree``).

    Returns:
        The trees, in the order in which their prompts first occur, and the place of each response among the responses
        of all trees: ``scores_of_trees[places]`` are the scores in the order of ``responses``.
    """
    members: dict[object, list[int]] = {}
    for i, prompt in enumerate(prompts):
        members.setdefault(tuple(prompt) if share else i, []).append(i)
    trees: list[Tree] = []
    order: list[int] = []
    for rows in members.values():
        tree = Tree(prompts[rows[0]], [responses[i] for i in rows])
        limits = [budget, cheapest_tree(width, len(tree.prompt)) if width else None]
        limit = min((limit for limit in limits if limit is not None), default=None)
        trees += tree.split(limit) if limit is not None else [tree]
        order += rows
    places = [0] * len(order)
    for place, i in enumerate(order):
        places[i] = place
    return trees, places


@dataclass(frozen=True)
class Bundle:
    """Trees of similar length for one forward pass, and which rows of the input their responses are, in order."""

    rows: list[int]
    trees: list[Tree]


def bundles(
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    share: bool = True,
    budget: int | None = None,
    width: int | None = None,
) -> list[Bundle]:
    """Plant responses and group the trees by length, so that little of a forward pass is padding.

    Args:
        prompts, responses, share, width: see ``plant``.
        budget: most tokens of a bundle, padding counted; None = what all trees together would take in one batch.
    """
    trees, places = plant(prompts, responses, share, budget, width)
    if not trees:
        return []
    order = sorted(range(len(responses)), key=places.__getitem__)
    first = list(accumulate((len(tree.responses) for tree in trees), initial=0))
    lengths = [len(tree) for tree in trees]
    return [
        Bundle([row for i in batch for row in order[first[i] : first[i + 1]]], [trees[i] for i in batch])
        for batch in token_budget_batches(lengths, budget or len(lengths) * max(lengths))
    ]


@dataclass(frozen=True)
class TreeBatch:
    """Trees as rows of one batch.

    Attributes:
        input_ids: ``(R, T)`` int64.
        position_ids: ``(R, T)`` int64; restart after the prompt for each response.
        segments: ``(R, T)`` int64; 0 = prompt, 1, 2, ... = the row's responses, -1 = padding.
        rows: ``(N,)`` int64, row of each response, in the order of the trees and of their responses.
        starts: ``(N,)`` int64, index of its first token in the row.
        lengths: ``(N,)`` int64, its tokens.
        prompt_lengths: ``(N,)`` int64, tokens of its prompt.
    """

    input_ids: Tensor
    position_ids: Tensor
    segments: Tensor
    rows: Tensor
    starts: Tensor
    lengths: Tensor
    prompt_lengths: Tensor

    @classmethod
    def collate(cls, trees: Sequence[Tree], filler: int = 0) -> TreeBatch:
        """Lay trees out as rows, padded on the right with ``filler``, which no response ever sees."""
        width = max(map(len, trees))
        ids = torch.full((len(trees), width), filler, dtype=torch.long)
        positions = torch.zeros(len(trees), width, dtype=torch.long)
        segments = torch.full((len(trees), width), PADDING, dtype=torch.long)
        table: list[tuple[int, int, int, int]] = []
        for row, tree in enumerate(trees):
            size = len(tree.prompt)
            ids[row, :size] = torch.tensor(tree.prompt, dtype=torch.long)
            positions[row, :size] = torch.arange(size)
            segments[row, :size] = PROMPT
            start = size
            for number, response in enumerate(tree.responses, 1):
                stop = start + len(response)
                ids[row, start:stop] = torch.tensor(response, dtype=torch.long)
                positions[row, start:stop] = torch.arange(size, size + len(response))
                segments[row, start:stop] = number
                table.append((row, start, len(response), size))
                start = stop
        return cls(ids, positions, segments, *torch.tensor(table).T.contiguous())

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device | str) -> TreeBatch:
        """Return the batch on another device."""
        return TreeBatch(*(getattr(self, field.name).to(device) for field in fields(self)))

    @property
    def plain(self) -> bool:
        """Every row holds one response: an ordinary padded batch."""
        return len(self.rows) == len(self.input_ids)

    def attention_mask(self) -> Tensor:
        """Return ``(R, 1, T, T)`` bool: whether query ``q`` sees key ``k``.

        A token sees the prompt and its own response, up to itself. Padding sees itself, since a query that sees nothing
        would be NaN, and a NaN value reaches others even through a weight of zero.
        """
        query, key = self.segments[:, :, None], self.segments[:, None, :]
        index = torch.arange(self.segments.shape[1], device=self.segments.device)
        earlier = index[:, None] >= index[None, :]
        visible = (key == PROMPT) | ((key == query) & (key != PADDING))
        return ((visible & earlier) | (index[:, None] == index[None, :]))[:, None]

    def model_inputs(self, config: Any, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
        """Return the arguments of a Hugging Face model, those of an ordinary padded batch where it is ``plain``."""
        if self.plain:
            return {"input_ids": self.input_ids, "attention_mask": (self.segments != PADDING).long()}
        mask = self.attention_mask()
        if getattr(config, "_attn_implementation", "sdpa") == "eager":
            mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
        return {
            "input_ids": self.input_ids,
            "position_ids": self.position_ids,
            "attention_mask": mask,
            "use_cache": False,
        }

    def last_states(self, hidden: Tensor) -> Tensor:
        """Return ``(N, d)``: the state of each response's last token (of the prompt's, for an empty response)."""
        last = torch.where(self.lengths > 0, self.starts + self.lengths, self.prompt_lengths) - 1
        return hidden[self.rows, last]

    def predicting_states(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(M, d)`` states and ``(M,)`` tokens that they predict: all response tokens, response after response.

        A response's first token is predicted by the prompt's last state, which all responses share.

        Raises:
            ValueError: a prompt without tokens, which predicts nothing.
        """
        if (self.prompt_lengths == 0).any():
            raise ValueError("a prompt without tokens cannot predict a response's first token; give it a start token")
        response, offset = self._tokens()
        index = self.starts[response] + offset
        predecessor = torch.where(offset > 0, index - 1, self.prompt_lengths[response] - 1)
        row = self.rows[response]
        return hidden[row, predecessor], self.input_ids[row, index]

    def by_response(self, values: Tensor, fill: float = 0.0) -> tuple[Tensor, Tensor]:
        """Lay values ``(M,)`` of response tokens out as ``(N, L)``, and say in ``(N, L)`` bool where a token stands."""
        response, offset = self._tokens()
        width = int(self.lengths.max()) if len(self) else 0
        mask = torch.arange(width, device=self.lengths.device) < self.lengths[:, None]
        laid_out = values.new_full((len(self), width), fill)
        return laid_out.index_put((response, offset), values), mask

    def _tokens(self) -> tuple[Tensor, Tensor]:
        """``(M,)`` number of each response token's response, and ``(M,)`` its index within the response."""
        response = torch.repeat_interleave(torch.arange(len(self), device=self.lengths.device), self.lengths)
        before = torch.cumsum(self.lengths, 0) - self.lengths
        return response, torch.arange(len(response), device=response.device) - before[response]


ATTENTION = ("sdpa", "eager")
STATEFUL_LAYERS = ("linear_attention", "mamba", "mamba2", "recurrent", "conv", "hybrid")


def why_not(backbone: Any, longest: int | None = None) -> str | None:
    """Return why a tree would be wrong for this model, or None where it is exact.

    Args:
        backbone: a Hugging Face model without its head, or with it.
        longest: tokens of the longest prompt and response together. A sliding window shorter than that is refused,
            because every layer takes a 4-D mask as it is: the window would not be applied.
    """
    if hasattr(backbone, "peft_config"):
        backbone = backbone.get_base_model()
    config = backbone.config.get_text_config()
    name = type(backbone).__name__
    if getattr(config, "is_encoder_decoder", False):
        return f"{name} is an encoder-decoder"
    if "position_ids" not in inspect.signature(backbone.forward).parameters:
        return f"{name} takes no position ids, so that positions cannot restart after the prompt"
    if not _is_causal(backbone):
        return f"{name} is an encoder: every token sees every other, so that a prompt depends on its response"
    layers = set(getattr(config, "layer_types", None) or ())
    stateful = [layer for layer in layers if any(word in layer for word in STATEFUL_LAYERS)]
    if stateful or hasattr(config, "ssm_cfg") or hasattr(config, "state_size"):
        return (
            f"{name} has recurrent layers ({', '.join(stateful) or 'state space'}), which read a row from left to right"
        )
    window = getattr(config, "sliding_window", None) if _slides(config, layers) else None
    if window is not None and (longest is None or longest > window):
        return f"{name} has a sliding window of {window} tokens, shorter than a prompt with its response"
    implementation = getattr(config, "_attn_implementation", None)
    if implementation not in ATTENTION:
        return f"attention '{implementation}' takes no 4-D mask; load the model with attn_implementation='sdpa'"
    return None


def _slides(config: Any, layers: set[str]) -> bool:
    if layers:
        return any("sliding" in layer or "chunked" in layer for layer in layers)
    return bool(getattr(config, "use_sliding_window", True))


def _is_causal(backbone: Any) -> bool:
    attention = [module.is_causal for module in backbone.modules() if hasattr(module, "is_causal")]
    return bool(attention) and all(attention)
