"""An answer beside another one: how a model reads it that compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reward_models.data.examples import plain_text
from reward_models.errors import DataError, ModelError
from reward_models.safe_folder import read_settings

AGAINST = ("reference", "others")


@dataclass(frozen=True)
class Referenced:
    """A prompt, and an answer to it beside which another one is scored. Both are text or messages."""

    prompt: Any
    reference: Any


@dataclass(frozen=True)
class LaidOut:
    """Token ids before the answer, and of the answer with its end; how many were cut before it, and of it."""

    before: list[int]
    answer: list[int]
    before_cut: int = 0
    answer_cut: int = 0


class Tokens(Protocol):
    """What is asked of a formatter."""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""

    @property
    def max_length(self) -> int | None:
        """Most tokens of prompt and answer."""

    @property
    def start(self) -> list[int]:
        """What the tokenizer puts before a text."""

    @property
    def end(self) -> list[int]:
        """The token after a completion."""

    def ids(self, text: str) -> list[int]:
        """The tokens of a text."""


@dataclass(frozen=True)
class ReferenceLayout:
    r"""``prompt separator reference marker prompt separator answer marker``; the score is read at the last marker.

    Messages are their contents, joined by newlines: no chat template. Where the whole is longer than ``max_length``
    both answers lose tokens on their right, down to a quarter of it each, then both copies of the prompt on their left.
    Candidates for one prompt and reference have everything before them in common, so that trees share it.

    Attributes:
        separator: left out before an answer without words.
        marker: a token of the tokenizer's vocabulary; None = its end token. (POLAR's released models have
            ``<|reward|>``; a token that is new to a backbone would start from nothing.)
        against: ``reference``: what answers are compared with is given beside the prompt; ``others``: each answer is
            compared with the others of its row or group.

    Reference: POLAR, arXiv 2507.05197 (there 16,384 tokens, of them 4,096 an answer).
    """

    separator: str = "\n"
    marker: str | None = None
    against: str = "reference"

    def __post_init__(self) -> None:
        if self.against not in AGAINST:
            raise ModelError(f"against must be one of {', '.join(AGAINST)}, not '{self.against}'")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it needs beside the prompt."""
        return ("reference",) if self.against == "reference" else ()

    def check(self, tokenizer: Any) -> None:
        """Raise ``ModelError`` where the marker is no single token of the tokenizer."""
        if self.marker is not None and tokenizer.convert_tokens_to_ids(self.marker) in (None, tokenizer.unk_token_id):
            raise ModelError(f"the tokenizer has no token '{self.marker}'; leave marker out to use its end token")

    def lay_out(self, tokens: Tokens, asked: Any, completion: Any) -> LaidOut:
        """Return the token ids of a completion beside its reference.

        Raises:
            DataError: there is no reference, or no room for anything.
        """
        if not isinstance(asked, Referenced):
            raise DataError("this model scores an answer beside another one: give a reference with every prompt")
        texts = (asked.prompt, asked.reference, completion)
        prompt, reference, answer = (tokens.ids(plain_text(text)) for text in texts)
        marker = tokens.end if self.marker is None else [int(tokens.tokenizer.convert_tokens_to_ids(self.marker))]
        gaps = [tokens.ids(self.separator) if ids else [] for ids in (reference, answer)]
        sizes = (len(prompt), len(reference), len(answer))
        if tokens.max_length is not None:
            room = tokens.max_length - len(tokens.start) - 2 * len(marker) - sum(map(len, gaps))
            if room < 4:
                raise DataError(f"max_length={tokens.max_length} leaves no room for two answers; raise it")
            longest = max(room // 4, (room - 2 * len(prompt)) // 2)
            reference, answer = reference[:longest], answer[:longest]
            prompt = prompt[max(0, len(prompt) - (room - len(reference) - len(answer)) // 2) :]
        before = [*tokens.start, *prompt, *gaps[0], *reference, *marker, *prompt, *gaps[1]]
        cut = sizes[0] - len(prompt) + sizes[1] - len(reference)
        return LaidOut(before, [*answer, *marker], cut, sizes[2] - len(answer))

    def prompts_of(self, prompts: Sequence[Any], columns: Mapping[str, Sequence[Any]]) -> list[Any]:
        """Return the prompts with their references.

        Raises:
            DataError: no column ``reference``, or a row without one.
        """
        if self.against == "others":
            return list(prompts)
        found = columns.get("reference")
        if found is None:
            raise DataError(f"the model scores an answer beside a reference, and there is no column reference; {WHY}")
        for number, reference in enumerate(found):
            if reference is None:
                raise DataError(f"row {number} has no reference; {WHY}")
        return [Referenced(prompt, reference) for prompt, reference in zip(prompts, found, strict=True)]


def layout_of(folder: str | Path) -> ReferenceLayout | None:
    """Return how a saved reward model compares, without loading it; None where it scores one answer alone."""
    file = Path(folder) / "reward_head.json"
    layout = read_settings(file).get("layout") if file.exists() else None
    return None if layout is None else ReferenceLayout(**layout)


def columns_of(folder: str | Path) -> tuple[str, ...]:
    """Return the columns that a saved reward model reads beside the prompt, without loading it."""
    layout = layout_of(folder)
    return () if layout is None else layout.reads


def check_served(folder: str | Path) -> None:
    """Raise ``ModelError`` for a saved model that compares, since a request has no place for what it compares with."""
    layout = layout_of(folder)
    if layout is None:
        return
    beside, how = {
        "reference": ("a reference", "rows with a column reference"),
        "others": ("the other answers of its group", "rows of several answers"),
    }[layout.against]
    raise ModelError(
        f"{folder} scores an answer beside {beside}, which a request to a server has no field for. Score a file of "
        f"{how} with `prefopt score`, or name the folder itself as a source in `rewards:` of a run"
    )


def check_answer_sets(folder: str | Path) -> None:
    """Raise ``DataError`` for a saved model that reads a reference: sets of answers with gold rewards hold none."""
    if "reference" in columns_of(folder):
        raise DataError(
            f"{folder} scores an answer beside a reference, and answers with gold rewards (--answers) have none. Leave "
            "--answers out: pairs with a column reference are evaluated, and `prefopt score` scores answers with one"
        )


BESIDE_REFERENCE = ReferenceLayout()
BESIDE_OTHERS = ReferenceLayout(against="others")
WHY = "give a good answer to the same prompt there, or map a column that holds one"
