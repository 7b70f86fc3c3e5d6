"""Sampling tokens from a random generator of one's own.

audiocraft draws with torch's global generator, which every thread of the process shares. Here its one
drawing function uses the generator that the current thread has set, so equal seeds give equal tokens
whatever else runs. Threads that set none draw as before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_current = threading.local()


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """audiocraft draws from `generator` in this thread while open."""
    _current.generator = generator
    try:
        yield
    finally:
        _current.generator = None


def install_drawing() -> None:
    """Make audiocraft draw through this module; once is enough, more does no harm."""
    from audiocraft.utils import utils

    original = utils.multinomial
    if getattr(original, "__module__", None) == __name__:
        return

    def multinomial(
        probabilities: torch.Tensor,
        num_samples: int,
        replacement: bool = False,
        *,
        generator: torch.Generator | None = None,
    ) -> Any:
        chosen = generator or getattr(_current, "generator", None)
        return original(probabilities, num_samples, replacement, generator=chosen)

    utils.multinomial = multinomial
