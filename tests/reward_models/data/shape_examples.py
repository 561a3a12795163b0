"""One small literal row (or rows) for every shape, with the pairs that follow from the shape's definition.

Each entry: shape name, rows, expected pairs as (prompt, chosen, rejected, margin, label), the label None = certain.
Ties are kept here (``ties="soft"`` is not used), so a tie shows as label 0.5 before it is dropped.
"""

from __future__ import annotations

from typing import Any

Expected = tuple[Any, Any, Any, float | None, float | None]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def annotations(follow: str, honest: str, true: str, helpful: str) -> dict[str, Any]:
    names = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    return {name: {"Rating": r} for name, r in zip(names, (follow, honest, true, helpful), strict=True)}


HELPSTEER = {"correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 1}
PREDICTIONS = {f"prediction {i}": f"answer {i}" for i in range(1, 5)}

EXAMPLES: list[tuple[str, list[dict[str, Any]], list[Expected]]] = [
    (
        "preference pairs",
        [{"prompt": "2+2?", "chosen": "4", "rejected": "5", "margin": 2}],
        [("2+2?", "4", "5", 2.0, None)],
    ),
    (
        "preference pairs",
        [{"prompt": "2+2?", "chosen": "4", "rejected": "5", "label_chosen_preferred": 0.75}],
        [("2+2?", "4", "5", None, 0.75)],
    ),
    (
        "preference pairs",
        [{"prompt": [user("2+2?")], "chosen": [assistant("4")], "rejected": [assistant("5")]}],
        [([user("2+2?")], [assistant("4")], [assistant("5")], None, None)],
    ),
    (  # a text prompt beside chat answers becomes one user message
        "preference pairs",
        [{"prompt": "2+2?", "chosen": [assistant("4")], "rejected": [assistant("5")]}],
        [([user("2+2?")], [assistant("4")], [assistant("5")], None, None)],
    ),
    (
        "conversations with a shared prompt",
        [{"chosen": [user("2+2?"), assistant("4")], "rejected": [user("2+2?"), assistant("5")]}],
        [([user("2+2?")], [assistant("4")], [assistant("5")], None, None)],
    ),
    (
        "texts with a shared prompt",
        [{"chosen": "The sky is blue.", "rejected": "The sky is below."}],
        [("The sky is", " blue.", " below.", None, None)],
    ),
    (
        "HH-RLHF transcripts",
        [
            {
                "chosen": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 2+2?\n\nAssistant: Four",
                "rejected": "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 2+2?\n\nAssistant: Five",
            }
        ],
        [("\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 2+2?\n\nAssistant:", " Four", " Five", None, None)],
    ),
    (
        "rm-static",
        [{"prompt": "\n\nHuman: 2+2?\n\nAssistant:", "response": " 4", "chosen": " 4", "rejected": " 5"}],
        [("\n\nHuman: 2+2?\n\nAssistant:", " 4", " 5", None, None)],
    ),
    (  # margin 8.5 - 6 = 2.5
        "preference pairs with scores",
        [
            {
                "prompt": "2+2?",
                "prompt_id": "a",
                "chosen": [user("2+2?"), assistant("4")],
                "rejected": [user("2+2?"), assistant("5")],
                "messages": [user("2+2?"), assistant("4")],
                "score_chosen": 8.5,
                "score_rejected": 6.0,
            }
        ],
        [([user("2+2?")], [assistant("4")], [assistant("5")], 2.5, None)],
    ),
    (  # equal scores are a tie
        "preference pairs with scores",
        [{"prompt": "2+2?", "chosen": "4", "rejected": "four", "score_chosen": 8, "score_rejected": 8}],
        [("2+2?", "4", "four", 0.0, 0.5)],
    ),
    (  # means of the aspects: (5+5+4)/3 = 4.667 without the N/A, and 2; overall_score 1 is the known error for 10
        "UltraFeedback",
        [
            {
                "instruction": "2+2?",
                "source": "maths",
                "completions": [
                    {"response": "5", "annotations": annotations("2", "2", "2", "2"), "overall_score": 3, "model": "a"},
                    {"response": "4", "annotations": annotations("5", "N/A", "5", "4"), "overall_score": 1},
                ],
            }
        ],
        [("2+2?", "4", "5", 14 / 3 - 2, None)],
    ),
    (  # two rows, one prompt: helpfulness 4 against 1
        "HelpSteer ratings",
        [
            {"prompt": "2+2?", "response": "5", "helpfulness": 1, **HELPSTEER},
            {"prompt": "2+2?", "response": "4", "helpfulness": 4, **HELPSTEER},
            {"prompt": "3+3?", "response": "6", "helpfulness": 4, **HELPSTEER},
        ],
        [("2+2?", "4", "5", 3.0, None)],
    ),
    (  # -2: the first is better, by 2
        "HelpSteer2 preference",
        [{"prompt": "2+2?", "response_1": "4", "response_2": "5", "preference_strength": -2}],
        [("2+2?", "4", "5", 2.0, None)],
    ),
    (
        "HelpSteer2 preference",
        [
            {
                "prompt": "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\n2+2?\n<extra_id_1>Assistant\n",
                "response_1": "5",
                "response_2": "4",
                "preference_strength": 3,
            }
        ],
        [("\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 2+2?\n\nAssistant:", "4", "5", 3.0, None)],
    ),
    (
        "HelpSteer3 preference",
        [
            {"context": [user("2+2?")], "response1": "5", "response2": "4", "overall_preference": 1, "domain": "stem"},
            {"context": [user("Hi")], "response1": "Hey", "response2": "Hello", "overall_preference": 0},
        ],
        [
            ([user("2+2?")], [assistant("4")], [assistant("5")], 1.0, None),
            ([user("Hi")], [assistant("Hey")], [assistant("Hello")], 0.0, 0.5),
        ],
    ),
    (
        "Skywork conversations",
        [{"chosen": [user("2+2?"), assistant("4")], "rejected": [user("2+2?"), assistant("5")], "source": "magpie"}],
        [([user("2+2?")], [assistant("4")], [assistant("5")], None, None)],
    ),
    (  # ranks 1, 3, 2: pairs 1-3 by 2, 1-2 by 1, 2-3 by 1
        "Nectar ranks",
        [
            {
                "prompt": "\n\nHuman: 2+2?\n\nAssistant: ",
                "answers": [
                    {"answer": "4", "model": "a", "rank": 1.0},
                    {"answer": "5", "model": "b", "rank": 3.0},
                    {"answer": "4.0", "model": "c", "rank": 2.0},
                ],
                "source": ["x"],
            }
        ],
        [
            ("\n\nHuman: 2+2?\n\nAssistant: ", "4", "5", 2.0, None),
            ("\n\nHuman: 2+2?\n\nAssistant: ", "4", "4.0", 1.0, None),
            ("\n\nHuman: 2+2?\n\nAssistant: ", "4.0", "5", 1.0, None),
        ],
    ),
    (
        "NeMo ranks",
        [
            {
                "context": [user("2+2?")],
                "completions": [
                    {"rank": 0, "completion": [assistant("4")]},
                    {"rank": 1, "completion": [assistant("5")]},
                ],
                "task_name": "maths",
            }
        ],
        [([user("2+2?")], [assistant("4")], [assistant("5")], 1.0, None)],
    ),
    (
        "multi-objective ratings",
        [
            {"messages": [user("2+2?"), assistant("4")], "helpsteer-helpfulness": 0.9, "code-style": None},
            {"messages": [user("2+2?"), assistant("5")], "helpsteer-helpfulness": 0.4, "code-style": None},
        ],
        [([user("2+2?")], [assistant("4")], [assistant("5")], 0.5, None)],
    ),
    (  # step 1: 1 against -1; step 2 follows the chosen completion: 1 against 0, the unrated one left out
        "PRM800K steps",
        [
            {
                "question": {"problem": "2+2+2?", "ground_truth_answer": "6"},
                "label": {
                    "steps": [
                        {
                            "completions": [{"text": "2+2=4", "rating": 1}, {"text": "2+2=5", "rating": -1}],
                            "chosen_completion": 0,
                        },
                        {
                            "completions": [
                                {"text": "Wait.", "rating": 0},
                                {"text": "4+2=6", "rating": 1},
                                {"text": "Hm.", "rating": None},
                            ],
                            "chosen_completion": None,
                        },
                    ]
                },
            }
        ],
        [
            ("2+2+2?", "2+2=4", "2+2=5", 2.0, None),
            ("2+2+2?\n2+2=4", "4+2=6", "Wait.", 1.0, None),
        ],
    ),
    (
        "LLaMA-Factory alpaca",
        [{"instruction": "Add.", "input": "2+2", "chosen": "4", "rejected": "5"}],
        [("Add.\n2+2", "4", "5", None, None)],
    ),
    (
        "LLaMA-Factory alpaca",
        [{"instruction": "2+2?", "chosen": "4", "rejected": "5", "history": [["Hi", "Hello"]], "system": "Be brief."}],
        [("Be brief.\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: 2+2?\n\nAssistant:", "4", "5", None, None)],
    ),
    (
        "LLaMA-Factory sharegpt",
        [
            {
                "conversations": [{"from": "human", "value": "2+2?"}],
                "chosen": {"from": "gpt", "value": "4"},
                "rejected": {"from": "gpt", "value": "5"},
            }
        ],
        [([user("2+2?")], [assistant("4")], [assistant("5")], None, None)],
    ),
    ("LLMBar", [{"input": "2+2?", "output_1": "5", "output_2": "4", "label": 2}], [("2+2?", "4", "5", None, None)]),
    (
        "JudgeBench",
        [
            {
                "pair_id": "1",
                "question": "2+2?",
                "response_A": "4",
                "response_B": "5",
                "label": "A>B",
                "source": "mmlu",
            },
            {
                "pair_id": "2",
                "question": "3+3?",
                "response_A": "5",
                "response_B": "6",
                "label": "B>A",
                "source": "mmlu",
            },
        ],
        [("2+2?", "4", "5", None, None), ("3+3?", "6", "5", None, None)],
    ),
    (  # votes 1, 1, tie: (1 + 1 + 1/2) / 3 = 5/6
        "PandaLM",
        [
            {
                "instruction": "Add.",
                "input": "2+2",
                "response1": "4",
                "response2": "5",
                "annotator1": 1,
                "annotator2": 1,
                "annotator3": 0,
            }
        ],
        [("Add.\n2+2", "4", "5", None, 5 / 6)],
    ),
    (
        "auto-j",
        [
            {"scenario": "maths", "label": 1, "prompt": "2+2?", "response 1": "5", "response 2": "4"},
            {"scenario": "chat", "label": 2, "prompt": "Hi", "response 1": "Hey", "response 2": "Hello"},
        ],
        [("2+2?", "4", "5", None, None), ("Hi", "Hey", "Hello", None, 0.5)],
    ),
    (
        "RM-Bench",
        [{"prompt": "2+2?", "chosen": ["4", "4.", "**4**"], "rejected": ["5", "5.", "**5**"], "subset": "maths"}],
        [("2+2?", c, r, None, None) for c in ("4", "4.", "**4**") for r in ("5", "5.", "**5**")],
    ),
    (
        "RMB pairs",
        [
            {
                "pair_uid": "1",
                "conversation_input": [user("2+2?")],
                "chosen": {"llm_name": "a", "answer": "4"},
                "reject": {"llm_name": "b", "answer": "5"},
                "category_path": "maths",
            }
        ],
        [([user("2+2?")], [assistant("4")], [assistant("5")], None, None)],
    ),
    (
        "RMB best-of-n",
        [
            {
                "bon_uid": "1",
                "conversation_input": [user("2+2?")],
                "bon_best": {"llm_name": "a", "answer": "4"},
                "loser_list": [{"llm_name": "b", "answer": "5"}, {"llm_name": "c", "answer": "6"}],
                "category_path": "maths",
            }
        ],
        [
            ([user("2+2?")], [assistant("4")], [assistant("5")], None, None),
            ([user("2+2?")], [assistant("4")], [assistant("6")], None, None),
        ],
    ),
    (  # 1.9: the second is better with probability 0.9
        "AlpacaEval",
        [{"instruction": "2+2?", "output_1": "5", "output_2": "4", "preference": 1.9, "annotator": "x"}],
        [("2+2?", "4", "5", None, 0.9)],
    ),
    (  # two correct, one wrong: two pairs by 1; the two correct ones are a tie
        "model solutions",
        [
            {
                "question": "2+2?",
                "ground_truth": "4",
                "small": {"is_correct": True, "solution": "A: 4"},
                "medium": {"is_correct": False, "solution": "A: 5"},
                "large": {"is_correct": True, "solution": "It is 4"},
            }
        ],
        [
            ("2+2?", "A: 4", "A: 5", 1.0, None),
            ("2+2?", "A: 4", "It is 4", 0.0, 0.5),
            ("2+2?", "It is 4", "A: 5", 1.0, None),
        ],
    ),
    (  # 1-2 first, 1-3 second, 1-4 tie, 2-3 second, 2-4 second, 3-4 first
        "fine-grained feedback",
        [{"question": "Who?", "passages": [["Title", "A sentence."]], "preference": [1, 2, 0, 2, 2, 1], **PREDICTIONS}],
        [
            ("Title\nA sentence.\n\nWho?", f"answer {c}", f"answer {r}", None, label)
            for c, r, label in [(1, 2, None), (3, 1, None), (1, 4, 0.5), (3, 2, None), (4, 2, None), (3, 4, None)]
        ],
    ),
    (
        "solutions with first wrong step",
        [
            {
                "question": "2+2?",
                "ground_truth_solution": "2+2=4",
                "ground_truth_answer": 4,
                "model_output_steps": ["Step 1: 2+2=5", "Step 2: so 5"],
                "model_output_solution_correctness": "wrong",
                "model_output_solution_first_error_step": 1,
            },
            {
                "question": "3+3?",
                "ground_truth_solution": "3+3=6",
                "ground_truth_answer": 6,
                "model_output_steps": ["Step 1: 6"],
                "model_output_solution_correctness": "correct",
                "model_output_solution_first_error_step": "N/A",
            },
        ],
        [("2+2?", "2+2=4", "Step 1: 2+2=5\nStep 2: so 5", None, None)],
    ),
]
