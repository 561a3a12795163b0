"""The program in a completion: the last Python block, else the last block without a language, else everything."""

from __future__ import annotations

import time

import pytest

from reward_models.verifiable.code_blocks import Block, fenced_blocks, program_of


@pytest.mark.parametrize(
    ("completion", "program", "fenced"),
    [
        ("x = 1\n", "x = 1\n", False),
        ("", "", False),
        ("Draft:\n```python\nx = 1\n```\nBetter:\n```python\nx = 2\n```\nDone.", "x = 2\n", True),
        ("```py\nx = 1\n```\nIt prints:\n```\n1\n```", "x = 1\n", True),
        ("```Python3\nx = 1\n```", "x = 1\n", True),
        ("```bash\nls\n```\nand\n```\nx = 1\n```", "x = 1\n", True),
        ("```bash\nls\n```", "```bash\nls\n```", False),
        ("```python title=a.py\nx = 1\n```", "x = 1\n", True),
        ("~~~python\nx = 1\n~~~", "x = 1\n", True),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n", True),
        ("```python\nx = 1\n", "x = 1\n", True),
        ("1. So:\n   ```python\n   if a:\n       b\n   ```", "if a:\n    b\n", True),
        ("Use ```python x = 1``` here", "Use ```python x = 1``` here", False),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1\r\n", True),
        ("```python\nx = 1\n```\n```python\n```", "\n", True),
    ],
)
def test_program_of(completion: str, program: str, fenced: bool) -> None:
    """One place, whatever else a completion shows: drafts before, output after, other languages between."""
    assert program_of(completion) == (program, fenced)


def test_a_fence_inside_a_block_is_text() -> None:
    """A block ends at a bare fence of its own sign; one with a language, or of the other sign, is part of it."""
    text = "~~~\n```python\nx\n```\n~~~\n```\n```python\ny\n```"
    assert fenced_blocks(text) == [Block("", "```python\nx\n```\n"), Block("", "```python\ny\n")]


@pytest.mark.parametrize("line", ["~" * 200_000 + "`", "~~~" + " " * 200_000 + "`", "```" + " \t" * 100_000 + "`"])
def test_a_line_that_is_almost_a_fence_costs_no_time(line: str) -> None:
    """200,000 signs or blanks, and then one that no fence has: read once, where trying each split takes minutes."""
    start = time.monotonic()
    assert program_of(line) == (line, False)
    assert time.monotonic() - start < 2.0
