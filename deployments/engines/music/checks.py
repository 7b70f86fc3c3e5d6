"""What a request must be before any engine works on it."""

from __future__ import annotations

import math

import numpy as np

from deployments.engines.common.errors import BadRequest
from deployments.engines.common.seeds import MAX_SEED
from deployments.engines.music.protocol import EngineInfo, GenerationMode, GenerationRequest

MAX_CFG_COEF = 30.0
MAX_TEMPERATURE = 10.0


def check_request(request: GenerationRequest, info: EngineInfo) -> None:
    """Raises BadRequest, naming the field, where the request is outside what an engine with this info can do.

    A context longer than `max_context_s` is fine: engines use its end.
    """
    if request.mode not in info.modes:
        raise BadRequest(f"{info.model} has no mode {request.mode}, only {', '.join(info.modes)}")
    sampling = request.sampling
    _check_range("duration_s", request.duration_s, 0.0, info.max_duration_s, open_below=True)
    _check_range("cfg_coef", sampling.cfg_coef, 0.0, MAX_CFG_COEF)
    _check_range("temperature", sampling.temperature, 0.0, MAX_TEMPERATURE)
    _check_range("top_p", sampling.top_p, 0.0, 1.0)
    if sampling.top_k < 0:
        raise BadRequest(f"top_k must be 0 or more, not {sampling.top_k}")
    if not 0 <= sampling.seed <= MAX_SEED:
        raise BadRequest(f"seed must be within 0..{MAX_SEED}, not {sampling.seed}")
    _check_context(request, info)


def new_samples(request: GenerationRequest, info: EngineInfo) -> int:
    """How many new samples per channel the request asks for."""
    return math.ceil(request.duration_s * info.sample_rate_hz)


def _check_range(name: str, value: float, low: float, high: float, *, open_below: bool = False) -> None:
    # Written so that NaN fails.
    if not (low < value if open_below else low <= value) or not value <= high:
        bound = f"above {low:g} and up to {high:g}" if open_below else f"within {low:g}..{high:g}"
        raise BadRequest(f"{name} must be {bound}, not {value}")


def _check_context(request: GenerationRequest, info: EngineInfo) -> None:
    context = request.context
    if context is None:
        if request.mode is GenerationMode.MELODY:
            raise BadRequest("melody mode needs a context")
        return
    if context.ndim != 2 or context.shape[0] != info.channels:
        raise BadRequest(f"context must be [{info.channels}, samples], not {list(context.shape)}")
    if not np.isfinite(context).all():
        raise BadRequest("context holds values that are not finite")
