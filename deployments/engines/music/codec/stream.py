"""EnCodec's decoder as a stream: codes come in pieces of any size, and the audio is that of decoding them all at
once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.music.codec.layers import (
    PADDING_MODES,
    ChainStream,
    LayerStream,
    LstmStream,
    OpenLayer,
    Padding,
    PointwiseStream,
    ResidualStream,
    convolution,
    transposed_convolution,
)

_NORMS = ("none", "weight_norm")
_POINTWISE = (nn.ELU, nn.GELU, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Tanh)


class CodecDecoder:
    """The decoder of one of audiocraft's compression models, in float32 on the device where the codec is.

    The codec is an `EncodecModel`, an `HFEncodecCompressionModel` (which Meta's stereo checkpoints of MusicGen
    name), or an `InterleaveStereoCompressionModel` around one of them. It stays as it is: its weight norm is
    folded into weights of the decoder's own, the LSTM and the codebooks are shared and only read. Streams do not
    affect each other and may run in different threads; on a CPU the same pieces give the same bytes.

    codebooks: in a frame of the language model; for stereo, twice those of the codec.
    look_ahead_frames: audio that is missing from what a stream has given so far, at most, in frames.

    Raises ModelUnavailable, saying what cannot be streamed.
    """

    @torch.no_grad()
    def __init__(self, codec: Any) -> None:
        from audiocraft.models.encodec import InterleaveStereoCompressionModel

        is_interleaved = isinstance(codec, InterleaveStereoCompressionModel)
        if is_interleaved and codec.per_timestep:
            raise _cannot_stream("channels interleaved in time")
        layers, tables = _networks(codec.model if is_interleaved else codec)
        self._codebooks = _Codebooks(tables, rows=2 if is_interleaved else 1)
        self._layers = [_open_layer(layer) for layer in layers]
        self.sample_rate_hz = int(codec.sample_rate)
        self.channels = int(codec.channels)
        self.hop_samples = math.prod(
            module.stride[0]
            for layer in layers
            for module in layer.modules()
            if isinstance(module, nn.ConvTranspose1d)
        )
        self.codebooks = self._codebooks.count
        self.look_ahead_frames = self._measured_look_ahead_frames()

    def open(self) -> CodecStream:
        return CodecStream(self._codebooks, ChainStream(self._layers))

    def _measured_look_ahead_frames(self) -> int:
        """From a stream's first sample on, the number of samples that it lacks stays the same."""
        stream, frame = self.open(), torch.zeros(self.codebooks, 1, dtype=torch.int64)
        frames, samples = 0, 0
        while samples == 0:
            frames += 1
            samples = stream.push(frame).shape[1]
        lacking = frames * self.hop_samples - samples
        return max(frames - 1, -(-lacking // self.hop_samples))


class CodecStream:
    """One stream of audio, for one thread at a time. An error while decoding ends it."""

    def __init__(self, codebooks: _Codebooks, layers: LayerStream) -> None:
        self._codebooks = codebooks
        self._layers: LayerStream | None = layers

    def push(self, codes: Tensor) -> Tensor:
        """int64 [codebooks, frames >= 0] -> float32 [channels, samples]: what no later frame can change.

        Raises ValueError for another shape, RuntimeError when the stream is over.
        """
        return self._decode(codes, last=False)

    def finish(self) -> Tensor:
        """The rest, float32 [channels, samples], so that there have been hop_samples for each frame; the stream
        is over. Raises RuntimeError when it was already."""
        return self._decode(torch.empty(self._codebooks.count, 0, dtype=torch.int64), last=True)

    @torch.no_grad()
    def _decode(self, codes: Tensor, *, last: bool) -> Tensor:
        if self._layers is None:
            raise RuntimeError("the stream is over")
        embedded = self._codebooks.embed(codes)
        layers, self._layers = self._layers, None
        audio = layers.push(embedded, last=last)
        if not last:
            self._layers = layers
        return audio.flatten(1).t().contiguous()


@dataclass(frozen=True, slots=True)
class _Codebooks:
    """tables: float32 [entries, features] for each of the codec's codebooks. A frame of `rows` signals holds
    the first codebook's code for each of them, then the second's, and so on."""

    tables: list[Tensor]
    rows: int

    @property
    def count(self) -> int:
        return len(self.tables) * self.rows

    def embed(self, codes: Tensor) -> Tensor:
        """int64 [count, frames] -> float32 [frames, rows, features]. Raises ValueError."""
        if codes.dim() != 2 or len(codes) != self.count:
            raise ValueError(f"codes must be [{self.count}, frames], not {list(codes.shape)}")
        by_table = codes.to(self.tables[0].device).reshape(len(self.tables), self.rows, codes.shape[1])
        first, *others = (
            nn.functional.embedding(indices.t(), table)
            for indices, table in zip(by_table, self.tables, strict=True)
        )
        return sum(others, start=first)


def _networks(model: Any) -> tuple[list[nn.Module], list[Tensor]]:
    """The decoder's layers, and a table for each codebook in use."""
    from audiocraft.models.encodec import EncodecModel, HFEncodecCompressionModel
    from audiocraft.modules.seanet import SEANetDecoder
    from audiocraft.quantization import ResidualVectorQuantizer

    if isinstance(model, EncodecModel):
        if model.renormalize:
            raise _cannot_stream("a volume of its own for each clip")
        if not isinstance(model.decoder, SEANetDecoder):
            raise _cannot_stream(f"a decoder of type {type(model.decoder).__name__}")
        if not isinstance(model.quantizer, ResidualVectorQuantizer):
            raise _cannot_stream(f"a quantizer of type {type(model.quantizer).__name__}")
        layers = list(model.decoder.model)
        tables = [level.project_out(level.codebook) for level in model.quantizer.vq.layers]
    elif isinstance(model, HFEncodecCompressionModel):
        config = model.model.config
        if config.normalize:
            raise _cannot_stream("a volume of its own for each clip")
        if config.chunk_length_s is not None:
            raise _cannot_stream(f"overlapping chunks of {config.chunk_length_s:g} s")
        layers = list(model.model.decoder.layers)
        tables = [level.codebook.embed for level in model.model.quantizer.layers]
    else:
        raise _cannot_stream(f"a model of type {type(model).__name__}")
    dtypes = {tensor.dtype for layer in layers for tensor in layer.parameters()}
    if dtypes - {torch.float32}:
        raise _cannot_stream("weights in a format other than float32")
    return layers, tables[: model.num_codebooks]


def _open_layer(layer: nn.Module) -> OpenLayer:
    from audiocraft.modules import conv, lstm, seanet
    from transformers.models.encodec import modeling_encodec as hf

    match layer:
        case conv.StreamableConv1d():
            return _convolution(layer, layer.conv.conv, layer.conv.norm_type)
        case hf.EncodecConv1d():
            return _convolution(layer, layer.conv, layer.norm_type)
        case conv.StreamableConvTranspose1d():
            return _transposed_convolution(layer, layer.convtr.convtr, layer.convtr.norm_type)
        case hf.EncodecConvTranspose1d():
            return _transposed_convolution(layer, layer.conv, layer.norm_type)
        case lstm.StreamableLSTM():
            return partial(LstmStream, layer.lstm, skip=layer.skip)
        case hf.EncodecLSTM():
            return partial(LstmStream, layer.lstm, skip=True)
        case seanet.SEANetResnetBlock() | hf.EncodecResnetBlock():
            block = partial(ChainStream, [_open_layer(part) for part in layer.block])
            return partial(ResidualStream, block, _open_layer(layer.shortcut))
        case _ if isinstance(layer, _POINTWISE) and not getattr(layer, "inplace", False):
            return partial(PointwiseStream, layer)
    raise _cannot_stream(f"a layer of type {type(layer).__name__}")


def _convolution(layer: Any, convolve: nn.Conv1d, norm: str) -> OpenLayer:
    if layer.pad_mode not in PADDING_MODES:
        raise _cannot_stream(f"padding of mode {layer.pad_mode}")
    reach = (convolve.kernel_size[0] - 1) * convolve.dilation[0]
    right = 0 if layer.causal else reach // 2
    return convolution(
        _plain_weight(convolve, norm),
        _plain_bias(convolve),
        dilation=convolve.dilation[0],
        padding=Padding(reach - right, right, layer.pad_mode),
    )


def _transposed_convolution(layer: Any, convolve: nn.ConvTranspose1d, norm: str) -> OpenLayer:
    stride = convolve.stride[0]
    surplus = convolve.kernel_size[0] - stride
    if surplus % stride:
        raise _cannot_stream(f"a transposed convolution of kernel {surplus + stride} and stride {stride}")
    right = math.ceil(surplus * layer.trim_right_ratio) if layer.causal else surplus // 2
    return transposed_convolution(
        _plain_weight(convolve, norm), _plain_bias(convolve), stride=stride, left=surplus - right
    )


def _plain_weight(convolve: Any, norm: str) -> Tensor:
    """The weight with its norm folded in."""
    if norm not in _NORMS:
        raise _cannot_stream(f"norm {norm}")
    weight: Tensor
    if hasattr(convolve, "weight_g"):
        # torch's older weight norm, which sets `weight` only when the layer is called.
        length = torch.linalg.vector_norm(convolve.weight_v, dim=(1, 2), keepdim=True)
        weight = convolve.weight_v * (convolve.weight_g / length)
    else:
        weight = convolve.weight
    return weight.detach()


def _plain_bias(convolve: nn.Conv1d | nn.ConvTranspose1d) -> Tensor:
    if convolve.bias is None:
        return torch.zeros(convolve.out_channels, device=convolve.weight.device)
    return convolve.bias.detach()


def _cannot_stream(what: str) -> ModelUnavailable:
    return ModelUnavailable(f"the codec cannot be decoded as a stream: it has {what}")
