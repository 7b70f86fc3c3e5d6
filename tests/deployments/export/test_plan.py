from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from deployments.export.ffmpeg import find_ffmpeg, run_ffmpeg
from deployments.export.plan import (
    MAX_TAG_CHARS,
    AudioFormat,
    EncodePlan,
    ExportPiece,
    ExportPlan,
    Metadata,
    ffmpeg_arguments,
)
from deployments.export.source import SourceWriter

Frames = npt.NDArray[np.float32]  # [samples, channels], as soundfile has it

WAV, FLAC, MP3 = AudioFormat.WAV, AudioFormat.FLAC, AudioFormat.MP3
PCM_CASES = [(WAV, 16), (WAV, 24), (WAV, 32), (FLAC, 16), (FLAC, 24)]
AWKWARD_TITLE = """Ä "quoted" 'title' = a=b; \\ $HOME 日本 🎹
on two lines: -y [0:a] %d"""


def noise(samples: int, channels: int, *, level: float = 0.2) -> Frames:
    rng = np.random.default_rng(7)
    return (level * rng.standard_normal((samples, channels))).clip(-1, 1).astype(np.float32)


def sixteen_bit(frames: Frames) -> Frames:
    return (np.round(frames * 32768).clip(-32768, 32767) / 32768).astype(np.float32)


async def encode(plan: EncodePlan, frames: Frames, folder: Path, name: str = "out") -> Path:
    source, target = folder / f"{name}-source.pcm", folder / f"{name}{plan.format.suffix}"
    with SourceWriter(source, plan) as writer:
        for start in range(0, len(frames), 10_000):
            writer.append(np.ascontiguousarray(frames[start : start + 10_000].T))
        writer.close()
    await run_ffmpeg(ffmpeg_arguments(plan, source, target), ffmpeg=find_ffmpeg(), timeout_s=60)
    return target


def read(path: Path) -> Frames:
    frames: Frames = soundfile.read(path, dtype="float32", always_2d=True)[0]
    return frames


def tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return {key.lower(): value for key, value in container.metadata.items()}


