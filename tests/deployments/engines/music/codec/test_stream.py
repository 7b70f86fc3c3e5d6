from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deployments.engines.common.errors import ModelUnavailable
from deployments.engines.music.audiocraft.checkpoint import load_checkpoint
from deployments.engines.music.audiocraft.importing import import_audiocraft
from deployments.engines.music.audiocraft.quiet import quietly
from deployments.engines.music.catalog import find
from deployments.engines.music.codec.stream import CodecDecoder, CodecStream
from tests.deployments.engines.loaded import model_cache

pytestmark = pytest.mark.torch

# Meta's config of the 32 kHz codec (`encodec_large_nq4_s640`), but few features.
CODEC_32KHZ = {
    "dimension": 8,
    "n_filters": 2,
    "n_residual_layers": 1,
    "ratios": [8, 5, 4, 4],
    "norm": "weight_norm",
    "kernel_size": 7,
    "last_kernel_size": 7,
    "residual_kernel_size": 3,
    "dilation_base": 2,
    "pad_mode": "constant",
    "true_skip": True,
    "compress": 2,
    "lstm": 2,
}
HOP_32KHZ = 640


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """These networks are too small for more, and tests may share the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _codec(config: dict[str, Any], *, codebooks: int = 4, stereo: bool = False, **kwargs: Any) -> Any:
    """An audiocraft codec with random weights and without an encoder."""
    import_audiocraft()
    from audiocraft.models.encodec import EncodecModel, InterleaveStereoCompressionModel
    from audiocraft.modules import SEANetDecoder
    from audiocraft.quantization import ResidualVectorQuantizer

    with torch.random.fork_rng(devices=[]), quietly():
        torch.manual_seed(0)
        decoder = SEANetDecoder(**config)
        quantizer = ResidualVectorQuantizer(config["dimension"], codebooks, bins=16, kmeans_init=False)
        for level in quantizer.vq.layers:
            level.codebook.normal_()
    options = {"frame_rate": 50, "sample_rate": 32_000, "channels": config.get("channels", 1), **kwargs}
    codec = EncodecModel(nn.Identity(), decoder, quantizer, **options).eval()
    return InterleaveStereoCompressionModel(codec) if stereo else codec


def _hf_codec(*, stereo: bool = False, **changes: Any) -> Any:
    """audiocraft's wrapper around transformers' EnCodec with the config of facebook/encodec_32khz, but few
    features and random weights."""
    import_audiocraft()
    from audiocraft.models.encodec import HFEncodecCompressionModel, InterleaveStereoCompressionModel

    codec = HFEncodecCompressionModel(_hf_model(**changes)).eval()
    return InterleaveStereoCompressionModel(codec) if stereo else codec


def _hf_model(**changes: Any) -> Any:
    from transformers import EncodecConfig, EncodecModel

    config = {
        "sampling_rate": 32_000,
        "target_bandwidths": [2.2],
        "codebook_size": 2048,
        "hidden_size": 8,
        "num_filters": 2,
        "upsampling_ratios": [8, 5, 4, 4],
        "use_causal_conv": False,
        "use_conv_shortcut": False,
        "pad_mode": "reflect",
        **changes,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = EncodecModel(EncodecConfig(**config))
        for level in model.quantizer.layers:
            level.codebook.embed.normal_()
    return model


def _codes(codec: Any, frames: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, codec.cardinality, (codec.num_codebooks, frames), generator=generator)


@torch.no_grad()
def _at_once(codec: Any, codes: Tensor) -> Tensor:
    audio: Tensor = codec.decode(codes[None])[0]
    return audio


def _pieces(stream: CodecStream, codes: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    return [*(stream.push(piece) for piece in torch.split(codes, list(sizes), dim=1)), stream.finish()]


def _check(codec: Any, sizes: Sequence[int]) -> None:
    """A stream that gets pieces of these sizes (in frames) is the codec's own decoder, and keeps its promises."""
    decoder = CodecDecoder(codec)
    codes = _codes(codec, sum(sizes))
    expected = _at_once(codec, codes)
    pieces = _pieces(decoder.open(), codes, sizes)
    audio = torch.cat(pieces, dim=1)
    assert audio.dtype == torch.float32
    assert audio.shape == expected.shape == (decoder.channels, sum(sizes) * decoder.hop_samples)
    assert (audio - expected).abs().max() <= 1e-5
    frames = samples = 0
    for size, piece in zip(sizes, pieces, strict=False):
        frames += size
        samples += piece.shape[1]
        assert samples >= (frames - decoder.look_ahead_frames) * decoder.hop_samples


