"""What a segment and a separation's options must be before anything works on them."""

from __future__ import annotations

import numpy as np

from deployments.engines.common.errors import BadRequest
from deployments.engines.common.seeds import MAX_SEED
from deployments.engines.separation.options import MAX_SHIFTS, MIN_SEGMENT_S, SeparationOptions
from deployments.engines.separation.passes import padded_samples
from deployments.engines.separation.protocol import Part, SegmentRequest, SeparatorInfo


def check_segment(request: SegmentRequest, info: SeparatorInfo) -> None:
    """Raises BadRequest, naming the field, where a separator with this info cannot work on the segment."""
    if not 0 <= request.part < len(info.parts):
        raise BadRequest(f"part must be within 0..{len(info.parts) - 1}, not {request.part}")
    _check_names("sources", request.sources, info)
    samples = request.samples
    if samples.ndim != 2 or samples.shape[0] != info.channels:
        raise BadRequest(f"samples must be [{info.channels}, samples], not {list(samples.shape)}")
    if samples.dtype != np.float32:
        raise BadRequest(f"samples must be float32, not {samples.dtype}")
    longest = most_samples(info.parts[request.part])
    if not 1 <= samples.shape[1] <= longest:
        raise BadRequest(f"samples must be 1..{longest} long for this part, not {samples.shape[1]}")
    if not np.isfinite(samples).all():
        raise BadRequest("samples holds values that are not finite")


def most_samples(part: Part) -> int:
    """The longest padded segment that a part takes."""
    return padded_samples(part, part.longest_samples, None)


def check_options(options: SeparationOptions, info: SeparatorInfo) -> None:
    """Raises BadRequest, naming the field, where a model with this info cannot follow the options."""
    if options.stems is not None and options.two_stems is not None:
        raise BadRequest("two_stems and stems exclude each other")
    if options.stems is not None:
        _check_names("stems", options.stems, info)
    if options.two_stems is not None:
        _check_names("two_stems", (options.two_stems,), info)
    # Comparisons are written so that NaN fails.
    if not 0.0 <= options.overlap < 1.0:
        raise BadRequest(f"overlap must be at least 0 and below 1, not {options.overlap}")
    if not 0 <= options.shifts <= MAX_SHIFTS:
        raise BadRequest(f"shifts must be within 0..{MAX_SHIFTS}, not {options.shifts}")
    if not 0 <= options.seed <= MAX_SEED:
        raise BadRequest(f"seed must be within 0..{MAX_SEED}, not {options.seed}")
    longest_s = min(part.longest_samples for part in info.parts) / info.sample_rate_hz
    if options.segment_s is not None and not min(MIN_SEGMENT_S, longest_s) <= options.segment_s <= longest_s:
        least_s = min(MIN_SEGMENT_S, longest_s)
        raise BadRequest(
            f"segment_s must be within {least_s:g}..{longest_s:g} for {info.model}, not {options.segment_s}"
        )


def _check_names(field: str, names: tuple[str, ...], info: SeparatorInfo) -> None:
    if not names:
        raise BadRequest(f"{field} must name at least one of {', '.join(info.sources)}")
    for name in names:
        if name not in info.sources:
            raise BadRequest(f"{field} must be among {', '.join(info.sources)}, not {name!r}")
    if len(set(names)) < len(names):
        raise BadRequest(f"{field} names {names} has one of them twice")
