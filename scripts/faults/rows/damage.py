"""Damage by chance, and damage of which it is known that the row cannot be used any more."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

TEXT: tuple[Any, ...] = (None, 7, True, {"a": 1}, [1], "", " \n", "\ud800", "a\0b", [{"content": "x"}])
NUMBER: tuple[Any, ...] = ("7", "", [], {}, float("nan"), float("inf"), True)
NEEDED = (None, *NUMBER)
LABEL: tuple[Any, ...] = (None, "good", 2, -1, 0.5, [], {}, float("nan"))
LIST: tuple[Any, ...] = (None, 7, "text", {}, [], [7], True)
MESSAGES: tuple[Any, ...] = (None, 7, True, [], [7], [{}], [{"role": "user"}], [{"role": "robot", "content": "x"}])
WRONG: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "pairs": {
        "prompt": TEXT,
        "chosen": TEXT,
        "rejected": TEXT,
        "margin": NUMBER,
        "label_chosen_preferred": (*NUMBER, 2, -1),
    },
    "chat": {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES},
    "whole chats": {"chosen": MESSAGES, "rejected": MESSAGES},
    "transcripts": {"chosen": (None, 7, True, [], "no turn"), "rejected": (None, 7, True, {}, "")},
    "scored pairs": {"prompt": TEXT, "chosen": TEXT, "score_chosen": (*NEEDED, -9), "score_rejected": (*NEEDED, 9)},
    "ranked": {"prompt": TEXT, "answers": LIST},
    "rated": {"prompt": (None, 7, "", []), "response": (None, 7, "", []), "helpfulness": NEEDED, "verbosity": NEEDED},
    "multi-attribute": {"messages": MESSAGES, "helpsteer-helpfulness": NEEDED},
    "judged by strength": {
        "prompt": (None, 7, ""),
        "response_1": (None, 7, "", []),
        "preference_strength": (*NEEDED, 9),
    },
    "unpaired": {"prompt": TEXT, "completion": TEXT, "label": LABEL},
    "judged chats": {"prompt": MESSAGES, "completion": MESSAGES, "label": LABEL},
    "steps": {"prompt": TEXT, "steps": LIST, "labels": ([1], "ab", [1, "x"], [float("nan"), 1], [2, 0], 7)},
    "prompts": {"prompt": TEXT},
    "questions": {"question": (None, 7, "", " "), "answer": (None, 7, [], {})},
    "code": {
        "question": (None, 7, ""),
        "input_output": (None, 7, "", "x", "[]", "{}", '{"inputs": ["1"], "outputs": []}'),
    },
    "packed tests": {"question_content": (None, 7, ""), "public_test_cases": (7, "eJxr", "{}", "[1]", {"a": 1})},
    "tests": {"prompt": TEXT},
    "logged": {"prompt": TEXT, "completion": TEXT, "reward": NEEDED},
    "scored texts": {"text": (None, 7, "", " ", [], "\ud800"), "score": NEEDED},
    "scored segments": {
        "segments": (7, "text", [7], [], ["a", "b", "c"], [""]),
        "scores": (None, 7, [], ["x"], [0.1] * 5),
    },
    "samples": {"prompt": TEXT, "completion": TEXT, "policy": (None, 7, [])},
    "ratings": {"prompt": TEXT, "completion": TEXT},
}
"""For each kind, columns with values that make its first good row one that cannot be used."""
ANY: tuple[Any, ...] = (
    None, True, 0, -1, 7, 0.5, 10**30, float("nan"), "", " ", "text", "\ud800", "\0", [], {}, ["text"], [[]], {"a": []},
    [{"role": "user", "content": "x"}], [{"role": "assistant", "content": [{"type": "image"}]}], [[1], {"b": None}],
)  # fmt: skip
ByChance = Callable[[bytes, Random], bytes]


def hopeless(like: str, row: Mapping[str, Any]) -> Iterator[bytes]:
    """Lines of which each has one column that cannot be what it is."""
    for column, values in WRONG[like].items():
        for value in values:
            yield json.dumps({**row, column: value}).encode()


def turned_bit(line: bytes, chance: Random) -> bytes:
    """One bit, anywhere; a line break that comes of it would make it two lines, and is left out."""
    place = chance.randrange(len(line))
    turned = line[place] ^ (1 << chance.randrange(8))
    return line[:place] + bytes([turned if turned not in b"\r\n" else 0]) + line[place + 1 :]


def cut(line: bytes, chance: Random) -> bytes:
    """The beginning of a line, of one byte at least."""
    return line[: chance.randrange(1, len(line))]


def other_bytes(line: bytes, chance: Random) -> bytes:
    """A few bytes of any kind in the middle."""
    place = chance.randrange(len(line))
    junk = bytes(chance.randrange(11, 256) for _ in range(chance.randrange(1, 6))).replace(b"\r", b"")
    return line[:place] + junk + line[place:]


def doubled(line: bytes, chance: Random) -> bytes:
    """A piece of a line that stands twice."""
    first = chance.randrange(len(line))
    last = chance.randrange(first, len(line)) + 1
    return line[:last] + line[first:last] + line[last:]


def other_value(line: bytes, chance: Random) -> bytes:
    """Another value in place of one, at any depth."""
    row = json.loads(line)
    places = list(_places(row))
    holder, key = chance.choice(places)
    holder[key] = copy.deepcopy(chance.choice(ANY))
    return json.dumps(row).encode()


def missing_value(line: bytes, chance: Random) -> bytes:
    """A row that lacks a value, at any depth."""
    row = json.loads(line)
    holder, key = chance.choice(list(_places(row)))
    del holder[key]
    return json.dumps(row).encode()


def other_name(line: bytes, chance: Random) -> bytes:
    """A column under another name."""
    row = json.loads(line)
    name = chance.choice(sorted(row))
    row[name[:-1] + chance.choice("aeiou_ ") if chance.random() < 0.5 else name.upper()] = row.pop(name)
    return json.dumps(row).encode()


BY_CHANCE: Mapping[str, ByChance] = {
    made.__name__: made for made in (turned_bit, cut, other_bytes, doubled, other_value, missing_value, other_name)
}


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a value that holds another: its holder and the key there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)
