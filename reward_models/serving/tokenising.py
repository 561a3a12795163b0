"""From texts to token ids, in threads of their own."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from jinja2 import TemplateError

from reward_models.errors import DataError
from reward_models.formatting import Encoded, Formatter, Text
from reward_models.serving.errors import bad_field

# Characters in a request; a tokeniser takes a fraction of a second for them, and minutes for some MiB.
LARGE = 32_768


@dataclass(frozen=True)
class Wanted:
    """A text to score; ``field`` names it in errors.

    It is a prompt and a completion; or a ``completion`` that is ``whole``, prompt included, and loses tokens on its
    left where it is too long, as a prompt does; or token ids that are taken as they are.
    """

    field: str
    prompt: Text = ""
    completion: Text = ""
    whole: bool = False
    ids: Sequence[int] | None = None


class Tokeniser:
    """Tokenises requests in two threads, large ones in the second, so that they hold up nobody but each other."""

    def __init__(self, formatter: Formatter, vocabulary: int) -> None:
        # A tokeniser is not made for two threads at once.
        other = replace(formatter, tokenizer=copy.deepcopy(formatter.tokenizer))
        self._lanes = [
            (TextEncoder(one, vocabulary), ThreadPoolExecutor(1, thread_name_prefix="tokeniser"))
            for one in (formatter, other)
        ]
        self._working = [False, False]

    @property
    def busy(self) -> bool:
        """Whether one of the threads works."""
        return any(self._working)

    async def __call__(self, texts: Sequence[Wanted], truncate: bool) -> tuple[list[Encoded], list[int]]:
        """Return the rows, and the numbers of those that were cut.

        Raises:
            RequestError: a text that cannot be tokenised, or is too long.
        """
        lane = int(sum(map(_size, texts)) > LARGE)
        thread = self._lanes[lane][1]
        return await asyncio.get_running_loop().run_in_executor(thread, self._encode, lane, texts, truncate)

    def close(self) -> None:
        """Take nothing more."""
        for _, thread in self._lanes:
            thread.shutdown(wait=False, cancel_futures=True)

    def _encode(self, lane: int, texts: Sequence[Wanted], truncate: bool) -> tuple[list[Encoded], list[int]]:
        self._working[lane] = True
        try:
            return self._lanes[lane][0](texts, truncate)
        finally:
            self._working[lane] = False


class TextEncoder:
    """Turns texts into rows; what cannot be turned is named by its field."""

    def __init__(self, formatter: Formatter, vocabulary: int) -> None:
        self.formatter = formatter
        self.vocabulary = vocabulary
        self._unlimited = replace(formatter, max_length=None)

    def __call__(self, texts: Sequence[Wanted], truncate: bool) -> tuple[list[Encoded], list[int]]:
        """Return the rows, and the numbers of those that were cut."""
        rows: list[Encoded] = []
        truncated: list[int] = []
        limit = self.formatter.max_length
        for number, text in enumerate(texts):
            row, lost = self._row(text)
            if lost and not truncate:
                size = len(row.input_ids) + lost
                raise bad_field(text.field, f"{size} tokens, but at most {limit} are scored; shorten it")
            if not row.input_ids:
                raise bad_field(text.field, "no tokens; the model needs at least one")
            if lost:
                truncated.append(number)
            rows.append(row)
        return rows, truncated

    def _row(self, text: Wanted) -> tuple[Encoded, int]:
        if text.ids is not None:
            return Encoded(list(self._checked_ids(text.field, text.ids)), 0), 0
        try:
            formatter = self._unlimited if text.whole else self.formatter
            encoded = formatter.encode(text.prompt, text.completion)
        except (DataError, TemplateError) as error:
            raise bad_field(text.field, str(error)) from error
        except Exception as error:
            # A chat template is a program: it may fail in any way on messages that it was not written for.
            raise bad_field(text.field, f"cannot be tokenised ({type(error).__name__}: {error})") from error
        if text.whole and self.formatter.max_length is not None:
            return _cut_on_the_left(encoded, self.formatter.max_length)
        return encoded, encoded.prompt_cut + encoded.response_cut

    def _checked_ids(self, field: str, ids: Sequence[int]) -> Sequence[int]:
        limit = self.formatter.max_length
        if limit is not None and len(ids) > limit:
            raise bad_field(field, f"{len(ids)} tokens, but at most {limit} are scored; token ids are never cut")
        for index, token in enumerate(ids):
            if not 0 <= token < self.vocabulary:
                raise bad_field(f"{field}[{index}]", f"token {token} is not in the vocabulary of {self.vocabulary}")
        return ids


def _cut_on_the_left(encoded: Encoded, limit: int) -> tuple[Encoded, int]:
    lost = max(0, len(encoded.input_ids) - limit)
    start = encoded.response_start
    return Encoded(encoded.input_ids[:start] + encoded.input_ids[start + lost :], start), lost


def _size(text: Wanted) -> int:
    return sum(
        len(part) if isinstance(part, str) else sum(len(str(message.get("content"))) for message in part)
        for part in (text.prompt, text.completion)
    )
