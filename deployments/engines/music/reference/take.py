"""From a request to audio, in one blocking call: condition, generate tokens, decode, cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from deployments.audio.samples import Samples
from deployments.engines.common.errors import EngineBroken, ModelUnavailable
from deployments.engines.music.audiocraft.checkpoint import Checkpoint
from deployments.engines.music.audiocraft.precision import autocast
from deployments.engines.music.context import audible_context
from deployments.engines.music.protocol import GenerationMode, GenerationRequest, Prefilled
from deployments.engines.music.reference.drawing import drawing_from
from deployments.engines.music.windows import DECODER_WARM_UP_FRAMES, GenerationPlan

# Beyond the window, each further pass starts this much later: audiocraft's own value, 12 s of context at 30
# s.
EXTEND_STRIDE_S = 18.0
MAX_RECONSTRUCTION_S = 3.0


@dataclass(frozen=True, slots=True)
class Take:
    """`audio` is float32 [channels, ceil(duration_s * rate)]; `prefilled.reconstruction` ends where it
    begins and comes from the same decode."""

    prefilled: Prefilled
    audio: Samples


class TakeMaker:
    """Makes takes with a checkpoint. Keeps nothing of a take; for one thread at a time."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        if checkpoint.window_s <= EXTEND_STRIDE_S:
            raise ModelUnavailable(
                f"the model sees {checkpoint.window_s:g} s at once, but must see over {EXTEND_STRIDE_S:g} s"
            )
        self._checkpoint = checkpoint
        self._device = device
        self._dtype = dtype
        music = self._facade()
        self.sample_rate_hz = int(music.sample_rate)
        self.channels = int(music.audio_channels)
        self._frame_rate_hz = float(music.frame_rate)
        self._hop_samples = round(self.sample_rate_hz / self._frame_rate_hz)
        self._window_frames = int(checkpoint.window_s * self._frame_rate_hz)
        self._delay_frames = max(getattr(checkpoint.lm.pattern_provider, "delays", [0]))

    @property
    def max_context_s(self) -> float:
        """A prompt must leave at least one frame of the window."""
        return (self._window_frames - 1) / self._frame_rate_hz

    @torch.no_grad()
    def make(self, request: GenerationRequest, on_progress: Callable[[float], None]) -> Take:
        """One take. `on_progress` is called at every step with the fraction of the steps that are done; what
        it raises ends the work and comes out here. Raises BadRequest, EngineBroken."""
        context = self._context(request)
        continues = request.mode is GenerationMode.CONTINUE
        plan = GenerationPlan(
            prompt=context.shape[1] // self._hop_samples if continues and context is not None else 0,
            new=-(-self._new_samples(request) // self._hop_samples),
            window=self._window_frames,
            stride=int(EXTEND_STRIDE_S * self._frame_rate_hz),
            pattern_delay=self._delay_frames,
        )
        music = self._facade()
        self._configure(music, request, plan)
        done = 0

        def on_step(_generated: int, _of: int) -> None:
            nonlocal done
            done += 1
            on_progress(min(1.0, done / plan.steps))

        music.set_custom_progress_callback(on_step)
        prompt = context[None] if plan.prompt and context is not None else None
        melody = [context] if self._checkpoint.follows_melody and context is not None else None
        attributes, prompt_tokens = music._prepare_tokens_and_attributes([request.prompt], prompt, melody)
        generator = torch.Generator(self._device).manual_seed(request.sampling.seed)
        with drawing_from(generator):
            tokens = music._generate_tokens(attributes, prompt_tokens, progress=True)
        return self._decode(music, tokens, plan, self._new_samples(request))

    def _facade(self) -> Any:
        """A MusicGen of one's own around the shared networks: settings and callbacks are kept on it, not on
        them."""
        from audiocraft.models import MusicGen

        music = MusicGen("", self._checkpoint.codec, self._checkpoint.lm, self._checkpoint.window_s)
        music.autocast = autocast(self._dtype, self._device)
        return music

    def _configure(self, music: Any, request: GenerationRequest, plan: GenerationPlan) -> None:
        sampling = request.sampling
        music.set_generation_params(
            top_k=min(sampling.top_k, self._checkpoint.lm.card),
            top_p=sampling.top_p,
            temperature=sampling.temperature,
            cfg_coef=sampling.cfg_coef,
            duration=plan.duration_s(self._frame_rate_hz, self._checkpoint.window_s),
            extend_stride=EXTEND_STRIDE_S,
        )

    def _new_samples(self, request: GenerationRequest) -> int:
        return int(np.ceil(request.duration_s * self.sample_rate_hz))

    def _context(self, request: GenerationRequest) -> torch.Tensor | None:
        """The context's end as float32 [channels, whole frames] on the device, if there is any to hear."""
        audible = audible_context(request, hop_samples=self._hop_samples, window_frames=self._window_frames)
        return None if audible is None else torch.from_numpy(audible).to(self._device)

    def _decode(self, music: Any, tokens: torch.Tensor, plan: GenerationPlan, count: int) -> Take:
        """Decode the prompt's end and the new frames together, and cut.

        tokens: [1, codebooks, plan.generated]. Where there was no room to generate the codec's look-ahead,
        the last frame is held instead, so that the decoder never sees the end within what is kept.
        """
        missing = plan.kept + plan.margin - tokens.shape[-1]
        held = tokens[..., -1:].expand(-1, -1, missing)
        reconstructed = min(plan.prompt, int(MAX_RECONSTRUCTION_S * self._frame_rate_hz))
        start = max(0, plan.prompt - reconstructed - DECODER_WARM_UP_FRAMES)
        decoded = music.generate_audio(torch.cat([tokens, held], dim=-1)[..., start:])[0]
        audio: Samples = decoded.float().cpu().numpy()
        begin = (plan.prompt - start) * self._hop_samples
        audio = audio[:, begin - reconstructed * self._hop_samples : begin + count]
        if not np.isfinite(audio).all():
            raise EngineBroken("the model's output holds values that are not finite")
        reconstruction, new = np.split(audio, [reconstructed * self._hop_samples], axis=1)
        return Take(Prefilled(np.ascontiguousarray(reconstruction)), np.ascontiguousarray(new))