@st.composite
def _configs(draw: st.DrawFn) -> dict[str, Any]:
    causal = draw(st.booleans())
    ratios = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return {
        "channels": draw(st.integers(1, 2)),
        "dimension": draw(st.integers(1, 4)),
        "n_filters": draw(st.sampled_from([2, 4])),
        "n_residual_layers": draw(st.integers(0, 3)),
        "ratios": ratios,
        "norm": draw(st.sampled_from(["weight_norm", "none"])),
        "disable_norm_outer_blocks": draw(st.integers(0, len(ratios) + 2)),
        "kernel_size": draw(st.integers(1, 8)),
        "last_kernel_size": draw(st.integers(1, 8)),
        "residual_kernel_size": draw(st.integers(1, 5)),
        "dilation_base": draw(st.integers(1, 3)),
        "causal": causal,
        "trim_right_ratio": draw(st.sampled_from([0.0, 0.4, 1.0])) if causal else 1.0,
        "pad_mode": draw(st.sampled_from(["constant", "reflect", "replicate"])),
        "true_skip": draw(st.booleans()),
        "compress": draw(st.integers(1, 2)),
        "lstm": draw(st.integers(0, 2)),
        "activation": draw(st.sampled_from(["ELU", "SiLU"])),
        "activation_params": {},
        "final_activation": draw(st.sampled_from([None, "Tanh"])),
    }


@given(
    config=_configs(),
    codebooks=st.integers(1, 3),
    stereo=st.booleans(),
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=8).filter(any),
)
@example(config=CODEC_32KHZ, codebooks=4, stereo=False, sizes=[1] * 9)
@example(config={**CODEC_32KHZ, "true_skip": False}, codebooks=4, stereo=True, sizes=[3, 1, 0, 2])
@example(config={**CODEC_32KHZ, "pad_mode": "reflect"}, codebooks=4, stereo=False, sizes=[1])
@settings(max_examples=60)
def test_any_codec_in_any_pieces_is_audiocrafts_own_decode(
    config: dict[str, Any], codebooks: int, stereo: bool, sizes: list[int]
) -> None:
    if stereo:
        config = {**config, "channels": 1}
    _check(_codec(config, codebooks=codebooks, stereo=stereo), sizes)


@pytest.mark.parametrize("sizes", [[1] * 12, [50, 33, 7], [90]])
@pytest.mark.parametrize("name", ["tiny", "tiny-stereo"])
def test_the_tiny_models(name: str, sizes: list[int]) -> None:
    from audiocraft.models.builders import get_wrapped_compression_model

    checkpoint = load_checkpoint(find(name), torch.device("cpu"), model_cache())
    codec = get_wrapped_compression_model(checkpoint.codec, checkpoint.lm.cfg)
    decoder = CodecDecoder(codec)
    stereo = name == "tiny-stereo"
    assert (decoder.channels, decoder.codebooks) == ((2, 8) if stereo else (1, 4))
    assert decoder.codebooks == checkpoint.lm.n_q
    assert decoder.sample_rate_hz == 32_000
    _check(codec, sizes)


@pytest.mark.parametrize(
    ("changes", "stereo"),
    [
        ({}, False),
        ({}, True),
        ({"use_conv_shortcut": True, "pad_mode": "constant"}, False),
        ({"use_causal_conv": True, "trim_right_ratio": 0.5, "num_residual_layers": 3}, False),
        ({"audio_channels": 2, "num_lstm_layers": 1}, False),
    ],
)
@pytest.mark.parametrize("sizes", [[1] * 10, [40, 0, 5], [2]])
def test_transformers_codecs(changes: dict[str, Any], stereo: bool, sizes: list[int]) -> None:
    _check(_hf_codec(stereo=stereo, **changes), sizes)


