"""What a client may choose for an export, as `GET /v1/config` lists it."""

from __future__ import annotations

from typing import Any

from deployments.export.formats import EXPORT_RATES_HZ, FORMATS
from deployments.export.mastering import (
    CEILINGS_DBTP,
    LOSSLESS_CEILING_DBTP,
    LOSSY_CEILING_DBTP,
    LOUDNESS_TARGETS_LUFS,
)
from deployments.export.picture import MAX_PICTURE_BYTES, PICTURE_FORMATS
from deployments.export.plan import MAX_EXPORT_FPS, STEM_GAINS_DB
from deployments.export.shaping import MAX_TAIL_S
from deployments.export.waveform_frames import DEFAULT_FPS, PRESETS, View


def export_choices() -> dict[str, Any]:
    """`formats` are names; `format_options` says what each takes."""
    return {
        "formats": list(FORMATS),
        "format_options": [form.describe() for form in FORMATS.values()],
        "sample_rates_hz": list(EXPORT_RATES_HZ),
        "loudness_lufs": list(LOUDNESS_TARGETS_LUFS),
        "true_peak_dbtp": list(CEILINGS_DBTP),
        "default_true_peak_dbtp": {"lossless": LOSSLESS_CEILING_DBTP, "lossy": LOSSY_CEILING_DBTP},
        "max_tail_s": MAX_TAIL_S,
        "stem_gains_db": list(STEM_GAINS_DB),
        "cover": {"max_bytes": MAX_PICTURE_BYTES, "formats": [name.lower() for name in PICTURE_FORMATS]},
        "video": {
            "pictures": [view.value for view in View],
            "sizes": list(PRESETS),
            "default_fps": DEFAULT_FPS,
            "max_fps": MAX_EXPORT_FPS,
        },
    }
