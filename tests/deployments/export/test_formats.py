from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deployments.audio.wav import encode_wav
from deployments.export.ffmpeg import run_ffmpeg
from deployments.export.formats import (
    FORMATS,
    AudioEncoding,
    CoverPlace,
    Kind,
    encode_arguments,
    format_named,
)
from deployments.export.media_errors import MediaError, WrongValue
from deployments.export.mp3_length import correct_mp3_length
from deployments.export.tags import Tags, TagStyle, id3_key, tag_arguments, write_cover
from tests.deployments.export.referee import BUNDLED, EVERY_FFMPEG, decoded
from tests.support.clips import music

AUDIO = [form for form in FORMATS.values() if form.kind is Kind.AUDIO]
TAGS = Tags(
    title="Dämmerung / 中 🎵",
    artist="Segue",
    comment="second take",
    licence="CC-BY-NC-4.0",
    key="F# minor",
    bpm=97.6,
    provenance={"seed": "42", "chain": "247601fc", "nodes": "a,b"},
)


def encode(
    name: str,
    folder: Path,
    rate_hz: int = 48_000,
    samples: int = 30_001,
    *,
    ffmpeg: Path = BUNDLED,
    **options: object,
) -> tuple[Path, np.ndarray]:
    form = FORMATS[name]
    sound = music(samples / rate_hz, rate_hz)[:, :samples]
    sound = (np.round(sound * 32768) / 32768).astype(np.float32)
    sound[1] *= 0.5
    sound = (np.round(sound * 32768) / 32768).astype(np.float32)
    (folder / "source.wav").write_bytes(encode_wav(sound, rate_hz))
    target = folder / f"line{form.suffix}"
    wanted = {key: options.pop(key) for key in ("bit_depth", "quality") if key in options}
    encoding = AudioEncoding(form, rate_hz, 2, **wanted)
    arguments = encode_arguments(encoding, folder / "source.wav", target, **options)
    asyncio.run(run_ffmpeg(arguments, ffmpeg=ffmpeg, timeout_s=60))
    return target, sound


CASES = [
    (form.name, rate_hz, choice)
    for form in AUDIO
    for rate_hz in (32_000, 44_100, 48_000)
    if form.rate_for(rate_hz) == rate_hz
    for choice in ([{"bit_depth": d} for d in form.depths] or [{"quality": q} for q in form.qualities])
]


@pytest.mark.parametrize(("name", "rate_hz", "choice"), CASES)
def test_nothing_shifts_and_nothing_is_cut(
    name: str, rate_hz: int, choice: dict[str, object], tmp_path: Path
) -> None:
    path, sound = encode(name, tmp_path, rate_hz, 29_989, **choice)
    if name == "mp3":
        correct_mp3_length(path, sound.shape[1])
    heard = decoded(path)
    assert heard.shape == sound.shape
    if FORMATS[name].lossless:
        assert np.array_equal(heard, sound)
        return
    spectrum = np.fft.rfft(sound[0], 2**17) * np.conj(np.fft.rfft(heard[0], 2**17))
    assert int(np.fft.irfft(spectrum).argmax()) == 0
    assert float(np.corrcoef(sound[1], heard[1])[0, 1]) > 0.99


@pytest.mark.parametrize("ffmpeg", EVERY_FFMPEG, ids=lambda path: path.name)
@pytest.mark.parametrize("rate_hz", [22_050, 44_100])
@pytest.mark.parametrize("samples", [100, 575, 1_152, 29_953, 29_980, 29_998, 29_999, 30_001])
def test_an_mp3_has_its_exact_length_whatever_that_is(
    ffmpeg: Path, rate_hz: int, samples: int, tmp_path: Path
) -> None:
    cover = cover_of("mp3", tmp_path)
    path, sound = encode("mp3", tmp_path, rate_hz, samples, ffmpeg=ffmpeg, tags=TAGS, cover=cover)
    correct_mp3_length(path, sound.shape[1])
    assert decoded(path).shape == (2, samples)
    assert soundfile.info(path).frames == samples


def test_the_length_of_what_is_no_mp3_of_ours_is_refused(tmp_path: Path) -> None:
    path, sound = encode("mp3", tmp_path)
    for wrong in (-5_000, 5_000):
        with pytest.raises(WrongValue):
            correct_mp3_length(path, sound.shape[1] + wrong)
    (tmp_path / "other").write_bytes(bytes(3_000))
    with pytest.raises(WrongValue):
        correct_mp3_length(tmp_path / "other", 100)


@pytest.mark.parametrize("bit_depth", [16, 24, 32])
def test_wav_has_the_depth_that_was_asked_for(bit_depth: int, tmp_path: Path) -> None:
    path, _ = encode("wav", tmp_path, bit_depth=bit_depth)
    with soundfile.SoundFile(path) as sound:
        assert sound.subtype == {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}[bit_depth]


@pytest.mark.parametrize("ffmpeg", EVERY_FFMPEG, ids=lambda path: path.name)
@pytest.mark.parametrize("form", AUDIO, ids=lambda form: form.name)
def test_equal_input_is_equal_bytes_with_tags_and_cover(ffmpeg: Path, form: object, tmp_path: Path) -> None:
    def once() -> bytes:
        cover = cover_of(form.name, tmp_path)
        return encode(form.name, tmp_path, ffmpeg=ffmpeg, tags=TAGS, cover=cover)[0].read_bytes()

    assert once() == once()


