"""The memory of this process, as Linux counts it."""

from __future__ import annotations

from pathlib import Path


def resident_mb() -> float:
    """What it has in memory now, in megabytes."""
    return _megabytes("VmRSS")


def most_resident_mb() -> float:
    """The most that it ever had, in megabytes."""
    return _megabytes("VmHWM")


def _megabytes(figure: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{figure}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"this process has no {figure}")
