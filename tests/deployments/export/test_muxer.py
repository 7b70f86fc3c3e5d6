from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.audio.track import TrackWriter
from deployments.export.ffmpeg import FfmpegFailed, FfmpegMissing, FfmpegTimedOut
from deployments.export.media_errors import (
    EmptyAudio,
    EmptyFrames,
    MediaError,
    WrongDtype,
    WrongShape,
    WrongValue,
)
from deployments.export.muxer import frames_and_audio_to_mp4, frames_to_mp4_loop, write_mp4
from deployments.export.planar import Picture
from tests.deployments.export.referee import BUNDLED, EVERY_FFMPEG, decoded
from tests.support.clips import music

COLOURS = [(200, 40, 90), (10, 220, 60), (30, 60, 240), (0, 0, 0), (255, 255, 255), (128, 128, 128)]


def coloured(count: int, height: int = 36, width: int = 54) -> npt.NDArray[np.uint8]:
    frames = np.zeros((count, height, width, 3), np.uint8)
    for index in range(count):
        frames[index] = COLOURS[index % len(COLOURS)]
    return frames


def pictures_of(data: bytes) -> list[Picture]:
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("ffmpeg", EVERY_FFMPEG, ids=lambda path: path.name)
class TestSilent:
    def test_every_frame_comes_back_in_its_colour(self, ffmpeg: Path) -> None:
        shown = pictures_of(frames_to_mp4_loop(coloured(6), 30, ffmpeg=ffmpeg))
        assert len(shown) == 6
        for picture, colour in zip(shown, COLOURS, strict=True):
            assert np.abs(picture.astype(int) - colour).max() <= 4

    def test_it_is_what_players_expect(self, ffmpeg: Path) -> None:
        data = frames_to_mp4_loop(coloured(7), 30, ffmpeg=ffmpeg)
        assert data.index(b"moov") < data.index(b"mdat")  # starts before it is loaded
        with av.open(io.BytesIO(data)) as container:
            (video,) = container.streams
            assert isinstance(video, av.VideoStream)
            assert (video.codec_context.name, video.codec_context.profile) == ("h264", "High")
            assert (video.codec_context.pix_fmt, video.codec_context.color_range) == ("yuv420p", 1)
            assert video.codec_context.colorspace == 1  # BT.709
            assert video.average_rate == 30
            assert video.start_time == 0

    def test_the_last_frame_has_its_full_time(self, ffmpeg: Path) -> None:
        with av.open(io.BytesIO(frames_to_mp4_loop(coloured(7), 30, ffmpeg=ffmpeg))) as container:
            video = container.streams.video[0]
            assert video.duration is not None
            assert video.duration * (video.time_base or 0) == Fraction(7, 30)

    def test_equal_frames_are_equal_bytes_as_an_array_and_one_by_one(self, ffmpeg: Path) -> None:
        frames = coloured(9)
        data = frames_to_mp4_loop(frames, 24, ffmpeg=ffmpeg)
        assert data == frames_to_mp4_loop(frames, 24, ffmpeg=ffmpeg)
        assert data == frames_to_mp4_loop((frame for frame in frames), 24, ffmpeg=ffmpeg)

    def test_a_player_finds_a_whole_picture_at_least_every_two_seconds(self, ffmpeg: Path) -> None:
        frames = np.random.default_rng(1).integers(0, 255, (1, 32, 32, 3), np.uint8).repeat(70, axis=0)
        with av.open(io.BytesIO(frames_to_mp4_loop(frames, 10, ffmpeg=ffmpeg))) as container:
            keys_s = [
                float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe and p.size
            ]
        assert max(np.diff([*keys_s, 7.0])) <= 2.0


