"""The page that lies beside a trained policy: what it was trained from, by which recipe, against what."""

from __future__ import annotations

from collections.abc import Sequence

from prefopt import __version__
from prefopt.online.method import OnlineMethod


def model_card(name: str, base: str, objective: OnlineMethod, rewards: Sequence[str], steps: int) -> str:
    """Return the page as Markdown, with the front matter that model hubs read."""
    front = ["---", "library_name: transformers", *([f"base_model: {base}"] if base else []), "tags: [prefopt]", "---"]
    parts = [f"| {slot} | `{part!r}` |" for slot, part in objective.parts()]
    return "\n".join(
        [
            *front,
            "",
            f"# {name}",
            "",
            f"Aligned with prefopt {__version__}: recipe `{objective.recipe or 'composed by hand'}`, {steps} steps"
            + (f", from `{base}`." if base else "."),
            "",
            f"Rewards: {', '.join(f'`{reward}`' for reward in rewards)}.",
            "",
            "| part | setting |",
            "| --- | --- |",
            *parts,
            "",
            "```bibtex",
            objective.cite().strip(),
            "```",
            "",
        ]
    )
