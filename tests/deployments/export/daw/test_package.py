from __future__ import annotations

import io
import json
import zipfile
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from defusedxml import ElementTree
from hypothesis import given
from hypothesis import strategies as st
from wavinfo import WavInfoReader

from deployments.audio.samples import Samples
from deployments.audio.track import TrackWriter
from deployments.export.daw.midi import write_midi
from deployments.export.daw.package import Contents, LineClip, RawTake, write_package
from deployments.export.daw.tempo import TempoMap, constant_tempo, tempo_map
from deployments.export.media_errors import EmptyAudio, WrongValue
from tests.support.clips import music

RATE_HZ = 8_000
NAMES = ["upload / 中 🎵", "../../etc", "take"]


def stored(samples: Samples, path: Path) -> Path:
    with TrackWriter(path, RATE_HZ, samples.shape[0]) as writer:
        writer.append(samples)
    return path


def contents_of(folder: Path, **changes: object) -> Contents:
    parts = [music(6, RATE_HZ, seed=seed) * np.float32(0.4) for seed in (1, 2, 3)]
    mix = sum(parts[1:], parts[0])
    beats_s = np.cumsum([0.31, *np.random.default_rng(1).uniform(0.45, 0.55, 9)])
    fields: dict[str, object] = {
        "title": "Dawn & <dusk>",
        "mix": stored(mix, folder / "mix.f32.wav"),
        "clips": [
            LineClip(name, a, b)
            for name, (a, b) in zip(NAMES, pairwise([0, 15_001, 30_000, 48_000]), strict=True)
        ],
        "tempo": tempo_map(beats_s.tolist(), 6.0, 3),
        "stems": {
            name: stored(part, folder / f"{name}.f32") for name, part in zip("abc", parts, strict=True)
        },
        "takes": [RawTake("raw", stored(parts[0][:, :9_000], folder / "raw.f32"), 15_001)],
        "key": "F# minor",
        "provenance": {"seed": 7},
        "chain": {"title": "Dämmerung"},
    }
    return Contents(**(fields | changes))


@pytest.fixture
def package(tmp_path: Path) -> zipfile.ZipFile:
    write_package(tmp_path / "line.zip", contents_of(tmp_path))
    return zipfile.ZipFile(tmp_path / "line.zip")


def heard(package: zipfile.ZipFile, name: str) -> np.ndarray:
    with soundfile.SoundFile(io.BytesIO(package.read(name))) as sound:
        assert (sound.subtype, sound.samplerate) == ("PCM_24", RATE_HZ)
        return sound.read(dtype="int32").T >> 8


def under(package: zipfile.ZipFile, folder: str) -> list[str]:
    return sorted(name for name in package.namelist() if name.startswith(folder))


def test_clips_end_to_end_are_the_mix(package: zipfile.ZipFile) -> None:
    clips = [heard(package, name) for name in under(package, "clips/")]
    assert np.array_equal(np.concatenate(clips, axis=1), heard(package, "mix.wav"))


def test_the_mix_is_the_line_and_the_stems_together_are_the_mix(
    package: zipfile.ZipFile, tmp_path: Path
) -> None:
    mix = heard(package, "mix.wav")
    line = soundfile.read(tmp_path / "mix.f32.wav", dtype="float64")[0].T
    assert np.abs(mix - line * 2**23).max() <= 0.5
    stems = [heard(package, name) for name in under(package, "stems/")]
    assert len(stems) == 3
    assert np.abs(sum(stems) - mix).max() == 0


def test_stems_that_miss_a_part_of_the_mix_get_it_as_a_residual(tmp_path: Path) -> None:
    whole = contents_of(tmp_path)
    some = {name: path for name, path in whole.stems.items() if name != "b"}
    write_package(tmp_path / "line.zip", contents_of(tmp_path, stems=some))
    with zipfile.ZipFile(tmp_path / "line.zip") as package:
        stems = under(package, "stems/")
        assert stems[-1] == "stems/3 residual.wav"
        assert np.abs(sum(heard(package, name) for name in stems) - heard(package, "mix.wav")).max() == 0
        missing = soundfile.read(tmp_path / "b.f32", dtype="float64")[0].T
        assert np.abs(heard(package, stems[-1]) / 2**23 - missing).max() < 1e-6