def cover_of(name: str, folder: Path) -> Path | None:
    place = FORMATS[name].cover
    if place is CoverPlace.NONE:
        return None
    file = io.BytesIO()
    Image.new("RGB", (60, 40), (200, 30, 30)).save(file, "JPEG")
    return write_cover(file.getvalue(), 60, 40, folder, as_comment=place is CoverPlace.COMMENT)


def tags_of(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        found = {**container.metadata, **container.streams.audio[0].metadata}
    return {name.lower(): text for name, text in found.items()}


@pytest.mark.parametrize("form", AUDIO, ids=lambda form: form.name)
def test_another_program_reads_the_tags(form: object, tmp_path: Path) -> None:
    path, _ = encode(form.name, tmp_path, tags=TAGS, cover=cover_of(form.name, tmp_path))
    found = tags_of(path)
    assert (found["title"], found["artist"]) == ("Dämmerung / 中 🎵", "Segue")
    assert "CC-BY-NC-4.0" in (found["copyright"], found.get("license"))
    match form.tag_style:
        case TagStyle.ID3:
            assert (found["tbpm"], found["tkey"], found["segue_seed"]) == ("98", "F#m", "42")
            assert (found["segue_chain"], found["segue_nodes"]) == ("247601fc", "a,b")
        case TagStyle.VORBIS:
            assert (found["bpm"], found["key"], found["segue_seed"]) == ("97.6", "F# minor", "42")
            assert (found["segue_chain"], found["comment"]) == ("247601fc", "second take")
        case _:
            said = json.loads(found["comment"])
            assert (said["seed"], said["chain"], said["licence"]) == ("42", "247601fc", "CC-BY-NC-4.0")
            assert (said["bpm"], said["key"], said["comment"]) == (97.6, "F# minor", "second take")
    if form.tag_style is TagStyle.ITUNES:
        data = path.read_bytes()
        tempo = data.index(b"tmpo") + 20
        assert int.from_bytes(data[tempo : tempo + 2], "big") == 98


@pytest.mark.parametrize(
    "form", [form for form in AUDIO if form.cover is not CoverPlace.NONE], ids=lambda f: f.name
)
def test_another_program_shows_the_cover(form: object, tmp_path: Path) -> None:
    path, _ = encode(form.name, tmp_path, tags=TAGS, cover=cover_of(form.name, tmp_path))
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == (40, 60, 3)
    assert np.abs(picture[20, 30].astype(int) - (200, 30, 30)).max() < 12


def test_a_bare_file_says_nothing(tmp_path: Path) -> None:
    assert tags_of(encode("flac", tmp_path)[0]) == {}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("wav", {"quality": "320k"}),
        ("wav", {"bit_depth": 20}),
        ("flac", {"bit_depth": 32}),
        ("mp3", {"bit_depth": 16}),
        ("mp3", {"quality": "999k"}),
        ("mp3", {"rate_hz": 96_000}),
        ("opus", {"rate_hz": 44_100}),
        ("wav", {"rate_hz": 0}),
        ("wav", {"rate_hz": 384_000}),
        ("wav", {"channels": 6}),
        ("mp4", {}),
        ("daw", {}),
    ],
)
def test_what_a_format_cannot_hold_is_refused(name: str, wrong: dict[str, object]) -> None:
    with pytest.raises(WrongValue):
        AudioEncoding(FORMATS[name], **({"rate_hz": 48_000, "channels": 2} | wrong))


def test_an_unknown_format_is_answered_with_the_known_ones() -> None:
    assert format_named("opus").mime_type == "audio/ogg"
    with pytest.raises(MediaError, match=r"'wma'; there are wav, flac"):
        format_named("wma")


@given(st.integers(1, 400_000))
def test_the_rate_of_a_file_is_one_that_its_format_knows(rate_hz: int) -> None:
    for form in AUDIO:
        chosen = form.rate_for(rate_hz)
        assert AudioEncoding(form, chosen, 2).rate_hz == chosen
        assert chosen >= min(rate_hz, 48_000)
        assert form.rate_for(chosen) == chosen


@pytest.mark.parametrize(
    ("key", "short"),
    [
        ("F# minor", "F#m"),
        ("Bb major", "Bb"),
        ("a min", "Am"),
        ("E♭", "Eb"),
        ("C", "C"),
        ("", ""),
        ("atonal", ""),
    ],
)
def test_keys_as_id3_writes_them(key: str, short: str) -> None:
    assert id3_key(key) == short


@given(st.text(max_size=100), st.sampled_from(TagStyle))
def test_any_text_becomes_arguments_that_a_program_can_be_given(text: str, style: TagStyle) -> None:
    tags = Tags(title=text, comment=text, licence=text, provenance={"seed": text})
    for argument in tag_arguments(tags, style):
        assert "\0" not in argument
        argument.encode()


def test_tags_that_no_file_can_hold_are_refused() -> None:
    for wrong in ({"bpm": 0.0}, {"bpm": float("nan")}, {"provenance": {"A b": "x"}}):
        with pytest.raises(WrongValue):
            Tags(**wrong)
    with pytest.raises(WrongValue):
        Tags(provenance={f"n{index}": "x" * 2_000 for index in range(100)})
