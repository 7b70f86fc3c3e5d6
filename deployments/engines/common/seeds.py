"""The seeds that a request may name."""

from __future__ import annotations

MAX_SEED = 2**32 - 1