def test_each_file_knows_its_place(package: zipfile.ZipFile, tmp_path: Path) -> None:
    package.extractall(tmp_path / "out")
    places = [
        WavInfoReader(str(tmp_path / "out" / name)).bext.time_reference
        for name in [
            *under(package, "clips/"),
            *under(package, "takes/"),
            *under(package, "stems/"),
            "mix.wav",
        ]
    ]
    assert places == [0, 15_001, 30_000, 15_001, 0, 0, 0, 0]
    cues = WavInfoReader(str(tmp_path / "out" / "mix.wav")).cues.cues
    assert [cue.sample_offset for cue in cues] == [0, 15_001, 30_000]


def test_names_are_ones_that_every_system_takes(package: zipfile.ZipFile) -> None:
    assert under(package, "clips/") == ["clips/1 upload.wav", "clips/2 etc.wav", "clips/3 take.wav"]


def test_equal_contents_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        write_package(tmp_path / name, contents_of(tmp_path))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert json.loads(zipfile.ZipFile(tmp_path / "one.zip").read("chain.json")) == {"title": "Dämmerung"}


def test_the_project_plays_each_clip_at_its_sample(package: zipfile.ZipFile) -> None:
    inner = zipfile.ZipFile(io.BytesIO(package.read("line.dawproject")))
    root = ElementTree.fromstring(inner.read("project.xml"))
    tempi = [(float(p.get("time")), float(p.get("value"))) for p in root.iter("RealPoint")]
    beats = [time for time, _ in tempi]
    starts_s = np.cumsum(
        [0.0, *(60.0 / bpm * (b - a) for (a, bpm), b in zip(tempi, beats[1:], strict=False))]
    )

    def seconds(beat: float) -> float:
        index = int(np.searchsorted(beats, beat, "right")) - 1
        return float(starts_s[index] + (beat - beats[index]) * 60.0 / tempi[index][1])

    for clip in root.iter("Clip"):
        start_s = seconds(float(clip.get("time")))
        length_s = seconds(float(clip.get("time")) + float(clip.get("duration"))) - start_s
        path = clip.find("Audio/File").get("path")
        file = heard(package, path)
        assert length_s * RATE_HZ == pytest.approx(file.shape[1], abs=1e-3)
        assert float(clip.find("Audio").get("duration")) == file.shape[1] / RATE_HZ
        assert path in inner.namelist()
    first_track = next(root.iter("Clips"))
    starts = [seconds(float(clip.get("time"))) * RATE_HZ for clip in first_track]
    assert starts == pytest.approx([0, 15_001, 30_000], abs=1e-3)
    marks = [seconds(float(mark.get("time"))) * RATE_HZ for mark in root.iter("Marker")]
    assert marks == pytest.approx([0, 15_001, 30_000], abs=1e-3)


def test_the_project_has_its_elements_in_the_schemas_order_and_its_references(
    package: zipfile.ZipFile,
) -> None:
    inner = zipfile.ZipFile(io.BytesIO(package.read("line.dawproject")))
    root = ElementTree.fromstring(inner.read("project.xml"))
    order = {
        "Project": ["Application", "Transport", "Structure", "Arrangement", "Scenes"],
        "Transport": ["Tempo", "TimeSignature"],
        "Arrangement": ["Lanes", "Markers", "TempoAutomation", "TimeSignatureAutomation"],
        "Channel": ["Mute", "Pan", "Volume"],
    }
    for name, children in order.items():
        for element in root.iter(name):
            assert [child.tag for child in element] == children
    for points in (*root.iter("TempoAutomation"), *root.iter("TimeSignatureAutomation")):
        assert next(iter(points)).tag == "Target"
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    references = [
        element.get(name) for element in root.iter() for name in ("track", "destination", "parameter")
    ]
    assert set(filter(None, references)) <= set(ids)
    muted = {track.get("name"): track.find("Channel/Mute").get("value") for track in root.iter("Track")}
    assert (muted["Committed line"], muted["raw"], muted["Stems"], muted["Master"]) == (
        "false",
        "true",
        "true",
        "false",
    )
    assert ElementTree.fromstring(inner.read("metadata.xml")).findtext("Title") == "Dawn & <dusk>"


