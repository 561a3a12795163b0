"""Answer calls: the program of the black-box grader for functions.

It gets ``{"code": ..., "calls": [(token, function, args, kwargs), ...]}``, and writes a line ``[token, kind, ...]`` for
loading (token "load") and for each call, in order. What a call should return it is never told.
"""

from __future__ import annotations

import sys
from posix import _exit

from reward_models.verifiable.grading.inside.candidate import find, load, raised
from reward_models.verifiable.grading.inside.channel import receive, send
from reward_models.verifiable.grading.inside.codec import decode, encode


def main() -> None:
    """Read the request, run the program, answer."""
    request = decode(receive())
    send('["ready"]')
    try:
        names = load(request["code"], "candidate")
    except BaseException as error:
        send(f'["load",{raised(error)}]')
        return
    send('["load","done"]')
    for token, function, arguments, keywords in request["calls"]:
        try:
            line = f'"value",{encode(find(names, function)(*arguments, **keywords))}'
        except BaseException as error:
            line = raised(error)
        send(f'["{token}",{line}]')
    try:
        sys.stdout.flush()
    finally:
        send('["end"]')
        _exit(0)


if __name__ == "__main__":
    main()
