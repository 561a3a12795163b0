"""How patiently a source is asked, as an entry of ``rewards:`` says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from prefopt.errors import UserError
from reward_models.errors import ModelError
from reward_models.patience import Patience

PATIENCE = ("timeout", "deadline", "retries", "rows_per_call", "row_wise", "give_up_after")
SERVER_KEYS = ("timeout", "deadline", "retries", "rows_per_call")
SERVER_DEADLINE = 120.0


def read_patience(
    entry: Mapping[str, Any], call: Callable[..., Any] | None, served: bool, where: str
) -> tuple[Patience | None, dict[str, Any]]:
    """Return the patience that an entry gives, over what the callable brings; and what a server's client takes.

    None where the entry says nothing, and for a server, whose client asks again by itself.

    Raises:
        UserError: a value out of range, or a key that does not act on a server.
    """
    given = {key: entry[key] for key in PATIENCE if key in entry}
    for key in given:
        if served and key not in SERVER_KEYS:
            raise UserError(f"{where}: {key} does not act on a server, which has {', '.join(SERVER_KEYS)}")
    own = getattr(call, "patience", None)
    start = Patience(deadline=SERVER_DEADLINE) if served else own if isinstance(own, Patience) else Patience()
    try:
        chosen = replace(start, **given)
    except ModelError as error:
        raise UserError(f"{where}: {error}") from None
    if not served:
        return (chosen if given else None), {}
    client: dict[str, Any] = {key: given[key] for key in ("timeout", "deadline") if given.get(key) is not None}
    if given.get("retries") is not None:
        client["attempts"] = int(given["retries"]) + 1
    if given.get("rows_per_call") is not None:
        client["rows_per_request"] = int(given["rows_per_call"])
    return None, client
