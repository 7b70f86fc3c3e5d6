"""A whole HTDemucs, out of quick layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deployments.engines.separation.demucs.fast_cpu.layers import (
    Decoder,
    Encoder,
    is_quick_decoder,
    is_quick_encoder,
)
from deployments.engines.separation.demucs.fast_cpu.products import Linear, has_products
from deployments.engines.separation.demucs.fast_cpu.spectrogram import Spectrogram
from deployments.engines.separation.demucs.fast_cpu.transformer import Transformer, is_quick_transformer


def is_quick(network: Any, dtype: torch.dtype) -> bool:
    """Whether `QuickHTDemucs` does, on this CPU, what the network does."""
    from demucs.htdemucs import HTDemucs

    return (
        type(network) is HTDemucs
        and has_products(dtype)
        and network.cac
        and network.use_train_segment
        and _segment_samples(network) > network.nfft  # else there is too little to reflect at the ends
        and network.crosstransformer is not None
        and len(network.tencoder) == len(network.encoder)
        and all(is_quick_encoder(layer) for layer in (*network.encoder, *network.tencoder))
        and all(is_quick_decoder(layer) for layer in (*network.decoder, *network.tdecoder))
        and is_quick_transformer(network.crosstransformer)
    )


class QuickHTDemucs:
    """A network for which `is_quick` holds, computed from `dtype`. It keeps weights of its own, in layouts of their
    own: the network is not needed any more."""

    @torch.inference_mode()
    def __init__(self, network: Any, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._sources = len(network.sources)
        self._samples = _segment_samples(network)
        self._spectrogram = Spectrogram(network.nfft, self._samples)
        frequencies, frames, times = self._spectrogram.frequencies, self._spectrogram.frames, self._samples
        self._encoder, self._time_encoder, self._times = [], [], []
        self._decoder, self._time_decoder = [], []
        decoders = zip(reversed(network.decoder), reversed(network.tdecoder), strict=True)
        encoders = zip(network.encoder, network.tencoder, strict=True)
        for (encoder, encoder_t), (decoder, decoder_t) in zip(encoders, decoders, strict=True):
            self._times.append(times)
            frequencies //= encoder.stride
            times = -(-times // encoder_t.stride)
            spectral, temporal = (
                {"frequencies": frequencies, "times": frames},
                {"frequencies": 1, "times": times},
            )
            self._encoder.append(Encoder(encoder, dtype, **spectral))
            self._time_encoder.append(Encoder(encoder_t, dtype, **temporal))
            self._decoder.append(Decoder(decoder, dtype, **spectral))
            self._time_decoder.append(Decoder(decoder_t, dtype, **temporal))
        self._frequency_embedding: Tensor | None = None
        if network.freq_emb is not None:
            rows = torch.arange(self._spectrogram.frequencies // network.encoder[0].stride)
            embedding = network.freq_emb_scale * network.freq_emb(rows)
            self._frequency_embedding = embedding[:, None].to(dtype)
        self._transformer = Transformer(
            network.crosstransformer, dtype, frequencies=frequencies, times=frames, positions=times
        )
        self._around: list[Linear] = []
        if network.bottom_channels:
            self._around = [
                Linear(conv.weight[:, :, 0], conv.bias, dtype, rows)
                for conv, rows in (
                    (network.channel_upsampler, frequencies * frames),
                    (network.channel_upsampler_t, times),
                    (network.channel_downsampler, frequencies * frames),
                    (network.channel_downsampler_t, times),
                )
            ]

    @torch.inference_mode()
    def __call__(self, mix: Tensor, sources: Sequence[int]) -> Tensor:
        """float32 [batch, channels, samples] -> float32 [batch, sources, channels, samples], of the sources with
        these indices. `samples` is at most a segment of the network's."""
        samples = mix.shape[-1]
        mix = functional.pad(mix, (0, self._samples - samples))
        x, mean, deviation = _normalised(self._spectrogram.of(mix))
        xt, mean_t, deviation_t = _normalised(mix.transpose(1, 2)[:, None].contiguous())
        x, xt = self._estimate(x.to(self._dtype), xt.to(self._dtype))
        x = x.view(*x.shape[:3], self._sources, -1, 2)
        xt = xt.reshape(xt.shape[0], self._samples, self._sources, -1)
        wanted = list(sources)
        if wanted != list(range(self._sources)):
            x, xt = x[:, :, :, wanted], xt[:, :, wanted]
        in_frequency = self._spectrogram.samples_of(x, deviation, mean)
        in_time = xt.permute(0, 2, 3, 1) * deviation_t + mean_t
        return in_frequency.add_(in_time)[..., :samples]

    def _estimate(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        """Both branches, from and to [batch, frequencies, times, channels]."""
        skips: list[tuple[Tensor, Tensor]] = []
        for encode, encode_t in zip(self._encoder, self._time_encoder, strict=True):
            x, xt = encode(x), encode_t(xt)
            if not skips and self._frequency_embedding is not None:
                x = x.add_(self._frequency_embedding)
            skips.append((x, xt))
        x, xt = self._transformed(x, xt)
        for level in reversed(range(len(skips))):
            skip, skip_t = skips.pop()
            x = self._decoder[level](x, skip, 0)
            xt = self._time_decoder[level](xt, skip_t, self._times[level])
        return x, xt

    def _transformed(self, x: Tensor, xt: Tensor) -> tuple[Tensor, Tensor]:
        if not self._around:
            x, xt = self._transformer(x, xt[:, 0])
            return x, xt[:, None]
        up, up_t, down, down_t = self._around
        x, xt = self._transformer(up(x), up_t(xt)[:, 0])
        return down(x), down_t(xt)[:, None]


def _segment_samples(network: Any) -> int:
    return int(network.segment * network.samplerate)


def _normalised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A [batch, ...] of mean 0 and deviation 1, and both as they were, as [batch, 1, 1, 1]."""
    flat = x.reshape(x.shape[0], -1)
    mean, deviation = flat.mean(1)[:, None], flat.std(1)[:, None]
    normalised = ((flat - mean) / (1e-5 + deviation)).view(x.shape)
    return normalised, mean[..., None, None], deviation[..., None, None]
