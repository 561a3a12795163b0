"""One palette for the page and its figures: colour-blind safe (after Okabe and Ito), for light and for dark.

A figure is drawn with the light colours; ``themed`` then swaps each for its CSS variable, so that one drawing
serves both.
"""

from __future__ import annotations

from collections.abc import Sequence

LIGHT = {
    "ink": "#1b2430",
    "muted": "#5a6675",
    "faint": "#94a0ae",
    "grid": "#e4e8ee",
    "card": "#fefefe",
    "grey": "#77808c",
    "blue": "#0a6cb5",
    "vermilion": "#cf5a11",
    "green": "#07876a",
    "purple": "#a9588d",
    "amber": "#b98107",
    "sky": "#3b94c9",
}
DARK = {
    "ink": "#e8ecf1",
    "muted": "#a3afbd",
    "faint": "#7c8998",
    "grid": "#303945",
    "card": "#1a212a",
    "grey": "#a0a9b4",
    "blue": "#56aeea",
    "vermilion": "#f08a4b",
    "green": "#3cc2a0",
    "purple": "#db93c2",
    "amber": "#e6b44c",
    "sky": "#86c9f0",
}
POLICIES = ("blue", "vermilion", "green", "purple", "amber", "sky")
REWARDS = ("green", "purple", "amber", "sky", "blue", "vermilion")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def policy_colours(names: Sequence[str], base: str) -> dict[str, str]:
    """Give each policy a colour by name; the base is grey, so that colour means change."""
    others = [name for name in names if name != base]
    return {base: "grey"} | {name: POLICIES[row % len(POLICIES)] for row, name in enumerate(others)}


def policy_markers(names: Sequence[str]) -> dict[str, str]:
    """Give each policy a shape, so that no figure depends on colour alone."""
    return {name: MARKERS[row % len(MARKERS)] for row, name in enumerate(names)}


def reward_colours(names: Sequence[str]) -> dict[str, str]:
    """Give each reward a colour, by its place in the list of rewards."""
    return {name: REWARDS[row % len(REWARDS)] for row, name in enumerate(names)}


def themed(svg: str) -> str:
    """Replace each light colour of a drawing by the CSS variable of the same name."""
    for name, colour in LIGHT.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
