"""Corrupt rows, each with the reason and the field that the validator must give.

``LINES`` are lines of a JSONL file of preference pairs (a good pair is `GOOD`), as bytes; ``ROWS`` are rows of other
shapes, each beside two good rows that fix the shape.
"""

from __future__ import annotations

from typing import Any

GOOD = b'{"prompt": "2+2?", "chosen": "4", "rejected": "5"}'
CHAT = [{"role": "user", "content": "2+2?"}]
FOUR = [{"role": "assistant", "content": "4"}]

LINES: list[tuple[bytes, str, str]] = [
    (b'{"prompt": "a", "chosen": "b", "rejected": "c"', "unparseable_json", "line"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "c",}', "unparseable_json", "line"),
    (b"{'prompt': 'a', 'chosen': 'b', 'rejected': 'c'}", "unparseable_json", "line"),
    (b"prompt,chosen,rejected", "unparseable_json", "line"),
    (GOOD + GOOD, "unparseable_json", "line"),
    (b'{"prompt": "a\tb", "chosen": "b", "rejected": "c"}', "unparseable_json", "line"),
    (b"[" * 100_000, "unparseable_json", "line"),
    (b'{"prompt": 1' + b"0" * 5000 + b"}", "unparseable_json", "line"),
    (b"cos\npickle", "unparseable_json", "line"),
    (b'{"prompt": "\xff\xfe", "chosen": "b", "rejected": "c"}', "invalid_unicode", "line"),
    ('{"prompt": "é", "chosen": "b", "rejected": "c"}'.encode("latin-1"), "invalid_unicode", "line"),
    (b"\x80\x04\x95\x10\x00\x00\x00", "invalid_unicode", "line"),
    (b'{"prompt": "\\ud83d", "chosen": "b", "rejected": "c"}', "invalid_unicode", "prompt"),
    (b'{"prompt": "a", "chosen": "\\udc00", "rejected": "c"}', "invalid_unicode", "chosen"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "c", "note": "\\udfff"}', "invalid_unicode", "note"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "c", "\\udfff": 1}', "invalid_unicode", "column name"),
    (b"[1, 2]", "not_an_object", "row"),
    (b"null", "not_an_object", "row"),
    (b'"text"', "not_an_object", "row"),
    (b"7", "not_an_object", "row"),
    (b"{}", "missing_field", "prompt"),
    (b'{"chosen": "b", "rejected": "c"}', "missing_field", "prompt"),
    (b'{"prompt": "a", "rejected": "c"}', "missing_field", "chosen"),
    (b'{"prompt": "a", "chosen": "b", "rejected": null}', "missing_field", "rejected"),
    (b'{"prompt": 5, "chosen": "b", "rejected": "c"}', "wrong_type", "prompt"),
    (b'{"prompt": "a", "chosen": true, "rejected": "c"}', "wrong_type", "chosen"),
    (b'{"prompt": "a", "chosen": ["b"], "rejected": "c"}', "wrong_type", "chosen"),
    (b'{"prompt": "a", "chosen": {"text": "b"}, "rejected": "c"}', "wrong_type", "chosen"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "c", "margin": "1"}', "wrong_type", "margin"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "c", "margin": true}', "wrong_type", "margin"),
    (b'{"prompt": "", "chosen": "b", "rejected": "c"}', "empty_prompt", "prompt"),
    (b'{"prompt": " \\n\\t", "chosen": "b", "rejected": "c"}', "empty_prompt", "prompt"),
    (b'{"prompt": [], "chosen": "b", "rejected": "c"}', "empty_prompt", "prompt"),
    (b'{"prompt": "a", "chosen": "", "rejected": "c"}', "empty_answer", "chosen"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "\\u3000"}', "empty_answer", "rejected"),
    (b'{"prompt": "a", "chosen": [], "rejected": []}', "empty_answer", "chosen"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "b"}', "identical_answers", "chosen"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "c", "margin": NaN}', "not_finite", "margin"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "c", "margin": -Infinity}', "not_finite", "margin"),
    (b'{"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1' + b"0" * 400 + b"}", "not_finite", "margin"),
    (
        b'{"prompt": "a", "chosen": "b", "rejected": "c", "label_chosen_preferred": 1.5}',
        "out_of_range",
        "label_chosen_preferred",
    ),
    (
        b'{"prompt": "a", "chosen": "b", "rejected": "c", "label_chosen_preferred": -0.1}',
        "out_of_range",
        "label_chosen_preferred",
    ),
    (
        b'{"prompt": "a", "chosen": "b", "rejected": "c", "label_chosen_preferred": NaN}',
        "not_finite",
        "label_chosen_preferred",
    ),
    (b'{"prompt": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "c"}', "mixed_format", "prompt"),
    (b'{"prompt": [{"role": "robot", "content": "a"}], "chosen": "b", "rejected": "c"}', "wrong_type", "prompt"),
    (b'{"prompt": [{"role": "user"}], "chosen": "b", "rejected": "c"}', "wrong_type", "prompt"),
    (
        b'{"prompt": [{"role": "user", "content": [{"type": "image"}]}], "chosen": "b", "rejected": "c"}',
        "unsupported_content",
        "prompt",
    ),
    (
        b'{"prompt": "a", "chosen": [{"role": "assistant", "tool_calls": [{}]}], "rejected": "c"}',
        "unsupported_content",
        "chosen",
    ),
    (
        b'{"prompt": "z", "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], '
        b'"rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]}',
        "prompt_mismatch",
        "prompt",
    ),
]

