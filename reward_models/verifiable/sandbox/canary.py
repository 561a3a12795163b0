"""Run the canary: a program that really tries to break out, before any other is trusted to the sandbox."""

from __future__ import annotations

import json
import os
import socket
import tempfile

from reward_models.verifiable.sandbox.box import Box, inside
from reward_models.verifiable.sandbox.errors import SandboxFailure
from reward_models.verifiable.sandbox.limits import Limits


def run_canary(box: Box, tier: str) -> None:
    """Return if everything that the canary tried was denied.

    Raises:
        SandboxFailure: something was possible, or the canary could not run.
    """
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        # Anyone may read and write here, so that only the sandbox can be what stops it.
        os.chmod(folder, 0o777)
        secret = os.path.join(folder, "secret")
        with open(secret, "w", encoding="utf-8") as file:
            file.write("secret")
        os.chmod(secret, 0o666)
        target = os.path.join(folder, "target")
        bait = {"secret": secret, "target": target, "port": listener.getsockname()[1], "parent": os.getpid()}
        process = box.start(inside("canary"), Limits(wall_seconds=20), tier, lambda sound: None)
        process.write(json.dumps(bait).encode())
        process.close_input()
        usage = process.wait()
        if usage.infrastructure_error or usage.returncode != 0:
            complaint = usage.infrastructure_error or usage.stderr.decode(errors="replace").strip()
            raise SandboxFailure(f"the canary did not run (status {usage.returncode}): {complaint}")
        possible = json.loads(process.take_answers())
        if possible or os.path.exists(target):
            raise SandboxFailure(f"the canary could {', '.join(possible)}; programs are not contained here")
