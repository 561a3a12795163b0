"""Which inputs a run can supply, and what to say of the others, before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefopt.batch import NEEDS
from prefopt.online.method import OnlineMethod
from prefopt.online.turnwise import TurnwiseObjective
from prefopt.trainers.rewards.source import RewardSource
from prefopt.trainers.rewards.verdicts import gives
from prefopt.trainers.supply.inputs import SHAPES, UserInput

if TYPE_CHECKING:
    from prefopt.trainers.online_config import OnlineConfig

ALWAYS = frozenset({
    "reward_gram", "reward_gradient_norms", "learning_rate_share",
    "ref_logps", "entropies", "hidden_states", "truncated", "token_ids", "weight_lag", "prompt_logps", "prompt_mask",
    "squared_gradient_norms", "group_divergence", "router_probs_old_topk",
    "policy.entropies", "policy.hidden", "policy.top_logits", "policy.top_ids", "policy.vocab_logps", "policy.values",
    "policy.router_probs_on_old_topk", "preference",
})  # fmt: skip
"""What costs no more than computing. Some of it depends on the model's shape: `check_shape`."""
TURNS = ("tools", "environment_factory", "rollout_func")
LACKING = {
    "sampler_logps": "which the sampler gives only with use_vllm: true or a rollout_func; choose another part",
    "test_results": "which only a reward source with a method `results` gives; add unit_tests to `rewards`",
    "turn_ids": "which exist only with `tools`, an `environment_factory`, or a `rollout_func` that returns `env_mask`; "
    "without one a completion is a single turn",
    "turn_test_results": "which only a reward source with a method `results` or `turn_results` gives; add unit_tests "
    "to `rewards`",
    "cutpoint_values": "which come from completions drawn again from a cut, and tools or environments would have to be "
    "set back to it; leave them out, or give `inputs: {cutpoint_values: ...}`",
    "resampled_answers": "which come from completions drawn again from a cut, and tools or environments would have to "
    "be set back to it; leave them out, or give `inputs: {resampled_answers: ...}`",
    "step_ids": "which need a rule for where steps end: set `steps: paragraphs` (or lines, sentences, regex:PATTERN)",
    "values": "which a critic gives, and nothing here trains one: give value_coefficient to the recipe, or "
    "`inputs: {values: ...}`",
    "from_expert": "which comes with demonstrations: set `demonstration: COLUMN`, or `inputs: {from_expert: ...}`",
    "expert_logps": "which come with demonstrations: set `demonstration: COLUMN`",
    "hint_length": "which come with completions that continue a part of each prompt's reference answer: set "
    "`reference_answer: COLUMN`, or give `inputs: {hint_length: ...}` beside a rollout_func that hints",
    "policy.degraded_logps": "which need a degraded copy of each prompt: set `degraded_prompt: COLUMN`",
    "policy.answer_logps": "which need a prompt that tells the answer: set `answer_prompt: COLUMN`",
    "policy.candidate_logps": "which are compared with a prompt that tells the answer: set `answer_prompt: COLUMN`",
    "policy.candidate_answer_logps": "which need a prompt that tells the answer: set `answer_prompt: COLUMN`",
    **dict.fromkeys(
        ("policy.soft_logps", "soft_logps", "soft_values", "ref_soft_logps"),
        "which come with soft thoughts: set `soft_tokens` to how many tokens of a completion are soft",
    ),
    "policy.reference_answer_logps": "which need each prompt's reference answer: set `reference_answer: COLUMN`",
    **dict.fromkeys(
        ("tasks", "task_quota", "batch_quota"),
        "which comes with tasks: set `task_column` to the column that names them",
    ),
    "reference_answer_mask": "which needs each prompt's reference answer: set `reference_answer: COLUMN`",
    "reference_answer_rewards": "which need each prompt's reference answer: set `reference_answer: COLUMN`",
    "reference_answer_scores": "which need each prompt's reference answer: set `reference_answer: COLUMN`",
}
"""What a run gives in some cases only: when, and how to mend it."""


def supplied(
    objective: OnlineMethod, config: OnlineConfig, sources: Sequence[RewardSource], other: Mapping[str, Any]
) -> frozenset[str]:
    """Return the names of all inputs that a run can give; ``other`` are the arguments that go to TRL's trainer."""
    several_turns = any(other.get(name) is not None for name in TURNS)
    answers = config.reference_answer is not None
    agents = any(other.get(name) is not None for name in TURNS[:2])
    given = {
        "cutpoint_values": not agents,
        "resampled_answers": not agents,
        "sampler_logps": config.use_vllm or other.get("rollout_func") is not None,
        "test_results": any(gives(source, "results") for source in sources),
        "turn_test_results": any(gives(source, "results", "turn_results") for source in sources),
        "turn_ids": several_turns or "turn_test_results" not in objective.needs,
        "step_ids": config.steps is not None,
        "hint_length": config.reference_answer is not None,
        "turn_correction": isinstance(objective, TurnwiseObjective),
        "values": "policy.values" in objective.needs,
        "from_expert": config.demonstration is not None,
        "expert_logps": config.demonstration is not None,
        "policy.degraded_logps": config.degraded_prompt is not None,
        **dict.fromkeys(
            ("policy.soft_logps", "soft_logps", "soft_values", "ref_soft_logps"), config.soft_tokens is not None
        ),
        "policy.answer_logps": config.answer_prompt is not None,
        "policy.candidate_logps": config.answer_prompt is not None,
        "policy.candidate_answer_logps": config.answer_prompt is not None,
        "policy.reference_answer_logps": answers,
        "reference_answer_mask": answers,
        "reference_answer_rewards": answers,
        "reference_answer_scores": answers,
        **dict.fromkeys(("tasks", "task_quota", "batch_quota"), config.task_column is not None),
    }
    return ALWAYS | config.inputs.keys() | {name for name, there in given.items() if there}


def why_lacking(name: str, slot: str) -> str:
    """Return what to say of an input that is not supplied: what it is, and how to mend it."""
    if name in LACKING:
        return LACKING[name]
    if name not in NEEDS:
        return f"unknown; choose another part for `{slot}`"
    about = NEEDS[name]
    if about.holder == "rollouts" and about.shape in SHAPES:
        return (
            f"{about.meaning}; name a column of the data or a function that gives it, `inputs: {{{name}: COLUMN}}` or "
            f"`inputs: {{{name}: file.py:function}}`"
        )
    return f"{about.meaning}, which online training does not supply; choose another part for `{slot}`"


def wanted_columns(inputs: Sequence[UserInput], config: OnlineConfig) -> dict[str, str]:
    """Return the columns of the data that supply reads, by what wants them."""
    found = {f"inputs.{one.name}": column for one in inputs for column in one.columns().values()}
    settings = ("demonstration", "reference_answer", "degraded_prompt", "task_column")
    return found | {name: getattr(config, name) for name in settings if getattr(config, name) is not None}