class TestEncoding:
    @pytest.mark.parametrize("sample_rate_hz", [8_000, 44_100, 96_000])
    @pytest.mark.parametrize("channels", [1, 2])
    @pytest.mark.parametrize(("format_", "bit_depth"), PCM_CASES)
    async def test_pcm_keeps_length_rate_channels_and_sound(
        self, tmp_path: Path, format_: AudioFormat, bit_depth: int, channels: int, sample_rate_hz: int
    ) -> None:
        frames = noise(sample_rate_hz // 2 + 123, channels)
        path = await encode(EncodePlan(format_, sample_rate_hz, channels, bit_depth), frames, tmp_path)
        info = soundfile.info(path)
        assert (info.frames, info.samplerate, info.channels) == (len(frames), sample_rate_hz, channels)
        assert info.format in ("WAV", "WAVEX", "FLAC")
        assert info.subtype == ("FLOAT" if bit_depth == 32 else f"PCM_{bit_depth}")
        assert np.abs(read(path) - frames).max() <= {16: 2.0**-14, 24: 2.0**-23, 32: 0.0}[bit_depth]

    @pytest.mark.parametrize("format_", [WAV, FLAC])
    async def test_24_bits_hold_16_bit_material_exactly(self, tmp_path: Path, format_: AudioFormat) -> None:
        frames = sixteen_bit(noise(44_100, 2, level=0.5))
        path = await encode(EncodePlan(format_, 44_100, 2), frames, tmp_path)
        np.testing.assert_array_equal(read(path), frames)

    async def test_32_bits_keep_what_is_over_full_scale(self, tmp_path: Path) -> None:
        frames = noise(8_000, 1) * 10
        path = await encode(EncodePlan(WAV, 8_000, 1, 32), frames, tmp_path)
        np.testing.assert_array_equal(read(path), frames)

    @pytest.mark.parametrize(("format_", "bit_depth"), [case for case in PCM_CASES if case[1] != 32])
    async def test_integers_clip_and_never_wrap(
        self, tmp_path: Path, format_: AudioFormat, bit_depth: int
    ) -> None:
        loud = np.array([1.0, -1.0, 1.01, -1.01, 1.5, -1.5, 100, -100], np.float32)
        frames = np.tile(loud, 500).reshape(-1, 1)
        path = await encode(EncodePlan(format_, 8_000, 1, bit_depth), frames, tmp_path)
        np.testing.assert_allclose(read(path), frames.clip(-1, 1), atol=2.0**-13)

    @pytest.mark.parametrize("format_", [WAV, FLAC])
    async def test_16_bits_are_dithered(self, tmp_path: Path, format_: AudioFormat) -> None:
        # A tone of a third of a step: rounding alone would leave silence.
        time_s = np.arange(44_100) / 44_100
        tone = (np.sin(2 * np.pi * 441 * time_s) / 3 / 32768).astype(np.float32)[:, None]
        path = await encode(EncodePlan(format_, 44_100, 1, 16), tone, tmp_path)
        heard = read(path)[:, 0]
        assert np.dot(heard, tone[:, 0]) / np.dot(tone[:, 0], tone[:, 0]) == pytest.approx(1, abs=0.1)

    @pytest.mark.parametrize(
        ("sample_rate_hz", "encoded_rate_hz", "bitrate_kbps"),
        [
            (4_000, 8_000, 64),
            (8_000, 8_000, 64),
            (16_000, 16_000, 160),
            (22_050, 22_050, 160),
            (30_000, 32_000, 320),
            (44_100, 44_100, 320),
            (44_101, 48_000, 320),
            (96_000, 48_000, 320),
        ],
    )
    @pytest.mark.parametrize("channels", [1, 2])
    async def test_mp3_has_the_nearest_rate_the_best_bitrate_and_the_length(
        self, tmp_path: Path, sample_rate_hz: int, encoded_rate_hz: int, bitrate_kbps: int, channels: int
    ) -> None:
        frames = noise(sample_rate_hz + 123, channels)
        plan = EncodePlan(MP3, sample_rate_hz, channels)
        assert (plan.encoded_rate_hz, plan.bitrate_kbps) == (encoded_rate_hz, bitrate_kbps)
        path = await encode(plan, frames, tmp_path)
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            assert (stream.rate, stream.channels) == (encoded_rate_hz, channels)
            assert stream.bit_rate == bitrate_kbps * 1000
            decoded_s = sum(frame.samples for frame in container.decode(stream)) / encoded_rate_hz
        assert decoded_s == pytest.approx(len(frames) / sample_rate_hz, abs=0.1)

    async def test_mp3_is_gapless_and_sounds_the_same(self, tmp_path: Path) -> None:
        time_s = np.arange(44_100) / 44_100
        tone = (0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)[:, None]
        path = await encode(EncodePlan(MP3, 44_100, 1), tone, tmp_path)
        with av.open(str(path)) as container:
            heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        assert len(heard) == len(tone)  # a LAME header is there: encoder delay and padding are cut
        inner = slice(2_000, -2_000)
        np.testing.assert_allclose(heard[inner], tone[inner, 0], atol=0.01)

    @pytest.mark.parametrize("format_", list(AudioFormat))
    async def test_a_hundred_samples_are_enough(self, tmp_path: Path, format_: AudioFormat) -> None:
        path = await encode(EncodePlan(format_, 44_100, 1), noise(100, 1), tmp_path)
        assert path.stat().st_size > 0
        if format_ is not MP3:
            assert soundfile.info(path).frames == 100

    @pytest.mark.parametrize(("format_", "bit_depth"), [*PCM_CASES, (MP3, None)])
    async def test_repetition_gives_the_same_bytes(
        self, tmp_path: Path, format_: AudioFormat, bit_depth: int | None
    ) -> None:
        plan = EncodePlan(format_, 44_100, 2, bit_depth, Metadata(title="Twice", comment="CC-BY-NC 4.0"))
        frames = noise(30_000, 2)
        first = await encode(plan, frames, tmp_path, "first")
        second = await encode(plan, frames, tmp_path, "second")
        assert first.read_bytes() == second.read_bytes()
        assert not re.search(rb"Lav[cf]\d", first.read_bytes())  # no version of ffmpeg in it

    async def test_a_playlist_in_place_of_the_source_is_not_followed(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret.wav"
        soundfile.write(secret, noise(8_000, 1), 8_000, subtype="FLOAT")
        source, target = tmp_path / "source.pcm", tmp_path / "out.wav"
        playlist = f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n".encode().ljust(400)
        source.write_bytes(playlist)
        arguments = ffmpeg_arguments(EncodePlan(WAV, 8_000, 1, 32), source, target)
        await run_ffmpeg(arguments, ffmpeg=find_ffmpeg(), timeout_s=30)
        assert soundfile.info(target).frames == 100  # its own bytes are taken for samples

    @pytest.mark.parametrize("name", ["with space", "http:colon", "-y", "50%d", "日本'\""])
    async def test_odd_file_names_are_only_names(self, tmp_path: Path, name: str) -> None:
        path = await encode(EncodePlan(WAV, 8_000, 1), noise(800, 1), tmp_path, name)
        assert soundfile.info(path).frames == 800

    async def test_a_relative_path_with_a_leading_dash_is_a_path(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = await encode(EncodePlan(WAV, 8_000, 1), noise(800, 1), Path(), "-nostdin")
        assert soundfile.info(path).frames == 800


class TestTags:
    @pytest.mark.parametrize("format_", list(AudioFormat))
    @pytest.mark.parametrize("title", ["Evening", AWKWARD_TITLE])
    async def test_they_are_in_the_file(self, tmp_path: Path, format_: AudioFormat, title: str) -> None:
        wanted = Metadata(title=title, artist="A = B", comment="Weights: CC-BY-NC 4.0", date="2026")
        frames = noise(8_000, 1)
        path = await encode(EncodePlan(format_, 44_100, 1, metadata=wanted), frames, tmp_path)
        found = tags(path)
        assert found["title"] == title
        assert found["artist"] == "A = B"
        assert found["comment"] == "Weights: CC-BY-NC 4.0"
        assert found["date"] == "2026"

    async def test_mp3_has_id3_version_2_3(self, tmp_path: Path) -> None:
        plan = EncodePlan(MP3, 44_100, 1, metadata=Metadata(title="x"))
        path = await encode(plan, noise(800, 1), tmp_path)
        assert path.read_bytes()[:4] == b"ID3\x03"

    async def test_what_no_file_can_hold_is_dropped(self, tmp_path: Path) -> None:
        wanted = Metadata(title=" a\x00b\x1b[31m\ud800\r\nc ", comment="\x00")
        assert wanted.title == "ab[31m\ufffd\nc"
        path = await encode(EncodePlan(FLAC, 8_000, 1, metadata=wanted), noise(800, 1), tmp_path)
        assert tags(path)["title"] == "ab[31m\ufffd\nc"
        assert "comment" not in tags(path)

    @given(st.text(st.characters(), max_size=50))
    def test_any_text_becomes_one_that_a_program_can_be_given(self, text: str) -> None:
        title = Metadata(title=text).title
        assert b"\x00" not in title.encode()
        assert Metadata(title=title).title == title

    def test_a_very_long_text_is_cut(self) -> None:
        assert len(Metadata(comment="x" * 1_000_000).comment) == MAX_TAG_CHARS


class TestValidation:
    @pytest.mark.parametrize(("format_", "default"), [(WAV, 24), (FLAC, 24), (MP3, None)])
    def test_the_default_depth(self, format_: AudioFormat, default: int | None) -> None:
        assert EncodePlan(format_, 44_100, 2).bit_depth == default

    @pytest.mark.parametrize(("format_", "bit_depth"), [(WAV, 8), (WAV, 20), (FLAC, 32), (MP3, 16)])
    def test_a_depth_that_the_format_does_not_have(self, format_: AudioFormat, bit_depth: int) -> None:
        with pytest.raises(ValueError, match=f"bit_depth of {format_}"):
            EncodePlan(format_, 44_100, 2, bit_depth)

    @pytest.mark.parametrize("channels", [0, 3])
    def test_channels(self, channels: int) -> None:
        with pytest.raises(ValueError, match="channels"):
            EncodePlan(WAV, 44_100, channels)

    @pytest.mark.parametrize("sample_rate_hz", [0, -1, 192_001])
    def test_rates(self, sample_rate_hz: int) -> None:
        with pytest.raises(ValueError, match="sample_rate_hz"):
            EncodePlan(WAV, sample_rate_hz, 1)

    @pytest.mark.parametrize(
        "change", [{"sha256": "ABC"}, {"lead_in_sha256": "../x"}, {"samples": 0}, {"channels": 0}]
    )
    def test_pieces(self, change: dict[str, Any]) -> None:
        good = ExportPiece("0" * 64, 100, 8_000, 1)
        with pytest.raises(ValueError, match=r"SHA-256|at least one"):
            dataclasses.replace(good, **change)

    def test_an_export_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="at least one piece"):
            ExportPlan((), EncodePlan(WAV, 8_000, 1), 1)

    def test_suffixes_and_types(self) -> None:
        assert {f.suffix: f.mime_type for f in AudioFormat} == {
            ".wav": "audio/wav",
            ".flac": "audio/flac",
            ".mp3": "audio/mpeg",
        }


# Few values, so that equal plans do come up.
digests = st.sampled_from(["0" * 64, "1" * 64, "f" * 64])
pieces = st.builds(
    ExportPiece,
    sha256=digests,
    samples=st.integers(1, 3),
    sample_rate_hz=st.sampled_from([44_100, 48_000]),
    channels=st.integers(1, 2),
    lead_in_sha256=st.none() | digests,
)
encodes = st.sampled_from([(WAV, 16), (WAV, None), (WAV, 24), (WAV, 32), (FLAC, 24), (MP3, None)]).flatmap(
    lambda case: st.builds(
        EncodePlan,
        format=st.just(case[0]),
        sample_rate_hz=st.sampled_from([44_100, 48_000]),
        channels=st.integers(1, 2),
        bit_depth=st.just(case[1]),
        metadata=st.builds(Metadata, title=st.text(max_size=2), comment=st.sampled_from(["", "a", "b"])),
    )
)
plans = st.builds(
    ExportPlan,
    pieces=st.lists(pieces, min_size=1, max_size=3).map(tuple),
    encode=encodes,
    renderer_version=st.integers(1, 2),
)


class TestHash:
    @given(plans, plans)
    def test_equal_if_and_only_if_the_plans_are(self, one: ExportPlan, other: ExportPlan) -> None:
        assert (one.hash() == other.hash()) == (one == other)

    @given(plans, st.data())
    def test_every_single_change_changes_it(self, plan: ExportPlan, data: st.DataObject) -> None:
        first = plan.pieces[0]
        changed = data.draw(
            st.sampled_from(
                [
                    dataclasses.replace(plan, renderer_version=plan.renderer_version + 1),
                    dataclasses.replace(plan, pieces=(*plan.pieces, first)),
                    dataclasses.replace(plan, encode=dataclasses.replace(plan.encode, sample_rate_hz=8_000)),
                    dataclasses.replace(
                        plan, pieces=(dataclasses.replace(first, samples=99), *plan.pieces[1:])
                    ),
                    dataclasses.replace(
                        plan, pieces=(dataclasses.replace(first, lead_in_sha256="e" * 64), *plan.pieces[1:])
                    ),
                ]
            )
        )
        assert changed.hash() != plan.hash()

    def test_the_order_of_the_pieces_counts(self) -> None:
        one, other = ExportPiece("0" * 64, 1, 8_000, 1), ExportPiece("1" * 64, 1, 8_000, 1)
        encode_plan = EncodePlan(WAV, 8_000, 1)
        assert (
            ExportPlan((one, other), encode_plan, 1).hash() != ExportPlan((other, one), encode_plan, 1).hash()
        )

    def test_another_process_finds_the_same(self) -> None:
        source = (
            "from deployments.export.plan import *\n"
            "print(ExportPlan((ExportPiece('0' * 64, 5, 44100, 2, '1' * 64),),"
            " EncodePlan(AudioFormat.MP3, 44100, 2, metadata=Metadata(title='é')), 3).hash())"
        )
        found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
        piece = ExportPiece("0" * 64, 5, 44_100, 2, "1" * 64)
        plan = ExportPlan((piece,), EncodePlan(MP3, 44_100, 2, metadata=Metadata(title="é")), 3)
        assert found.stdout.strip() == plan.hash()
