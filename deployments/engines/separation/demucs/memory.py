"""Keeping freed memory in the process.

A network's forward pass asks for buffers of tens of megabytes and gives them back, hundreds of times. glibc
returns such buffers to the system, which then hands out every page anew: on a CPU that is a fifth of a
segment's time.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST_BUFFER_BYTES = 2**30
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """From now on this process keeps what it frees for its next buffers, so that it stays as large as it was at
    its largest. Whether that could be had: only glibc offers it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    # One arena: others cannot hold buffers of this size, and would ask the system for each.
    settings = (
        (_M_ARENA_MAX, 1),
        (_M_MMAP_THRESHOLD, _LARGEST_BUFFER_BYTES),
        (_M_TRIM_THRESHOLD, _NEVER),
    )
    taken = [mallopt(name, value) == 1 for name, value in settings]
    return all(taken)
