from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from wavinfo import WavInfoReader

from deployments.export.media_errors import WrongValue
from deployments.export.wav_chunks import (
    MAX_MARKERS,
    Broadcast,
    Marker,
    acid_chunk,
    append_chunks,
    ascii_text,
    bext_chunk,
    ixml_chunk,
    marker_chunks,
)
from tests.deployments.export.referee import described
from tests.support.clips import music

RATE_HZ = 8_000


def written(folder: Path, samples: int = 801, subtype: str = "PCM_24") -> Path:
    path = folder / "take.wav"
    soundfile.write(path, music(1, RATE_HZ, 1)[:, :samples].T, RATE_HZ, subtype)
    return path


@pytest.mark.parametrize("samples", [800, 801])
def test_all_chunks_are_read_back_and_the_samples_are_unchanged(samples: int, tmp_path: Path) -> None:
    path = written(tmp_path, samples)
    before, data = soundfile.read(path, dtype="int32")[0], path.read_bytes()
    said = Broadcast(
        "Dämmerung",
        "Segue",
        "abc123",
        "2026-01-02",
        "03:04:05",
        2**33 + 7,
        -14.25,
        -1.5,
        "A=PCM,F=8000,W=24\r\n",
    )
    markers = [Marker(700, "seam 2"), Marker(3, "seam 1")]
    append_chunks(
        path,
        [
            bext_chunk(said),
            *marker_chunks(markers),
            acid_chunk(97.5, 8),
            ixml_chunk({"PROJECT": "A & B", "NOTE": "ü"}),
        ],
    )
    assert path.read_bytes()[8 : len(data)] == data[8:]
    assert np.array_equal(soundfile.read(path, dtype="int32")[0], before)
    info = WavInfoReader(str(path))
    assert (info.bext.description, info.bext.originator_ref) == ("Dammerung", "abc123")
    assert info.bext.time_reference == 2**33 + 7
    assert (info.bext.loudness_value, info.bext.max_true_peak) == (-14.25, -1.5)
    assert info.bext.coding_history.startswith("A=PCM")
    assert (info.bext.originator_date, info.bext.originator_time) == ("2026-01-02", "03:04:05")
    found = {cue.name: cue.sample_offset for cue in info.cues.cues}
    assert [info.cues.label_and_note(cue.name)[0] for cue in info.cues.cues] == ["seam 1", "seam 2"]
    assert list(found.values()) == [3, 700]
    assert info.ixml.project == "A & B"
    assert info.data.frame_count == samples


def test_ffmpeg_shows_the_markers_as_chapters(tmp_path: Path) -> None:
    path = written(tmp_path)
    append_chunks(path, marker_chunks([Marker(0, "begin"), Marker(400, "seam")]))
    said = described(path)
    assert "start 0.050000" in said
    assert "seam" in said


def test_the_acid_chunk_is_laid_out_as_loop_browsers_read_it() -> None:
    name, body = acid_chunk(97.5, 8, (3, 4))
    assert (name, len(body)) == (b"acid", 24)
    assert struct.unpack_from("<I", body, 12) == (8,)
    assert struct.unpack_from("<HHf", body, 16) == (4, 3, 97.5)


def test_nothing_to_add_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = path.read_bytes()
    append_chunks(path, marker_chunks([]))
    assert path.read_bytes() == before


def sparse(path: Path, data_bytes: int, *, room: bool = True) -> None:
    """A WAV of silence that takes no room on disk, in the layout of ffmpeg's `-rf64 auto`."""
    rf64 = data_bytes + 100 > 2**32
    junk = struct.pack(
        "<4sIQQQI", b"ds64" if rf64 else b"JUNK", 28, data_bytes + 72, data_bytes, data_bytes // 2, 0
    )
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    size = 0xFFFFFFFF if rf64 else data_bytes
    body = b"WAVE" + (junk if room else b"") + fmt + struct.pack("<4sI", b"data", size)
    with path.open("wb") as file:
        file.write(
            struct.pack("<4sI", b"RF64" if rf64 else b"RIFF", 0xFFFFFFFF if rf64 else len(body) + data_bytes)
        )
        file.write(body)
        file.truncate(8 + len(body) + data_bytes)


@pytest.mark.parametrize("data_bytes", [2**32 - 120, 2**32 + 4_000])
def test_a_file_past_4_gib_is_rf64(data_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    sparse(path, data_bytes)
    append_chunks(path, marker_chunks([Marker(5, "begin"), Marker(data_bytes // 2 - 1, "end")]))
    with path.open("rb") as file:
        head = file.read(80)
        assert head[:4] == b"RF64"
        riff_size, said_data, samples = struct.unpack_from("<QQQ", head, 20)
    assert (riff_size, said_data, samples) == (path.stat().st_size - 8, data_bytes, data_bytes // 2)
    with soundfile.SoundFile(path) as sound:
        assert (sound.format, sound.frames) == ("RF64", data_bytes // 2)
    info = WavInfoReader(str(path))
    assert [cue.sample_offset for cue in info.cues.cues] == [5, data_bytes // 2 - 1]


def test_a_file_without_room_for_rf64_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    sparse(path, 2**32 - 120, room=False)
    size = path.stat().st_size
    with pytest.raises(WrongValue):
        append_chunks(path, marker_chunks([Marker(5, "begin"), Marker(6, "end")]))
    assert path.stat().st_size == size


@pytest.mark.parametrize("content", [b"", b"OggS" + bytes(100), b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEfmt "])
def test_what_is_no_wav_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(WrongValue):
        append_chunks(path, [acid_chunk(100, 4)])
    assert path.read_bytes() == content


def test_too_many_markers_and_impossible_ones_are_refused() -> None:
    with pytest.raises(WrongValue, match="9999 markers, not 10000"):
        marker_chunks([Marker(0, "")] * (MAX_MARKERS + 1))
    for at in (-1, 2**32):
        with pytest.raises(WrongValue):
            marker_chunks([Marker(at, "x")])
    with pytest.raises(WrongValue):
        ixml_chunk({"<x>": ""})


@settings(max_examples=40)
@given(
    markers=st.lists(st.tuples(st.integers(0, 2**32 - 1), st.text(max_size=40)), min_size=1, max_size=6),
    description=st.text(max_size=400),
)
def test_any_text_makes_chunks_that_are_read_back(
    markers: list[tuple[int, str]], description: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = written(tmp_path_factory.mktemp("chunks"), 11)
    append_chunks(
        path,
        [
            bext_chunk(Broadcast(description)),
            *marker_chunks([Marker(at, name) for at, name in markers]),
            ixml_chunk({"NOTE": description}),
        ],
    )
    info = WavInfoReader(str(path))
    assert sorted(cue.sample_offset for cue in info.cues.cues) == sorted(at for at, _ in markers)
    assert len(soundfile.read(path)[0]) == 11
    assert ascii_text(description).isascii()
