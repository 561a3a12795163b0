"""Program and tests in one process, for tests that no stand-in can serve. The program can forge every verdict here."""

from __future__ import annotations

from posix import _exit

from reward_models.verifiable.grading.inside.candidate import load, raised
from reward_models.verifiable.grading.inside.channel import receive, send
from reward_models.verifiable.grading.inside.codec import decode
from reward_models.verifiable.grading.inside.verdicts import prepare, status_of, test, verdict


def main() -> None:
    """Read the request, run the program, run each case in a copy of its globals."""
    request = decode(receive())
    send('["ready"]')
    try:
        names = load(request["code"], "candidate")
    except BaseException as error:
        send(f'["load",{raised(error)}]')
        return
    send('["load","done"]')
    for token, source, entry_point in request["cases"]:
        status, reason = "ok", ""
        try:
            test(source, prepare(request["setup"]) | names, entry_point)
        except BaseException as error:
            status, reason = status_of(error, False)
        send(verdict(token, status, reason))
    _exit(0)


if __name__ == "__main__":
    main()
