"""The web application: routes, and refusals as JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from reward_models.errors import ModelError
from reward_models.serving.door import Door
from reward_models.serving.errors import RequestError, our_fault
from reward_models.serving.service import ScoringService, describe
from reward_models.serving.shapes.classify import ClassifyRequest, answer_classify
from reward_models.serving.shapes.openrlhf import RewardRequest, answer_get_reward
from reward_models.serving.shapes.score import ScoreRequest, answer_score

SHOWN = 5
MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "is no field of this request",
    "list_type": "must be a list",
    "too_short": "must not be empty",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "model_attributes_type": "must be a JSON object, sent with Content-Type: application/json",
    "dict_type": "must be a JSON object, sent with Content-Type: application/json",
}


def create_app(service: ScoringService, head: str | None = None) -> FastAPI:
    """Return the application; it closes the service when it stops.

    Args:
        service: model and queue.
        head: the one that ``/get_reward`` answers with; by default the first.

    Raises:
        ModelError: the model has no such head.
    """
    names = service.model.names
    if head is not None and head not in names:
        raise ModelError(f"the model has no head '{head}'; it has {', '.join(names)}")
    reward_head = head or names[0]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    # The pages of /docs would load scripts from elsewhere.
    app = FastAPI(title=f"Reward model {service.name}", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.add_middleware(Door, service=service)
    _add_refusals(app)
    _add_facts(app, service)

    @app.post("/score")
    async def score(request: ScoreRequest) -> dict[str, Any]:
        return await answer_score(request, service)

    @app.post("/get_reward")
    async def get_reward(request: RewardRequest) -> dict[str, Any]:
        return await answer_get_reward(request, service, reward_head)

    @app.post("/classify")
    async def classify(request: ClassifyRequest) -> dict[str, Any]:
        return await answer_classify(request, service)

    return app


def _add_facts(app: FastAPI, service: ScoringService) -> None:
    @app.get("/health")
    async def health() -> JSONResponse:
        """Whether the process works; 503 when it should be replaced."""
        illness = service.illness
        return JSONResponse({"status": illness or "ok"}, 503 if illness else 200)

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """Whether a request would be taken in; 503 when requests should go elsewhere for a while."""
        if (refusal := service.refusal) is not None:
            return JSONResponse(refusal.as_json(), 503, refusal.headers)
        return JSONResponse({"status": "ok"})

    @app.get("/info")
    async def info() -> dict[str, Any]:
        return describe(service)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        entry = {"id": service.name, "object": "model", "max_model_len": service.formatter.max_length}
        return {"object": "list", "data": [entry]}


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refuse(request: Request, error: RequestError) -> JSONResponse:
        return _refusal(error)

    @app.exception_handler(RequestValidationError)
    async def refuse_body(request: Request, error: RequestValidationError) -> JSONResponse:
        return _refusal(_from_validation(error.errors()))

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> JSONResponse:
        return _refusal(RequestError(error.status_code, "bad_request", f"{request.url.path}: {error.detail}"))

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> JSONResponse:
        return _refusal(our_fault())


def _refusal(error: RequestError) -> JSONResponse:
    return JSONResponse(error.as_json(), error.status, error.headers)


def _from_validation(errors: Sequence[Any]) -> RequestError:
    first, *others = errors
    if first["type"] == "json_invalid":
        return RequestError(400, "bad_request", f"the body is no valid JSON: {first['ctx']['error']}")
    more = "".join(f"; {_field(error)}: {_complaint(error)}" for error in others[:SHOWN])
    return RequestError(400, "bad_request", _complaint(first) + more, _field(first))


def _field(error: Any) -> str:
    return ".".join(str(part) for part in error["loc"][1:]) or "body"


def _complaint(error: Any) -> str:
    return str(MESSAGES.get(error["type"], error["msg"]))