@pytest.mark.parametrize("ffmpeg", EVERY_FFMPEG, ids=lambda path: path.name)
class TestWithSound:
    @pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000])
    def test_sound_keeps_its_channels_its_place_and_its_length(
        self, ffmpeg: Path, rate_hz: int, tmp_path: Path
    ) -> None:
        audio = music(1.037, rate_hz)
        audio[1] *= 0.5
        path = tmp_path / "clip.mp4"
        path.write_bytes(frames_and_audio_to_mp4(coloured(40), audio, rate_hz, 30, ffmpeg=ffmpeg))
        heard = decoded(path)
        assert heard.shape == audio.shape
        for mine, other in zip(audio, heard, strict=True):
            assert float(np.corrcoef(mine, other)[0, 1]) > 0.99
        assert np.std(heard[1]) / np.std(heard[0]) == pytest.approx(
            np.std(audio[1]) / np.std(audio[0]), rel=0.05
        )

    def test_the_last_frame_stays_until_the_sound_ends(self, ffmpeg: Path) -> None:
        data = frames_and_audio_to_mp4(coloured(3), music(0.95, 48_000), 48_000, 10, ffmpeg=ffmpeg)
        shown = pictures_of(data)
        assert len(shown) == 10
        assert np.abs(shown[-1].astype(int) - COLOURS[2]).max() <= 4

    def test_frames_are_not_cut_where_the_sound_ends_first(self, ffmpeg: Path) -> None:
        data = frames_and_audio_to_mp4(coloured(20), music(0.5, 48_000), 48_000, 10, ffmpeg=ffmpeg)
        assert len(pictures_of(data)) == 20

    def test_one_channel_stays_one(self, ffmpeg: Path) -> None:
        data = frames_and_audio_to_mp4(coloured(5), music(0.5, 48_000)[0], 48_000, 10, ffmpeg=ffmpeg)
        with av.open(io.BytesIO(data)) as container:
            assert (container.streams.audio[0].channels, container.streams.audio[0].rate) == (1, 48_000)


class TestShapes:
    @settings(max_examples=12)
    @given(
        height=st.integers(1, 41),
        width=st.integers(1, 41),
        count=st.integers(1, 5),
        fps=st.sampled_from([1, 25, 60, Fraction(30_000, 1001)]),
    )
    def test_any_size_and_rate_keeps_every_frame_and_pads_to_even(
        self, height: int, width: int, count: int, fps: int | Fraction
    ) -> None:
        shown = pictures_of(frames_to_mp4_loop(coloured(count, height, width), fps, ffmpeg=BUNDLED))
        assert len(shown) == count
        assert shown[0].shape == (height + height % 2, width + width % 2, 3)
        assert np.abs(shown[-1].astype(int) - COLOURS[count - 1]).max() <= 6

    @pytest.mark.parametrize(
        ("frames", "error"),
        [
            (np.zeros((0, 4, 4, 3), np.uint8), EmptyFrames),
            (np.zeros((2, 0, 4, 3), np.uint8), EmptyFrames),
            ([], EmptyFrames),
            (np.zeros((4, 4, 3), np.uint8), WrongShape),
            (np.zeros((2, 4, 4, 4), np.uint8), WrongShape),
            (np.zeros((2, 4, 4, 3), np.float32), WrongDtype),
            ([np.zeros((4, 4, 3), np.float64)], WrongDtype),
            ([np.zeros((4, 4), np.uint8)], WrongShape),
            ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], WrongShape),
            # Both would be padded to 4×4.
            ([np.zeros((4, 4, 3), np.uint8), np.zeros((3, 4, 3), np.uint8)], WrongShape),
            (np.zeros((1, 4, 5000, 3), np.uint8), WrongValue),
        ],
    )
    def test_frames_that_are_none_each_have_their_error(
        self, frames: npt.NDArray[np.uint8], error: type[MediaError]
    ) -> None:
        with pytest.raises(error):
            frames_to_mp4_loop(frames, 30, ffmpeg=BUNDLED)

    @pytest.mark.parametrize(
        ("audio", "error"),
        [
            (np.zeros(0, np.float32), EmptyAudio),
            (np.zeros((2, 0), np.float32), EmptyAudio),
            (np.zeros((3, 800), np.float32), WrongShape),
            (np.zeros((800, 2), np.float32), WrongShape),
            (np.zeros((1, 1, 800), np.float32), WrongShape),
            (np.zeros(800, np.int16), WrongDtype),
            (np.full(800, np.nan, np.float32), WrongValue),
            (np.full(800, np.inf, np.float32), WrongValue),
        ],
    )
    def test_audio_that_is_none_each_has_its_error(
        self, audio: npt.NDArray[np.float32], error: type[MediaError]
    ) -> None:
        with pytest.raises(error):
            frames_and_audio_to_mp4(coloured(2), audio, 8_000, 10, ffmpeg=BUNDLED)

    @pytest.mark.parametrize("fps", [0, -1, 121])
    def test_a_rate_that_no_video_has(self, fps: int) -> None:
        with pytest.raises(WrongValue):
            frames_to_mp4_loop(coloured(2), fps, ffmpeg=BUNDLED)


