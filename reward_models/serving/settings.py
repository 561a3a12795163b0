"""What bounds the server: batches, the queue, waiting, and the length of a text."""

from __future__ import annotations

from dataclasses import dataclass, field

from reward_models.attention_choice import ATTENTION_HELP, check_attention


@dataclass(frozen=True)
class ServingSettings:
    """Limits of one server. All times are wall-clock."""

    max_batch_tokens: int = field(default=16384, metadata={"help": "tokens in one forward pass, padding counted"})
    max_wait_ms: float = field(
        default=5.0, metadata={"help": "how long the first text of a batch waits for others, in milliseconds"}
    )
    queue_size: int = field(
        default=4096, metadata={"help": "texts taken in and not answered yet; beyond it requests get status 429"}
    )
    request_timeout: float = field(
        default=60.0,
        metadata={"help": "seconds after which a request gets status 503, and the server ends once it is told to"},
    )
    body_timeout: float = field(default=30.0, metadata={"help": "seconds to send a request's body; then status 408"})
    max_length: int | None = field(
        default=None, metadata={"help": "longest prompt + completion in tokens; unset: as in training"}
    )
    truncate: bool = field(
        default=True, metadata={"help": "cut longer texts as in training; off: refuse them with status 400"}
    )
    attention: str = field(default="auto", metadata={"help": ATTENTION_HELP})
    max_body_mb: int = field(default=64, metadata={"help": "largest request body in MiB; beyond it status 413"})
    max_bodies_mb: int = field(
        default=512, metadata={"help": "MiB of bodies of all requests under way; beyond it requests get status 429"}
    )

    def __post_init__(self) -> None:
        check_attention(self.attention)
        for name in (
            "max_batch_tokens",
            "queue_size",
            "request_timeout",
            "body_timeout",
            "max_body_mb",
            "max_bodies_mb",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.max_bodies_mb < self.max_body_mb:
            raise ValueError(f"max_bodies_mb={self.max_bodies_mb} is less than max_body_mb={self.max_body_mb}")
        if self.max_wait_ms < 0:
            raise ValueError(f"max_wait_ms must not be negative, got {self.max_wait_ms}")
        if self.max_length is not None and self.max_length <= 0:
            raise ValueError(f"max_length must be positive, got {self.max_length}")
