"""What requests and responses look like: one protocol a file."""

from __future__ import annotations
