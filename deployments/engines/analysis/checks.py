"""What a request must be before anything works on it."""

from __future__ import annotations

import numpy as np

from deployments.engines.analysis.protocol import AnalysisRequest
from deployments.engines.common.errors import BadRequest

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000


def check_request(request: AnalysisRequest) -> None:
    """Raises BadRequest, naming the field."""
    samples = request.samples
    if samples.ndim != 2 or samples.shape[0] not in (1, 2):
        raise BadRequest(f"samples must be [1 or 2, samples], not {list(samples.shape)}")
    if samples.dtype != np.float32:
        raise BadRequest(f"samples must be float32, not {samples.dtype}")
    if not samples.shape[1]:
        raise BadRequest("samples must not be empty")
    if not MIN_RATE_HZ <= request.rate_hz <= MAX_RATE_HZ:
        raise BadRequest(f"rate_hz must be within {MIN_RATE_HZ}..{MAX_RATE_HZ}, not {request.rate_hz}")
    if not np.isfinite(samples).all():
        raise BadRequest("samples holds values that are not finite")
