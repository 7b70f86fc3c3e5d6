"""One take as it comes from a generator, in the chain's format from its first sample on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deployments.audio.levels import matching_gain, peak_dbfs, rms_dbfs
from deployments.audio.samples import Samples, SoundFormat
from deployments.audio.seam.continuation import Continuation, TooFewSamples
from deployments.engines.common.errors import EngineBroken

LEAD_IN_S = 0.06
"""How much of the codec's reconstruction is kept to be mixed over the parent's tail."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A whole take as the chain keeps it: float32 [channels, samples] in the chain's format. The lead-in ends
    where the new audio begins; it is empty where there was no reconstruction. `gain` is a factor."""

    lead_in: Samples
    new: Samples
    gain: float
    rms_dbfs: float
    peak_dbfs: float


class Take:
    """`begin`, then `hear` for each stretch, then `end`: what the last two return, all together, is the new
    audio as it is kept. The gain is fixed by the reconstruction, so nothing that was heard is ever taken back.

    `context` is the end of the line that the take goes on from, [channels, samples] in the format `wanted`;
    None where it goes on from nothing. `given` is the generator's format. All methods raise EngineBroken for
    what no sound can be made of.
    """

    def __init__(
        self, given: SoundFormat, wanted: SoundFormat, context: Samples | None, duration_s: float
    ) -> None:
        self._given = given
        self._wanted = wanted
        self._context = context
        self._duration_s = duration_s
        self._gain = 1.0
        self._continuation: Continuation | None = None
        self._heard: list[Samples] = []

    def begin(self, reconstruction: Samples) -> None:
        """`reconstruction`: the codec's rendering of the context's end; may be empty."""
        _require_numbers(reconstruction)
        if self._context is not None:
            rates_hz = (self._wanted.rate_hz, self._given.rate_hz)
            self._gain = matching_gain(self._context, reconstruction, rates_hz=rates_hz)
        self._continuation = Continuation(
            reconstruction,
            given=self._given,
            wanted=self._wanted,
            gain=self._gain,
            lead_in_samples=round(LEAD_IN_S * self._wanted.rate_hz),
            new_samples=round(self._duration_s * self._wanted.rate_hz),
        )

    def hear(self, samples: Samples) -> Samples:
        """The new audio that the generator's next stretch completes; perhaps none."""
        _require_numbers(samples)
        if self._continuation is None:
            raise EngineBroken("the generator gave new audio before its reconstruction")
        self._heard.append(self._continuation.push(samples))
        return self._heard[-1]

    def end(self) -> Samples:
        """The rest of the new audio."""
        if self._continuation is None or not self._heard:
            raise EngineBroken("the generator ended without audio")
        try:
            self._heard.append(self._continuation.finish())
        except TooFewSamples as error:
            raise EngineBroken(f"the generator gave {error}") from error
        return self._heard[-1]

    def sound(self) -> Sound:
        """All of it, once it has ended."""
        if self._continuation is None:
            raise EngineBroken("the generator ended without audio")
        new = np.concatenate(self._heard, axis=1)
        return Sound(self._continuation.lead_in, new, self._gain, rms_dbfs(new), peak_dbfs(new))


def _require_numbers(samples: Samples) -> None:
    if not np.isfinite(samples).all():
        raise EngineBroken("the generator gave samples that are not numbers")
