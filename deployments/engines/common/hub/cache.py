"""The hub's cache on this machine, and loading from it alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

_NO_CONVERSION = "DISABLE_SAFETENSORS_CONVERSION"
_lock = threading.RLock()


def cache_folder() -> Path:
    """`HF_HUB_CACHE`, or `hub` in `HF_HOME`: where every library of the hub looks."""
    return Path(constants.HF_HUB_CACHE)


def cached(repository: str, file: str) -> Path | None:
    """A file's path if the cache has it whole; asks no network."""
    path = try_to_load_from_cache(repository, file, cache_dir=cache_folder())
    return Path(path) if isinstance(path, str) else None


@contextmanager
def offline() -> Iterator[None]:
    """While open, the libraries of this process load from the cache without a look at the network, and
    transformers converts no weights (it would download them twice). Both switches belong to the process."""
    with _lock:
        was_offline, conversion = constants.HF_HUB_OFFLINE, os.environ.get(_NO_CONVERSION)
        constants.HF_HUB_OFFLINE = True
        os.environ[_NO_CONVERSION] = "1"
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = was_offline
            if conversion is None:
                del os.environ[_NO_CONVERSION]
            else:
                os.environ[_NO_CONVERSION] = conversion
