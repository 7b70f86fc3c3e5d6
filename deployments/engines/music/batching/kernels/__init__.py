"""The decoder's step as machine code for the processor at hand, made by numba.

Read in this order: `vectors` (sums whose order is fixed, in LLVM's instructions), `arithmetic` (each kernel beside
its twin in plain numpy), `step` (one position further for all takes, by any number of threads), `drawing` (the
tokens), `packing` (the weights' layout), `running` (what Python calls), `compiling` (where code is kept).

Only `is_available` may be imported where numba may be missing.
"""

from __future__ import annotations

import platform
from importlib.util import find_spec

PROCESSORS = ("x86_64", "AMD64", "aarch64", "arm64")


def is_available() -> bool:
    """Whether this machine can run the kernels; where it cannot, torch's own operators do the same work."""
    return platform.machine() in PROCESSORS and find_spec("numba") is not None