class TestHandling:
    def test_long_videos_need_no_more_memory(self, tmp_path: Path) -> None:
        def peak_bytes(count: int) -> int:
            tracemalloc.start()
            frames = (np.full((240, 320, 3), index % 256, np.uint8) for index in range(count))
            write_mp4(tmp_path / "long.mp4", frames, 30, ffmpeg=BUNDLED)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak

        peak_bytes(2)  # what is imported meanwhile
        assert peak_bytes(200) < peak_bytes(10) + 240 * 320 * 3

    def test_an_empty_audio_file_is_refused(self, tmp_path: Path) -> None:
        with TrackWriter(tmp_path / "empty.wav", 48_000, 2):
            pass
        with pytest.raises(EmptyAudio):
            write_mp4(tmp_path / "clip.mp4", coloured(2), 10, audio=tmp_path / "empty.wav", ffmpeg=BUNDLED)

    def test_an_error_among_the_frames_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        class Cancelled(Exception):
            pass

        def frames() -> Iterator[Picture]:
            yield from coloured(5)
            raise Cancelled

        target = tmp_path / "clip.mp4"
        target.write_bytes(b"old")
        with pytest.raises(Cancelled):
            write_mp4(target, frames(), 10, ffmpeg=BUNDLED)
        assert target.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [target]

    def test_no_ffmpeg(self, tmp_path: Path) -> None:
        with pytest.raises(FfmpegMissing):
            frames_to_mp4_loop(coloured(2), 10, ffmpeg=tmp_path / "none")

    def test_ffmpeg_that_fails_is_quoted_and_leaves_nothing(self, tmp_path: Path) -> None:
        fake = tmp_path / "ffmpeg"
        fake.write_text("#!/bin/sh\necho 'no room' >&2\nexit 7\n")
        fake.chmod(0o755)
        with pytest.raises(FfmpegFailed, match="no room") as caught:
            write_mp4(tmp_path / "clip.mp4", coloured(200, 200, 200), 10, ffmpeg=fake)
        assert caught.value.exit_code == 7
        assert list(tmp_path.iterdir()) == [fake]

    def test_ffmpeg_that_stops_reading_has_failed_whatever_it_says(self, tmp_path: Path) -> None:
        fake = tmp_path / "ffmpeg"
        fake.write_text("#!/bin/sh\nexit 0\n")
        fake.chmod(0o755)
        with pytest.raises(FfmpegFailed):
            write_mp4(tmp_path / "clip.mp4", coloured(200, 200, 200), 10, ffmpeg=fake)

    def test_ffmpeg_that_hangs_is_killed_with_what_it_started(self, tmp_path: Path) -> None:
        fake = tmp_path / "ffmpeg"
        fake.write_text("#!/bin/sh\nsleep 600 &\nwait\n")
        fake.chmod(0o755)
        with pytest.raises(FfmpegTimedOut):
            write_mp4(tmp_path / "clip.mp4", coloured(200, 200, 200), 10, ffmpeg=fake, timeout_s=1.0)
