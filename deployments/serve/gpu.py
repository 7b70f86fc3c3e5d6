"""What a replica was given of a GPU."""

from __future__ import annotations

import ray


def gpu_share() -> float | None:
    """The fraction of one GPU that this replica was given; None without a GPU."""
    share = float(ray.get_runtime_context().get_assigned_resources().get("GPU", 0.0))
    return share or None
