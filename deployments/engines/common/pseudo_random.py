"""Tensor values made from names, the same bits on every machine.

Each tensor is filled from SHAKE-256 of its name, so its values do not depend on the order of creation, on a
random generator's version, on the number of threads or on the processor. Scales are powers of two or
correctly rounded square roots, and every product is one IEEE operation.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import torch


def uniform(name: str, shape: torch.Size, bound: float) -> torch.Tensor:
    """float32 values in [-bound, bound) on a grid of 2^16 steps."""
    count = math.prod(shape)
    digest = hashlib.shake_256(name.encode()).digest(2 * count)
    grid = np.frombuffer(digest, dtype="<u2").astype(np.float32) / np.float32(32768) - np.float32(1)
    return torch.from_numpy(grid * np.float32(bound)).reshape(shape)


def signs(name: str, shape: torch.Size, size: float) -> torch.Tensor:
    """float32 values that are each -size or +size: rows of equal norm."""
    return torch.where(uniform(name, shape, 1.0) < 0, -size, size)


def network_state(prefix: str, template: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Values for the state of the network `prefix`: linear layers keep the variance, norms are plain."""
    return {name: _network_tensor(f"{prefix}.{name}", tensor) for name, tensor in template.items()}


def _network_tensor(name: str, tensor: torch.Tensor) -> torch.Tensor:
    shape = tensor.shape
    if name.endswith("bias"):
        return torch.zeros(shape)
    if tensor.dim() < 2:
        return torch.ones(shape)
    if ".emb." in name or "shared" in name or "embed" in name:
        return uniform(name, shape, 1.0)
    bound = math.sqrt(3.0 / math.prod(shape[1:]))
    return uniform(name, shape, bound)
