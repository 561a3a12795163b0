"""The only language between the parts: rollouts, pairs, and what a policy says about them.

Letters used in every shape: ``B`` completions (rows), ``T`` response tokens, ``K`` reward sources, ``G`` completions of
one prompt, ``N`` preference pairs, ``V`` vocabulary, ``H`` hidden width.

Everything beyond the basic fields travels in ``extras`` under a name of ``NEEDS``, a closed vocabulary. A part declares
the names it reads; the trainer computes exactly the union of what the chosen parts declare, and a part that reads
a name it did not declare is stopped with both names in the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

Holder = Literal["rollouts", "policy", "pairs", "pair_outputs"]


@dataclass(frozen=True)
class Need:
    """An optional input: who holds it, its shape, what it means, and what computing it costs."""

    holder: Holder
    shape: str
    meaning: str
    cost: str = ""
    per_group: bool = False


def _needs() -> dict[str, Need]:
    rollout_tokens = {
        "ref_logps": ("log-probabilities under the reference policy", "one forward pass of the reference"),
        "sampler_logps": ("log-probabilities as reported by the sampling engine", ""),
        "entropies": ("entropy of the behaviour policy at each token, nats", ""),
        "values": ("critic's value before each token", "a critic"),
        "turn_ids": ("number of the turn that a token belongs to", ""),
        "step_ids": ("number of the reasoning step that a token belongs to", ""),
        "cutpoint_values": ("Monte Carlo value before each token", "extra rollouts from each cut point"),
    }
    rollout_lists = {
        "step_rewards": ("(B, S)", "reward of each step, NaN where absent"),
        "step_potentials": ("(B, S)", "potential of each step"),
        "turn_rewards": ("(B, S)", "reward of each turn, NaN where absent"),
        "turn_states": ("(B, S)", "identity of the state at the start of each turn"),
        "test_results": ("(B, M)", "verdict of each of M tests: 1 passed, 0 failed, NaN absent"),
        "turn_test_results": ("(B, S, M)", "verdict of each test after each turn"),
        "prompt_logps": ("(B, P)", "log-probabilities of the prompt's tokens"),
        "prompt_mask": ("(B, P)", "which of them are prompt tokens"),
    }
    rollout_rows = {
        "accuracy": "share of the verifier's checks passed, in [0, 1]",
        "truncated": "the completion was cut at the length limit",
        "from_expert": "the completion was written by an expert",
        "from_replay": "the completion comes from a replay buffer",
        "predictions": "numeric answer that the completion gives",
        "prompt_value": "predicted value of the prompt",
        "levels": "quality level of the completion",
        "retry_from_step": "step from which the completion was retried",
        "squared_gradient_norms": "squared norm of the row's score function",
    }
    policy = {
        "policy.entropies": (
            "(B, T)",
            "entropy of the current policy, with gradient",
            "fused with the log-probabilities",
        ),
        "policy.hidden": ("(B, T, H)", "last hidden states of the current policy", "memory B * T * H"),
        "policy.top_logits": ("(B, T, k)", "largest logits", "fused with the log-probabilities"),
        "policy.top_ids": ("(B, T, k)", "their token ids", "fused with the log-probabilities"),
        "policy.vocab_logps": ("(B, T, V)", "whole distribution; tiny vocabularies only", "memory B * T * V"),
        "policy.reference_answer_logps": (
            "(P, T')",
            "log-probabilities of each prompt's reference answer",
            "one pass",
        ),
        "policy.degraded_logps": (
            "(B, T)",
            "log-probabilities given a degraded prompt",
            "one more forward pass",
        ),
        "policy.router_probs_on_old_topk": ("(B, T, layers, k)", "router probabilities of the old top k", ""),
    }
    pair_rows = {
        "label_chosen_preferred": "probability that the chosen response is the better one; 0.5 is a tie",
        "chosen_win_rate": "win rate of the chosen response against the policy",
        "rejected_win_rate": "win rate of the rejected response against the policy",
        "chosen_beats_rejected": "probability that the judge prefers chosen over rejected",
        "head": "objective that the pair speaks of",
        "margin": "by how much the chosen response is better",
        "label_smoothing": "probability that the label is flipped",
    }
    pair_tokens = {
        "previous_chosen_logps": "log-probabilities of the chosen response under the previous policy",
        "previous_rejected_logps": "log-probabilities of the rejected response under the previous policy",
        "chosen_tokens": "token ids of the chosen response",
        "rejected_tokens": "token ids of the rejected response",
    }
    sides = {
        "log_sum_sq_probs": ("(N, T)", "log of the sum over the vocabulary of squared probabilities"),
        "max_logps": ("(N, T)", "log-probability of the most likely token"),
        "forward_kl": ("(N, T)", "KL from the reference to the policy at each token"),
        "hidden_states": ("(N, L, T, H)", "hidden states of every layer"),
        "activations": ("(N, L, T, H)", "activations of every layer"),
        "vocab_logps": ("(N, T, V)", "whole distribution; tiny vocabularies only"),
    }
    needs = {name: Need("rollouts", "(B, T)", *about) for name, about in rollout_tokens.items()}
    needs |= {name: Need("rollouts", shape, meaning) for name, (shape, meaning) in rollout_lists.items()}
    needs |= {name: Need("rollouts", "(B,)", meaning) for name, meaning in rollout_rows.items()}
    needs["reference_answer_mask"] = Need("rollouts", "(P, T')", "tokens of each prompt's reference answer", "", True)
    needs["reference_answer_rewards"] = Need("rollouts", "(P,)", "reward of each prompt's reference answer", "", True)
    needs["hidden_states"] = Need(
        "rollouts", "(B, T, H)", "last hidden states of the behaviour policy", "memory B * T * H"
    )
    needs["router_probs_old_topk"] = Need("rollouts", "(B, T, layers, k)", "router probabilities at sampling time")
    needs |= {name: Need("policy", *about) for name, about in policy.items()}
    needs |= {name: Need("pairs", "(N,)", meaning) for name, meaning in pair_rows.items()}
    needs |= {name: Need("pairs", "(N, T)", meaning) for name, meaning in pair_tokens.items()}
    for side in ("chosen", "rejected"):
        for name, (shape, meaning) in sides.items():
            needs[f"{side}_{name}"] = Need("pair_outputs", shape, f"{meaning}, {side} response")
    return needs


NEEDS: dict[str, Need] = _needs()
"""Name -> what it is. Inputs of the current policy carry the prefix ``policy.`` and stand in ``PolicyOutputs.extras``
without it. ``ref_logps`` asked for by an offline objective means that a reference's ``PairOutputs`` is wanted."""


