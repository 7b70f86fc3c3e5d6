"""One take as it comes from a generator, in the chain's format from its first sample on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deployments.audio.levels import matching_gain, peak_dbfs, rms_dbfs
from deployments.audio.samples import Samples, SoundFormat
from deployments.audio.seam.continuation import Continuation, TooFewSamples
from deployments.audio.seam.joiner import Joiner, Seam
from deployments.audio.seam.joining import Joint
from deployments.engines.analysis.rhythm.grid import find_grid
from deployments.engines.common.errors import EngineBroken

LEAD_IN_S = 0.06
"""How much of the codec's reconstruction is kept to be mixed over the parent's tail, unless the take says it."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A whole take as the chain keeps it: float32 [channels, samples] in the chain's format. The lead-in ends
    where the new audio begins; it is empty where there was nothing to make it of. `gain` is a factor; `joint` is
    there where the take said how it is joined."""

    lead_in: Samples
    new: Samples
    gain: float
    rms_dbfs: float
    peak_dbfs: float
    joint: Joint | None = None


class Take:
    """`begin`, then `hear` for each stretch, then `end`: what the last two return, all together, is the new
    audio as it is kept. Whatever decides about its level and place is decided before the first sample is given, so
    nothing that was heard is ever taken back.

    `seam` says how the take is joined to its parent. Without it (roots, clips, and nodes from before there was a
    choice) the new audio begins where the generator says, as loud as its reconstruction makes it.

    `context` is the end of the line that the take continues from, [channels, samples] in the format `wanted`;
    None where it continues from nothing. `given` is the generator's format. All methods raise EngineBroken for
    what no sound can be made of.
    """

    def __init__(
        self,
        given: SoundFormat,
        wanted: SoundFormat,
        context: Samples | None,
        duration_s: float,
        seam: Seam | None = None,
    ) -> None:
        self._given = given
        self._wanted = wanted
        self._context = context
        self._duration_s = duration_s
        self._seam = seam
        self._gain = 1.0
        self._continuation: Continuation | Joiner | None = None
        self._heard: list[Samples] = []

    def begin(self, reconstruction: Samples) -> None:
        """`reconstruction`: the codec's rendering of the context's end; may be empty."""
        _require_numbers(reconstruction)
        new_samples = round(self._duration_s * self._wanted.rate_hz)
        if self._seam is not None:
            self._continuation = Joiner(
                reconstruction,
                given=self._given,
                wanted=self._wanted,
                seam=self._seam,
                new_samples=new_samples,
                find_grid=find_grid,
            )
            return
        if self._context is not None:
            rates_hz = (self._wanted.rate_hz, self._given.rate_hz)
            self._gain = matching_gain(self._context, reconstruction, rates_hz=rates_hz)
        self._continuation = Continuation(
            reconstruction,
            given=self._given,
            wanted=self._wanted,
            gain=self._gain,
            lead_in_samples=round(LEAD_IN_S * self._wanted.rate_hz),
            new_samples=new_samples,
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
        gain, joint = self._gain, None
        if isinstance(self._continuation, Joiner):
            gain, joint = self._continuation.gain, self._continuation.joint()
        return Sound(self._continuation.lead_in, new, gain, rms_dbfs(new), peak_dbfs(new), joint)


def _require_numbers(samples: Samples) -> None:
    if not np.isfinite(samples).all():
        raise EngineBroken("the generator gave samples that are not numbers")
