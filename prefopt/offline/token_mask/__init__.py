"""Which tokens of a response count, and by how much."""

from prefopt.offline.token_mask.shared_length import SharedLength

__all__ = ["SharedLength"]