class MissingInput(KeyError):
    """An input that a part declared was not supplied."""

    def __str__(self) -> str:
        return str(self.args[0])


class UndeclaredInput(KeyError):
    """A part read an input that it did not declare in ``needs``."""

    def __str__(self) -> str:
        return str(self.args[0])


class DeclaredExtras(Mapping[str, Tensor]):
    """A view of ``extras`` that answers only for what its reader declared."""

    def __init__(self, extras: Mapping[str, Tensor], declared: Iterable[str], reader: str, prefix: str = "") -> None:
        self._extras, self._declared, self._reader, self._prefix = extras, frozenset(declared), reader, prefix

    def _visible(self, name: str) -> bool:
        return self._prefix + name in self._declared

    def __getitem__(self, name: str) -> Tensor:
        if not self._visible(name):
            raise UndeclaredInput(
                f"{self._reader} reads '{self._prefix}{name}' but does not declare it; add it to its `needs`"
            )
        if name not in self._extras:
            known = NEEDS.get(self._prefix + name)
            about = f", {known.shape}: {known.meaning}" if known else ""
            raise MissingInput(f"{self._reader} needs '{self._prefix}{name}'{about}; it was not supplied")
        return self._extras[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._extras if self._visible(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _check(name: str, tensor: Tensor, shape: tuple[int, ...], like: str) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {shape} ({like})")


def _check_first_dimension(extras: Mapping[str, Tensor], rows: int, holder: str, prefix: str = "") -> None:
    for name, tensor in extras.items():
        need = NEEDS.get(prefix + name)
        if need is None:
            raise ValueError(f"unknown extra '{prefix}{name}' in {holder}; the vocabulary is prefopt.batch.NEEDS")
        if not need.per_group and (tensor.ndim == 0 or tensor.shape[0] != rows):
            raise ValueError(
                f"extra '{name}' in {holder} has shape {tuple(tensor.shape)}, expected {need.shape} with {rows} rows"
            )


SelfT = TypeVar("SelfT", "Rollouts", "PolicyOutputs", "Pairs", "PairOutputs")


def _restrict(self: SelfT, needs: Iterable[str], reader: str, prefix: str = "") -> SelfT:
    restricted = object.__new__(type(self))
    restricted.__dict__.update(self.__dict__)
    restricted.__dict__["extras"] = DeclaredExtras(self.extras, needs, reader, prefix)
    return restricted


@dataclass(frozen=True)
class Rollouts:
    """One generation batch; a row is a completion.

    Attributes:
        group: ``(B,)`` int64; rows with the same value answer the same prompt.
        mask: ``(B, T)`` bool; tokens that the policy produced (no prompt, padding or tool output).
        rewards: ``(B, K)`` float; one column a reward source, NaN where the source gave no score. Infinity is an error.
        logps: ``(B, T)`` float; log-probabilities under the behaviour policy, at sampling time.
        extras: optional inputs by the names of ``NEEDS``.
    """

    group: Tensor
    mask: Tensor
    rewards: Tensor
    logps: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows, _ = self.mask.shape
        _check("group", self.group, (rows,), "(B,)")
        _check("logps", self.logps, tuple(self.mask.shape), "(B, T)")
        if self.rewards.ndim != 2 or self.rewards.shape[0] != rows:
            raise ValueError(f"rewards has shape {tuple(self.rewards.shape)}, expected ({rows}, K)")
        if self.mask.dtype != torch.bool:
            raise TypeError(f"mask must be bool, not {self.mask.dtype}")
        if torch.isinf(self.rewards).any():
            row, column = torch.isinf(self.rewards).nonzero()[0].tolist()
            raise ValueError(f"reward {column} of row {row} is infinite; a source that cannot score gives NaN (None)")
        _check_first_dimension(self.extras, rows, "rollouts")

    def __len__(self) -> int:
        return self.mask.shape[0]

    def __getitem__(self, rows: Any) -> Rollouts:
        group = self.group[rows]
        present = torch.isin(torch.unique(self.group), group)
        return Rollouts(
            group,
            self.mask[rows],
            self.rewards[rows],
            self.logps[rows],
            {name: value[present if NEEDS[name].per_group else rows] for name, value in self.extras.items()},
        )

    def restrict(self, needs: Iterable[str], reader: str) -> Rollouts:
        """Return the same rollouts, with extras that answer only for ``needs``."""
        return _restrict(self, needs, reader)


@dataclass(frozen=True)
class PolicyOutputs:
    """What the current policy gives for the rows of a ``Rollouts``: ``logps`` ``(B, T)`` with gradient, and extras."""

    logps: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.logps.ndim != 2:
            raise ValueError(f"logps has shape {tuple(self.logps.shape)}, expected (B, T)")
        for name in self.extras:
            if f"policy.{name}" not in NEEDS:
                raise ValueError(f"unknown extra '{name}' in policy outputs; the vocabulary is prefopt.batch.NEEDS")

    def __len__(self) -> int:
        return self.logps.shape[0]

    def __getitem__(self, rows: Any) -> PolicyOutputs:
        return PolicyOutputs(self.logps[rows], {name: value[rows] for name, value in self.extras.items()})

    def restrict(self, needs: Iterable[str], reader: str) -> PolicyOutputs:
        """Return the same outputs, with extras that answer only for ``needs``."""
        return _restrict(self, needs, reader, "policy.")


@dataclass(frozen=True)
class Pairs:
    """N preference pairs: which tokens are response tokens, and optional labels.

    Attributes:
        chosen_mask: ``(N, Tc)`` bool. rejected_mask: ``(N, Tr)`` bool.
        extras: margins, labels and the like by the names of ``NEEDS``, first dimension N.
    """

    chosen_mask: Tensor
    rejected_mask: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.chosen_mask.shape[0] != self.rejected_mask.shape[0]:
            raise ValueError(
                f"chosen_mask has {self.chosen_mask.shape[0]} rows, rejected_mask {self.rejected_mask.shape[0]}"
            )
        for name in ("chosen_mask", "rejected_mask"):
            if getattr(self, name).dtype != torch.bool:
                raise TypeError(f"{name} must be bool, not {getattr(self, name).dtype}")
        _check_first_dimension(self.extras, len(self), "pairs")

    def __len__(self) -> int:
        return self.chosen_mask.shape[0]

    def __getitem__(self, rows: Any) -> Pairs:
        extras = {name: value[rows] for name, value in self.extras.items()}
        return Pairs(self.chosen_mask[rows], self.rejected_mask[rows], extras)

    def restrict(self, needs: Iterable[str], reader: str) -> Pairs:
        """Return the same pairs, with extras that answer only for ``needs``."""
        return _restrict(self, needs, reader)


@dataclass(frozen=True)
class PairOutputs:
    """What a model gives for N pairs: ``chosen_logps`` ``(N, Tc)``, ``rejected_logps`` ``(N, Tr)``, and extras.

    Values at positions outside the masks of ``Pairs`` are ignored by every part, whatever they are.
    """

    chosen_logps: Tensor
    rejected_logps: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.chosen_logps.shape[0] != self.rejected_logps.shape[0]:
            raise ValueError(
                f"chosen_logps has {self.chosen_logps.shape[0]} rows, rejected_logps {self.rejected_logps.shape[0]}"
            )
        _check_first_dimension(self.extras, len(self), "pair outputs")

    def __len__(self) -> int:
        return self.chosen_logps.shape[0]

    def __getitem__(self, rows: Any) -> PairOutputs:
        extras = {name: value[rows] for name, value in self.extras.items()}
        return PairOutputs(self.chosen_logps[rows], self.rejected_logps[rows], extras)

    def restrict(self, needs: Iterable[str], reader: str) -> PairOutputs:
        """Return the same outputs, with extras that answer only for ``needs``."""
        return _restrict(self, needs, reader)


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` fixed for a whole generation batch, before any micro-batch is taken from it.

    Attributes:
        advantages: ``(B, T)``; zero outside the mask and in rows that take no part.
        weights: ``(B, T)``; aggregation times token weights. The loss is ``-sum(weights * surrogate)``.
        penalty_weights: ``(B, T)``; aggregation alone, by which regularisers are summed.
        statistics: what stateful parts advance their state with, keyed by slot.
        metrics: ``(sum, count)`` pairs over the batch.
    """

    advantages: Tensor
    weights: Tensor
    penalty_weights: Tensor
    statistics: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    metrics: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.weights.shape[0]

    def __getitem__(self, rows: Any) -> Prepared:
        return replace(
            self,
            advantages=self.advantages[rows],
            weights=self.weights[rows],
            penalty_weights=self.penalty_weights[rows],
        )