def test_the_codec_that_metas_checkpoints_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their file has only a name, which audiocraft turns into transformers' EnCodec."""
    import_audiocraft()
    from audiocraft.models import encodec, loaders

    monkeypatch.setattr(
        encodec.HFEncodecModel, "from_pretrained", {"facebook/encodec_32khz": _hf_model()}.get
    )
    torch.save({"pretrained": "facebook/encodec_32khz"}, tmp_path / "compression_state_dict.bin")
    codec = loaders.load_compression_model(tmp_path)
    decoder = CodecDecoder(codec)
    assert (decoder.sample_rate_hz, decoder.channels, decoder.codebooks) == (32_000, 1, 4)
    assert (decoder.hop_samples, decoder.look_ahead_frames) == (HOP_32KHZ, 4)
    _check(codec, [1, 2, 30, 4])


@pytest.mark.parametrize("lengths", [(1, 1), (3, 7), (50, 2)])
def test_streams_do_not_hear_each_other(lengths: tuple[int, int]) -> None:
    codec = _codec(CODEC_32KHZ, stereo=True)
    decoder = CodecDecoder(codec)
    left, right = _codes(codec, 60, seed=1), _codes(codec, 60, seed=2)

    def alone(codes: Tensor, length: int) -> Tensor:
        return torch.cat(_pieces(decoder.open(), codes, _cut(60, length)), dim=1)

    streams = decoder.open(), decoder.open()
    heard: tuple[list[Tensor], list[Tensor]] = [], []
    todo = [
        list(torch.split(codes, length, dim=1)) for codes, length in zip((left, right), lengths, strict=True)
    ]
    while any(todo):
        for stream, pieces, audio in zip(streams, todo, heard, strict=True):
            if pieces:
                audio.append(stream.push(pieces.pop(0)))
    for stream, codes, length, audio in zip(streams, (left, right), lengths, heard, strict=True):
        together = torch.cat([*audio, stream.finish()], dim=1)
        assert together.numpy().tobytes() == alone(codes, length).numpy().tobytes()


def _cut(frames: int, length: int) -> list[int]:
    return [min(length, frames - start) for start in range(0, frames, length)]


def test_what_was_given_stays_as_it_was_given() -> None:
    codec = _codec(CODEC_32KHZ)
    stream = CodecDecoder(codec).open()
    codes = _codes(codec, 30)
    first = stream.push(codes[:, :20])
    copy = first.clone()
    stream.push(codes[:, 20:])
    assert torch.equal(first, copy)
    first.zero_()
    second = CodecDecoder(codec).open()
    expected = _pieces(second, codes, [20, 10])[-1]
    assert torch.equal(stream.finish(), expected)


def test_first_sound_comes_with_the_fourth_frame_at_32_khz() -> None:
    codec = _codec(CODEC_32KHZ)
    decoder = CodecDecoder(codec)
    assert decoder.look_ahead_frames == 4
    counts = [piece.shape[1] for piece in _pieces(decoder.open(), _codes(codec, 6), [1] * 6)]
    assert counts == [0, 0, 0, 4 * HOP_32KHZ - 2402, HOP_32KHZ, HOP_32KHZ, 2402]


def test_a_causal_codec_looks_ahead_by_nothing() -> None:
    codec = _codec({**CODEC_32KHZ, "causal": True}, causal=True)
    assert CodecDecoder(codec).look_ahead_frames == 0
    _check(codec, [1, 1, 3])


def test_fewer_codebooks_than_the_codec_has() -> None:
    codec = _codec(CODEC_32KHZ)
    codec.set_num_codebooks(2)
    assert CodecDecoder(codec).codebooks == 2
    _check(codec, [2, 5])


def test_the_codec_stays_as_it_is() -> None:
    codec = _codec(CODEC_32KHZ)
    codes = _codes(codec, 5)
    before = {name: tensor.clone() for name, tensor in codec.state_dict().items()}
    audio = _at_once(codec, codes)
    _pieces(CodecDecoder(codec).open(), codes, [2, 3])
    after = codec.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(_at_once(codec, codes), audio)


