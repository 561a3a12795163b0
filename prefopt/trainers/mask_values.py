"""What the masks of a trained policy say of the tokens of some pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset
from torch import Tensor

from prefopt.batch import PairOutputs
from prefopt.errors import UserError
from prefopt.offline.token_mask import ActivationMask
from prefopt.offline.token_mask.learned import INPUTS
from prefopt.trainers.adapted import bare, is_adapted, with_adapter
from prefopt.trainers.logprobs import attach_tree_head
from prefopt.trainers.pairs.batches import PairBatchCollator, longest, pairs_of
from prefopt.trainers.pairs.statistics import laid_out, pair_outputs, pair_statistics
from prefopt.trainers.pairs.tokens import tokenise_pairs
from prefopt.trainers.policies import check_policy, context_limit, load_policy, load_tokenizer, prepare_tokenizer
from prefopt.trainers.reference_pass import reference_pass
from prefopt.trainers.token_masks import NAME, load_masks
from reward_models.attention_choice import use_attention
from reward_models.prefix_tree import row_width, why_not

SIDES = ("chosen", "rejected")
ACTS_ON = {name: acts_on for acts_on, name in INPUTS.items()}


@dataclass(frozen=True)
class WeighedAnswer:
    """An answer's tokens as text, and a figure for each: weights by what a mask acts on, log-ratio and KL."""

    side: str
    tokens: tuple[str, ...]
    weights: Mapping[str, tuple[float, ...]]
    log_ratios: tuple[float, ...]
    kls: tuple[float, ...]


@dataclass(frozen=True)
class WeighedPair:
    """A pair of the data: its row, its prompt as the model reads it, and both answers."""

    row: int
    prompt: str
    answers: tuple[WeighedAnswer, ...]


class _Fixed:
    """The reference that `reference_pass` asks for."""

    def __init__(self, model: Any) -> None:
        self.model = model


@torch.no_grad()
def weigh(
    model: str | Path, reference: str | Path, data: Dataset, count: int = 20, max_length: int | None = None,
    types: Sequence[str] | None = None, dtype: str = "float32",
) -> list[WeighedPair]:  # fmt: skip
    """Return what masks say of the first pairs.

    Args:
        model: folder of the policy; learned masks lie beside it.
        reference: folder of the model that it was compared with in training: masks read its states.
        data: rows of prompt, chosen, rejected.
        count: how many pairs.
        max_length: longest prompt with answer; longer prompts are cut on their left.
        types: activations of the reference that give the masks, in place of learned ones; see `ActivationMask`.
        dtype: of both models.

    Raises:
        UserError: no masks in the folder, masks of another reference, models of different vocabularies.
    """
    networks = None if types else load_masks(Path(model))
    activations = ActivationMask(tuple(types)) if types else None  # type: ignore[arg-type]
    policy, base = _models(model, reference, dtype)
    tokenizer = load_tokenizer(model)
    limit = context_limit(tokenizer, base.config, max_length)
    pad_id = prepare_tokenizer(tokenizer)
    some = data.select(range(min(count, len(data))))
    pairs = tokenise_pairs(some, tokenizer, limit, "truncate_prompt", name="data").rows
    accelerator = Accelerator()
    for one in (policy, base):
        one.to(accelerator.device).eval().requires_grad_(False)
        use_attention(bare(one), "auto", accelerator.device, longest(pairs), training=False)
        attach_tree_head(bare(one))
    if networks is not None:
        _check_fit(networks, base.config, reference)
        bare(policy).add_module(NAME, networks.to(accelerator.device))
    statistics = {"forward_kl", *(networks or ())}
    statistics |= {f"ref_{kind}_means" for kind in activations.types} if activations else set()
    share = all(why_not(one, longest(pairs)) is None for one in (policy, base))
    collate = PairBatchCollator(pad_id, (), share, row_width(base.config))
    found = []
    for row in pairs:
        batch = collate([{**row, "weight": 1.0}])
        batch = {**batch, "trees": {name: x.to(accelerator.device) for name, x in batch["trees"].items()}}
        seen = reference_pass(_Fixed(base), batch, policy, accelerator, statistics)
        outputs = pair_outputs(pair_statistics(policy, batch, sorted(statistics), seen))
        ratios = _ratios(outputs, laid_out(batch, seen.statistics["logps"]))
        weights = _weights(outputs, networks, activations, pairs_of(batch, ()))
        found.append(_pair(row, tokenizer, outputs, ratios, weights))
    return found


def _models(model: str | Path, reference: str | Path, dtype: str) -> tuple[Any, Any]:
    base = load_policy(reference, dtype)
    adapter = (Path(model) / "adapter_config.json").exists() and not (Path(model) / "config.json").exists()
    policy = (
        with_adapter(load_policy(reference, dtype), Path(model)) if adapter else load_policy(check_policy(model), dtype)
    )
    theirs, ours = (bare(one).get_input_embeddings().num_embeddings for one in (base, policy))
    if theirs != ours:
        raise UserError(f"the reference {reference} has {theirs} token embeddings, the policy {model} {ours}")
    assert adapter == is_adapted(policy)
    return policy, base


def _check_fit(networks: Any, config: Any, reference: str | Path) -> None:
    text = config.get_text_config()
    for network in networks.values():
        if (network.layers, network.width) != (text.num_hidden_layers, text.hidden_size):
            raise UserError(
                f"the masks read {network.layers} layers of width {network.width}, and {reference} has "
                f"{text.num_hidden_layers} of {text.hidden_size}; name the reference that they were trained with"
            )


def _ratios(outputs: PairOutputs, ref_logps: Tensor) -> dict[str, Tensor]:
    logps = outputs.chosen_logps, outputs.rejected_logps
    return {side: (own - ref)[0] for side, own, ref in zip(SIDES, logps, ref_logps.chunk(2), strict=True)}


def _weights(outputs: PairOutputs, networks: Any, activations: ActivationMask | None, pairs: Any) -> dict[str, Any]:
    if activations is not None:
        given = activations(pairs, policy=outputs)
        return {"both": {side: value[0] for side, value in zip(SIDES, given, strict=True)}}
    return {ACTS_ON[name]: {side: outputs.extras[f"{side}_{name}"][0] for side in SIDES} for name in networks}


def _pair(
    row: Mapping[str, Any],
    tokenizer: Any,
    outputs: PairOutputs,
    ratios: Mapping[str, Tensor],
    weights: Mapping[str, Any],
) -> WeighedPair:
    answers = []
    for side in SIDES:
        ids = row[f"{side}_ids"] if row["prompt_ids"] else row[f"{side}_ids"][1:]

        def figures(values: Tensor, length: int = len(ids)) -> tuple[float, ...]:
            return tuple(islice(values.float().tolist(), length))

        own = {acts_on: figures(values[side]) for acts_on, values in weights.items()}
        texts = tuple(tokenizer.decode([token]) for token in ids)
        answers.append(
            WeighedAnswer(side, texts, own, figures(ratios[side]), figures(outputs.extras[f"{side}_forward_kl"][0]))
        )
    return WeighedPair(row["row"], tokenizer.decode(row["prompt_ids"]), tuple(answers))
