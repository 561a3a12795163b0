"""Run a program once, on real descriptors: what follows the request on descriptor 0 is its standard input."""

from __future__ import annotations

from reward_models.verifiable.grading.inside.candidate import load
from reward_models.verifiable.grading.inside.channel import receive, send
from reward_models.verifiable.grading.inside.codec import decode

if __name__ == "__main__":
    request = decode(receive())
    send('["ready"]')
    load(request["code"], "__main__")
