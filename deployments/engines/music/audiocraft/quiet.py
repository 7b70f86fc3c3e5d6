"""Keep third-party loaders from writing to the terminal while a model is built."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' progress bars, and without the warnings that audiocraft's and Demucs' age brings.

    Not for use from two threads at once: both switches belong to the process.
    """
    from transformers.utils import logging

    had_progress_bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*weight_norm.* is deprecated", category=FutureWarning)
            yield
    finally:
        if had_progress_bar:
            logging.enable_progress_bar()
