"""``prefopt serve``: a reward model over HTTP."""

from __future__ import annotations

import os
from dataclasses import dataclass, field


@dataclass
class Arguments:
    """What to serve, and where."""

    model: str = field(metadata={"help": "reward-model folder or hub name"})
    host: str = field(
        default="127.0.0.1", metadata={"help": "address to listen on; there is no login, so open it to friends only"}
    )
    port: int = field(default=8000, metadata={"help": "port to listen on; 0 takes a free one"})
    model_name: str | None = field(default=None, metadata={"help": "name for clients; unset: as in --model"})
    head: str | None = field(default=None, metadata={"help": "head that /get_reward answers with; unset: the first"})
    device: str | None = field(
        default=None, metadata={"help": "cuda, mps, cpu; unset: the accelerator where there is one"}
    )


def run(argv: list[str]) -> int:
    """Take the address, load the model, and answer until told to stop."""
    from prefopt.cli.arguments import parse
    from reward_models.serving.settings import ServingSettings

    arguments, settings = parse(argv, "serve", Arguments, ServingSettings)
    _require_web_libraries()
    from reward_models import RewardModel
    from reward_models.backbones import locate
    from reward_models.devices import pick_device
    from reward_models.reference import check_served
    from reward_models.serving import ScoringService, bind, create_app, serve
    from reward_models.serving.server import address_of

    taken = bind(arguments.host, arguments.port)
    check_served(locate(arguments.model))
    model = RewardModel.from_pretrained(arguments.model).to(pick_device(arguments.device))
    model.use_attention(settings.attention, settings.max_length)
    service = ScoringService(model, arguments.model_name or arguments.model, settings)
    app = create_app(service, arguments.head)
    facts = f"heads: {', '.join(model.names)}; at most {service.formatter.max_length or 'any number of'} tokens a text"

    def announce() -> None:
        print(f"Serving {service.name} on {address_of(taken)} ({facts})", flush=True)

    serve(app, taken, settings.request_timeout, announce)
    if service.busy:
        print("Stopped; work that does not end was given up.", flush=True)
        # Its thread runs no Python, so that nothing else ends it.
        os._exit(0)
    print("Stopped.", flush=True)
    return 0


def _require_web_libraries() -> None:
    from importlib.util import find_spec

    from prefopt.errors import UserError

    absent = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if absent:
        raise UserError(f"prefopt serve needs {' and '.join(absent)}: pip install 'prefopt[serve]'")