def test_weights_that_are_trained_give_audio_without_a_graph() -> None:
    codec = _codec(CODEC_32KHZ)
    assert any(parameter.requires_grad for parameter in codec.parameters())
    assert not any(
        piece.requires_grad for piece in _pieces(CodecDecoder(codec).open(), _codes(codec, 6), [6])
    )


@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "replicate"])
def test_a_stream_of_nothing(pad_mode: str) -> None:
    stream = CodecDecoder(_codec({**CODEC_32KHZ, "pad_mode": pad_mode}, stereo=True)).open()
    assert stream.push(torch.zeros(8, 0, dtype=torch.int64)).shape == (2, 0)
    assert stream.finish().shape == (2, 0)


def test_a_stream_that_is_over_stays_over() -> None:
    codec = _codec(CODEC_32KHZ)
    stream = CodecDecoder(codec).open()
    _pieces(stream, _codes(codec, 3), [3])
    with pytest.raises(RuntimeError, match="over"):
        stream.push(_codes(codec, 1))
    with pytest.raises(RuntimeError, match="over"):
        stream.finish()


@pytest.mark.parametrize("shape", [(3, 5), (1, 4, 5), (4,)])
def test_codes_of_another_shape_are_refused_and_change_nothing(shape: tuple[int, ...]) -> None:
    codec = _codec(CODEC_32KHZ)
    decoder = CodecDecoder(codec)
    stream = decoder.open()
    codes = _codes(codec, 6)
    pieces = [stream.push(codes[:, :2])]
    with pytest.raises(ValueError, match=r"\[4, frames\]"):
        stream.push(torch.zeros(shape, dtype=torch.int64))
    pieces += [stream.push(codes[:, 2:]), stream.finish()]
    assert torch.equal(torch.cat(pieces, 1), torch.cat(_pieces(decoder.open(), codes, [2, 4]), 1))


def test_a_code_outside_the_codebook_is_an_error() -> None:
    codec = _codec(CODEC_32KHZ)
    with pytest.raises(IndexError):
        CodecDecoder(codec).open().push(torch.full((4, 1), codec.cardinality))


def _with_layer(layer: nn.Module) -> Any:
    codec = _codec(CODEC_32KHZ)
    codec.decoder.model.append(layer)
    return codec


def _odd_upsampling() -> Any:
    from audiocraft.modules import StreamableConvTranspose1d

    return _with_layer(StreamableConvTranspose1d(1, 1, kernel_size=5, stride=2))


def _per_timestep() -> Any:
    codec = _codec(CODEC_32KHZ, stereo=True)
    codec.per_timestep = True
    return codec


def _unquantised() -> Any:
    from audiocraft.quantization import DummyQuantizer

    codec = _codec(CODEC_32KHZ)
    codec.quantizer = DummyQuantizer()
    return codec


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: _codec({**CODEC_32KHZ, "norm": "time_group_norm"}), "norm time_group_norm"),
        (lambda: _codec({**CODEC_32KHZ, "norm": "spectral_norm"}), "norm spectral_norm"),
        (lambda: _codec({**CODEC_32KHZ, "pad_mode": "circular"}), "padding of mode circular"),
        (lambda: _codec(CODEC_32KHZ, renormalize=True), "volume"),
        (lambda: _codec(CODEC_32KHZ).double(), "float32"),
        (lambda: _with_layer(nn.Softmax(dim=1)), "type Softmax"),
        (lambda: _with_layer(nn.ReLU(inplace=True)), "type ReLU"),
        (_odd_upsampling, "kernel 5 and stride 2"),
        (_per_timestep, "interleaved in time"),
        (_unquantised, "DummyQuantizer"),
        (lambda: nn.Identity(), "type Identity"),
        (_hf_model, "type EncodecModel"),
        (lambda: _hf_codec(norm_type="time_group_norm"), "norm time_group_norm"),
        (lambda: _hf_codec(normalize=True), "volume"),
        (lambda: _hf_codec(chunk_length_s=1.0, overlap=0.01), "chunks of 1 s"),
    ],
)
def test_what_cannot_be_streamed_is_named(make: Any, reason: str) -> None:
    import_audiocraft()
    with pytest.raises(ModelUnavailable, match=reason):
        CodecDecoder(make())