def test_reapers_project_names_files_that_are_there(package: zipfile.ZipFile) -> None:
    text = package.read("line.rpp").decode()
    files = [line.split('"')[1] for line in text.splitlines() if line.strip().startswith("FILE ")]
    assert sorted(files) == sorted(name for name in package.namelist() if "/" in name)
    starts = [
        float(line.split()[1]) * RATE_HZ for line in text.splitlines() if line.strip().startswith("POSITION")
    ]
    assert starts[:3] == pytest.approx([0, 15_001, 30_000], abs=1e-6)
    assert text.count("<") - text.count("<dusk") == sum(line.strip() == ">" for line in text.splitlines())


@pytest.mark.parametrize(
    "changes",
    [
        {"clips": []},
        {"clips": [LineClip("a", 0, 100)]},
        {"clips": [LineClip("a", 0, 30_000), LineClip("b", 29_000, 48_000)]},
        {"clips": [LineClip("a", 0, 0), LineClip("b", 0, 48_000)]},
        {"clips": [LineClip("a", 0, 1)] * 10_000},
    ],
)
def test_clips_that_are_not_the_line_are_refused_and_leave_nothing(
    changes: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(WrongValue):
        write_package(tmp_path / "line.zip", contents_of(tmp_path, **changes))
    assert not list(tmp_path.glob("*.zip*"))


def test_stems_of_another_length_and_an_empty_line_are_refused(tmp_path: Path) -> None:
    short = stored(music(1, RATE_HZ), tmp_path / "short")
    with pytest.raises(WrongValue, match="'a'"):
        write_package(tmp_path / "line.zip", contents_of(tmp_path, stems={"a": short}))
    empty = stored(np.zeros((2, 0), np.float32), tmp_path / "empty")
    with pytest.raises(EmptyAudio):
        write_package(tmp_path / "line.zip", contents_of(tmp_path, mix=empty))


def beat_times_s(data: bytes) -> list[float]:
    """As mido reads them: the time of each click."""
    file, times_s = mido.MidiFile(file=io.BytesIO(data)), []
    at_s, tempo = 0.0, 500_000
    for message in mido.merge_tracks(file.tracks):
        at_s += message.time * tempo * 1e-6 / file.ticks_per_beat
        if message.type == "set_tempo":
            tempo = message.tempo
        if message.type == "note_on":
            times_s.append(at_s)
    return times_s


@given(
    first_s=st.floats(0, 5),
    steps_s=st.lists(st.floats(0.2, 2.0), min_size=1, max_size=60),
    beats_per_bar=st.integers(1, 7),
)
def test_every_beat_is_within_a_microsecond(first_s: float, steps_s: list[float], beats_per_bar: int) -> None:
    beats_s = np.cumsum([first_s, *steps_s]).tolist()
    tempo = tempo_map(beats_s, beats_s[-1] + 1.0, beats_per_bar)
    assert tempo.times_s[0] == 0.0
    assert tempo.times_s[-1] >= beats_s[-1] + 1.0
    assert set(beats_s[1:]) <= set(tempo.times_s)
    clicks_s = beat_times_s(write_midi(tempo))
    assert clicks_s == pytest.approx(tempo.times_s[:-1], abs=1e-6)
    for time_s in beats_s[1:]:
        assert tempo.beat_at(time_s) == pytest.approx(tempo.times_s.index(time_s), abs=1e-9)


def test_markers_key_and_bars_are_in_the_map() -> None:
    data = write_midi(tempo_map([1.0, 1.5, 2.0], 4.0, 3), [(1.5, "seam ü")], title="x", key="F# minor")
    file = mido.MidiFile(file=io.BytesIO(data), charset="utf-8")
    found = {message.type: message for message in file.tracks[0]}
    assert found["marker"].text == "seam ü"
    assert found["key_signature"].key == "F#m"
    bars = [(m.numerator, m.denominator) for m in file.tracks[0] if m.type == "time_signature"]
    assert bars == [(2, 4), (3, 4)]
    assert file.length == pytest.approx(4.0, abs=1e-3)


def test_without_a_grid_the_tempo_is_constant() -> None:
    assert tempo_map([], 3.2) == constant_tempo(3.2) == TempoMap(tuple(i * 0.5 for i in range(8)))
    for wrong in ([1.0, 0.5], [0.5, 0.51], [0.0, 100.0], [float("nan"), 1.0], [-1.0, 0.0]):
        with pytest.raises(WrongValue):
            tempo_map(wrong, 3.0)
