"""Tests for a machine with an NVIDIA GPU: `make test-gpu`, or `scripts/gpu-check` on a bare one. Without CUDA none
is collected."""

from __future__ import annotations

import torch

collect_ignore_glob = [] if torch.cuda.is_available() else ["test_*.py"]
