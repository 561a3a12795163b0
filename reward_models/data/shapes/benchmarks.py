"""Benchmarks of reward models and judges."""

from __future__ import annotations

from reward_models.data.examples import Example, Pair, Row
from reward_models.data.faults import RowFault
from reward_models.data.fields import choice, conversation, number, present, record, records, remaining, text
from reward_models.data.shape import Shape
from reward_models.data.shapes.verdicts import FIRST, SECOND, TIE, judged

VOTES = ("annotator1", "annotator2", "annotator3")


def llmbar(row: Row) -> list[Example]:
    """`label` 1 or 2 names the better output."""
    preferred = choice(row, "label", {1: FIRST, 2: SECOND})
    used = ("input", "output_1", "output_2", "label")
    return [judged(text(row, "input"), *_outputs(row), preferred, attributes=remaining(row, used))]


def judgebench(row: Row) -> list[Example]:
    """`label` is A>B, B>A or A=B; `source` is the subset."""
    preferred = choice(row, "label", {"A>B": FIRST, "B>A": SECOND, "A=B": TIE})
    attributes = {"pair_id": row.get("pair_id"), "subset": row.get("source")}
    answers = (text(row, "response_A"), text(row, "response_B"))
    return [judged(text(row, "question"), *answers, preferred, attributes=attributes)]


def pandalm(row: Row) -> list[Example]:
    """Three votes 0 tie, 1, 2. The soft label is the mean vote, a tie counted half."""
    votes = [choice(row, name, {0: TIE, 1: FIRST, 2: SECOND}) for name in VOTES]
    prompt = "\n".join(part for part in (text(row, "instruction"), row.get("input")) if isinstance(part, str) and part)
    return [judged(prompt, text(row, "response1"), text(row, "response2"), sum(votes) / len(votes))]


def auto_j(row: Row) -> list[Example]:
    """`label` 0 first, 1 second, 2 tie; `scenario` is the subset."""
    preferred = choice(row, "label", {0: FIRST, 1: SECOND, 2: TIE})
    answers = (text(row, "response 1"), text(row, "response 2"))
    return [judged(text(row, "prompt"), *answers, preferred, attributes={"subset": row.get("scenario")})]


def rm_bench(row: Row) -> list[Example]:
    """Three styles of each answer, from terse to ornate; nine pairs. A plainer chosen answer is the hard case."""
    difficulty = {-1: "hard", 0: "normal", 1: "easy"}
    subset = row.get("subset", row.get("domain"))
    pairs: list[Example] = []
    for i, chosen in enumerate(_styles(row, "chosen")):
        for j, rejected in enumerate(_styles(row, "rejected")):
            level = difficulty[(i > j) - (i < j)]
            styles = {"chosen_style": i, "rejected_style": j, "difficulty": level, "subset": subset}
            pairs.append(Pair(text(row, "prompt"), chosen, rejected, attributes=styles))
    return pairs


def _styles(row: Row, field: str) -> list[str]:
    value = present(row, field)
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(style, str) for style in value):
        raise RowFault("wrong_type", field, "expected a list of three texts")
    return value


def rmb_pair(row: Row) -> list[Example]:
    """`chosen` and `reject` hold {llm_name, answer}; `category_path` is the subset."""
    answers = (text(record(row, "chosen"), "answer"), text(record(row, "reject"), "answer"))
    attributes = {"pair_uid": row.get("pair_uid"), "subset": row.get("category_path")}
    return [judged(conversation(row, "conversation_input"), *answers, FIRST, attributes=attributes)]


def rmb_best_of_n(row: Row) -> list[Example]:
    """`bon_best` against each of `loser_list`; pairs of one list share their `bon_uid`."""
    prompt, best = conversation(row, "conversation_input"), text(record(row, "bon_best"), "answer")
    attributes = {"bon_uid": row.get("bon_uid"), "subset": row.get("category_path")}
    losers = [text(loser, "answer") for loser in records(row, "loser_list")]
    return [judged(prompt, best, loser, FIRST, attributes=attributes) for loser in losers]


def alpaca_eval(row: Row) -> list[Example]:
    """`preference` from 1 (the first) to 2 (the second); 1.5 is a tie, values between are soft labels."""
    preference = number(row, "preference")
    if not 1 <= preference <= 2:
        raise RowFault("out_of_range", "preference", f"expected 1 to 2, found {preference:g}")
    names = ("generator_1", "generator_2", "annotator")
    attributes = {name: row.get(name) for name in names} | {"subset": row.get("dataset")}
    return [judged(text(row, "instruction"), *_outputs(row), 2 - preference, attributes=attributes)]


def _outputs(row: Row) -> tuple[str, str]:
    return text(row, "output_1"), text(row, "output_2")


def _lists_styles(row: Row) -> bool:
    chosen = row.get("chosen")
    return isinstance(chosen, list) and bool(chosen) and all(isinstance(style, str) for style in chosen)


SHAPES = (
    Shape("LLMBar", ("input", "output_1", "output_2", "label"), llmbar),
    Shape("JudgeBench", ("question", "response_A", "response_B", "label"), judgebench),
    Shape("PandaLM", ("instruction", "response1", "response2", *VOTES), pandalm),
    Shape("auto-j", ("prompt", "response 1", "response 2", "label"), auto_j),
    Shape("RM-Bench", ("prompt", "chosen", "rejected"), rm_bench, _lists_styles),
    Shape("RMB pairs", ("conversation_input", "chosen", "reject"), rmb_pair),
    Shape("RMB best-of-n", ("conversation_input", "bon_best", "loser_list"), rmb_best_of_n),
    Shape("AlpacaEval", ("instruction", "output_1", "output_2", "preference"), alpaca_eval),
)