TRANSCRIPT = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
LLMBAR = {"input": "a", "output_1": "b", "output_2": "c", "label": 1}
STRENGTH = {"prompt": "a", "response_1": "b", "response_2": "c", "preference_strength": 1}
SCORED = {"prompt": "a", "chosen": "b", "rejected": "c", "score_chosen": 2, "score_rejected": 1}
EVAL = {"instruction": "a", "output_1": "b", "output_2": "c", "preference": 1.0}
NECTAR = {"prompt": "a", "answers": [{"answer": "b", "rank": 1}, {"answer": "c", "rank": 2}]}
STYLES = {"prompt": "a", "chosen": ["b", "b.", "b!"], "rejected": ["c", "c.", "c!"]}
WHOLE = {"chosen": [*CHAT, *FOUR], "rejected": [*CHAT, {"role": "assistant", "content": "5"}]}
HELPSTEER = {"prompt": "a", "response": "b", "helpfulness": 1, "correctness": 1, "coherence": 1} | {
    "complexity": 1,
    "verbosity": 1,
}
STEPS = {"question": {"problem": "a"}, "label": {"steps": [{"completions": [{"text": "b", "rating": 1}]}]}}
JUDGED = {"question": "a", "response_A": "b", "response_B": "c", "label": "A>B"}
SOLVED = {"question": "a", "ground_truth": "b", "model": {"solution": "c", "is_correct": True}}

ROWS: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    (TRANSCRIPT, {"chosen": "\n\nHuman: x\n\nAssistant: b"}, "no_common_turn", "chosen"),
    (TRANSCRIPT, {"rejected": TRANSCRIPT["chosen"]}, "identical_answers", "chosen"),
    (WHOLE, {"chosen": [{"role": "user", "content": "other"}, *FOUR]}, "no_common_turn", "chosen"),
    (WHOLE, {"chosen": [*CHAT]}, "no_common_turn", "chosen"),
    (LLMBAR, {"label": 3}, "unknown_label", "label"),
    (LLMBAR, {"label": [1]}, "unknown_label", "label"),
    (LLMBAR, {"label": True}, "unknown_label", "label"),
    (LLMBAR, {"output_2": "b"}, "identical_answers", "chosen"),
    (JUDGED, {"label": "A<B"}, "unknown_label", "label"),
    (STRENGTH, {"preference_strength": 4}, "out_of_range", "preference_strength"),
    (STRENGTH, {"preference_strength": float("nan")}, "not_finite", "preference_strength"),
    (SCORED, {"score_chosen": 0}, "chosen_scored_below_rejected", "score_chosen"),
    (SCORED, {"score_rejected": None}, "missing_field", "score_rejected"),
    (EVAL, {"preference": 2.5}, "out_of_range", "preference"),
    (NECTAR, {"answers": []}, "wrong_type", "answers"),
    (NECTAR, {"answers": [{"answer": "b"}]}, "missing_field", "rank"),
    (NECTAR, {"answers": [{"answer": " ", "rank": 1}]}, "empty_answer", "answer 1"),
    (STYLES, {"chosen": ["b"]}, "wrong_type", "chosen"),
    (STYLES, {"chosen": "b"}, "wrong_type", "chosen"),
    (HELPSTEER, {"helpfulness": "high"}, "wrong_type", "helpfulness"),
    (STEPS, {"label": {"steps": [{"completions": [], "chosen_completion": 3}]}}, "out_of_range", "chosen_completion"),
    (SOLVED, {"model": {"solution": "c", "is_correct": "yes"}}, "wrong_type", "is_correct"),
]
