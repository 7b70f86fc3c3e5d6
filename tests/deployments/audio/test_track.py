from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.audio.track import TrackReader, TrackWriter
from deployments.audio.wav import NotOurWav, decode_wav, encode_wav


def _noise(channels: int, samples: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((channels, samples)).astype(np.float32)


@given(
    cuts=st.lists(st.integers(0, 700), max_size=6),
    channels=st.integers(1, 2),
    start=st.integers(-50, 2000),
    count=st.integers(0, 900),
)
def test_a_track_written_in_pieces_is_the_same_file_and_is_read_anywhere(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], channels: int, start: int, count: int
) -> None:
    path = tmp_path_factory.mktemp("track") / "track.wav"
    whole = _noise(channels, sum(cuts))
    with TrackWriter(path, 22_050, channels) as writer:
        for piece in np.split(whole, np.cumsum(cuts), axis=1):
            writer.append(piece)
    assert path.read_bytes() == encode_wav(whole, 22_050)
    reader = TrackReader(path)
    assert (reader.samples, reader.channels, reader.rate_hz) == (whole.shape[1], channels, 22_050)
    around = np.pad(whole, ((0, 0), (50, 3000)))
    np.testing.assert_array_equal(reader.read(start, count), around[:, start + 50 : start + 50 + count])
    blocks = list(reader.blocks(256))
    assert np.array_equal(np.concatenate([whole[:, :0], *blocks], axis=1), whole)


def test_a_track_that_was_not_finished_leaves_no_file(tmp_path: Path) -> None:
    def write() -> None:
        with TrackWriter(tmp_path / "t.wav", 8000, 1) as writer:
            writer.append(_noise(1, 10))
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_short_is_no_track(tmp_path: Path) -> None:
    path = tmp_path / "t.wav"
    path.write_bytes(encode_wav(_noise(2, 100), 8000)[:-4])
    with pytest.raises(NotOurWav, match="the file has others"):
        TrackReader(path)


def test_more_than_a_wav_can_hold_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with TrackWriter(tmp_path / "t.wav", 8000, 1) as writer:
        writer.samples = 2**30
        with pytest.raises(ValueError, match="more than a WAV can hold"):
            writer.append(_noise(1, 1))
        writer.samples = 0
    assert decode_wav((tmp_path / "t.wav").read_bytes())[0].shape == (1, 0)
