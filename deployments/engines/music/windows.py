"""How many frames a generation has, and how the model walks through them, as audiocraft does. Pure arithmetic.

A frame is one step of the codec (20 ms). The language model sees `window` frames at once; what is longer
is made in several passes, each starting `stride` frames later than the one before
(`MusicGen._generate_tokens`).
"""

from __future__ import annotations

from dataclasses import dataclass

# The codec's convolutions look ahead: exact output needs 4 frames after it (80 ms).
LOOK_AHEAD_FRAMES = 4
# What the decoder hears before the first sample that is kept: 20 frames leave an error of 5e-7.
DECODER_WARM_UP_FRAMES = 25


@dataclass(frozen=True, slots=True)
class Window:
    """One pass of the model: `length` frames from frame `start` on, of which the first `prompt` are known."""

    start: int
    prompt: int
    length: int


@dataclass(frozen=True, slots=True)
class GenerationPlan:
    """All lengths in frames. `prompt + new` frames are kept; `margin` more are generated, so that neither the
    codec's edge nor the end of the delay pattern touches them, unless that would cost a pass of its own."""

    prompt: int
    new: int
    window: int
    stride: int
    pattern_delay: int
    look_ahead: int = LOOK_AHEAD_FRAMES

    @property
    def kept(self) -> int:
        return self.prompt + self.new

    @property
    def margin(self) -> int:
        """What the decoder looks ahead, plus the frames whose later codebooks are drawn after the end."""
        return self.look_ahead + self.pattern_delay

    @property
    def generated(self) -> int:
        """What audiocraft is asked for, the prompt included."""
        return min(self.kept + self.margin, self.window + self.stride * (self._passes(self.kept) - 1))

    @property
    def windows(self) -> tuple[Window, ...]:
        """The passes in order; each but the first is prompted with the end of the one before."""
        windows, prompt, start = [], self.prompt, 0
        while start + prompt < self.generated:
            length = min(self.generated - start, self.window)
            windows.append(Window(start, prompt, length))
            prompt = length - self.stride
            start += self.stride
        return tuple(windows)

    @property
    def steps(self) -> int:
        """How often audiocraft's step callback will be called."""
        return sum(window.length - window.prompt + self.pattern_delay for window in self.windows)

    def duration_s(self, frame_rate_hz: float, window_s: float) -> float:
        """The value for `set_generation_params(duration=...)`, which audiocraft turns back into frames by
        flooring: half a frame more keeps rounding errors from taking one away. Above `window_s` only if it
        must be, because that is what selects several passes."""
        duration_s = (self.generated + 0.5) / frame_rate_hz
        return min(duration_s, window_s) if self.generated <= self.window else duration_s

    def _passes(self, frames: int) -> int:
        return 1 + max(0, -(-(frames - self.window) // self.stride))
