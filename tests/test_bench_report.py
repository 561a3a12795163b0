"""The page of all benchmark results."""

from __future__ import annotations

import json
import re

from scripts.bench import report


def test_page_states_what_was_measured(tmp_path, monkeypatch):
    """Ratios 2.4, 2.5, 2.6 of one row; four plots of growth; nothing is fetched and texts are escaped."""
    row = {
        "row": "r",
        "work": "scoring <fast>",
        "peer": "someone 1.0",
        "reach": 2.0,
        "limit": 4.0,
        "limit_reason": "tokens",
        "closeness": [{"threads": 1, "share_of_limit": 0.625}],
        "measured": [
            {
                "threads": 1,
                "ratio": {"median": 2.5, "min": 2.4, "max": 2.6},
                "ours_s": [1.0, 1.2, 1.1],
                "peer_s": [2.5, 2.9, 2.75],
            }
        ],
        "peak_mib": {"ours": 10.0, "peer": 20.4},
        "command": "python -m scripts.bench r",
    }
    steps = [{"prompt_tokens": 64 * 2**i, "answers": 2 * 2**i, "trees_s": 0.1, "rows_s": 0.1 + i} for i in range(3)]
    growth = {
        "row": "growth",
        "scoring": [{"rows": 10**i, "seconds": 10**i / 1e3, "peak_mib": 500.0} for i in (3, 4, 5)],
        "training_by_prompt": steps,
        "training_by_group": steps,
        "device": "cpu",
        "threads": 1,
        "command": "python -m scripts.bench.growth",
    }
    other = {"row": "accuracy", "accuracy": 0.75, "command": "python -m elsewhere"}
    for result in (row, growth, other):
        (tmp_path / f"{result['row']}.json").write_text(json.dumps(result))
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    page = report.page()
    for text in (
        "scoring &lt;fast&gt;",
        "2.50 (2.40 to 2.60)",
        "1.10, 2.75",
        "4.00, 62% reached: tokens",
        "10, 20",
        "accuracy 0.75",
        "prefix trees",
    ):
        assert text in page
    assert page.count("<figure>") == 4
    assert not re.search(r'(?:src|href)="(?!#)|url\((?!#)', page)
