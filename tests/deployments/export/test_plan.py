"""What an export is: options that go together or are refused by name, and a hash that tells plans apart."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.export.licences import is_non_commercial, licence_of_line
from deployments.export.media_errors import WrongOption
from deployments.export.plan import ExportOptions, ExportPiece, ExportPlan, VideoOptions, download_options
from deployments.export.tags import Tags


class TestOptions:
    @pytest.mark.parametrize(
        ("name", "default"),
        [
            ("wav", (24, None)),
            ("flac", (24, None)),
            ("aiff", (24, None)),
            ("mp3", (None, "320k")),
            ("opus", (None, "192k")),
            ("m4a", (None, "256k")),
            ("mp4", (None, None)),
            ("daw", (None, None)),
        ],
    )
    def test_the_defaults(self, name: str, default: tuple[int | None, str | None]) -> None:
        options = ExportOptions(name, 48_000, 2)
        assert (options.bit_depth, options.bitrate) == default
        assert (options.video is not None) == (name == "mp4")

    @pytest.mark.parametrize(
        ("name", "change", "field"),
        [
            ("wma", {}, "format"),
            ("wav", {"bit_depth": 20}, "bit_depth"),
            ("wav", {"bitrate": "320k"}, "bitrate"),
            ("flac", {"bit_depth": 32}, "bit_depth"),
            ("mp3", {"bit_depth": 16}, "bit_depth"),
            ("mp3", {"bitrate": "999k"}, "bitrate"),
            ("mp3", {"rate_hz": 96_000}, "sample_rate_hz"),
            ("mp4", {"bit_depth": 16}, "bit_depth"),
            ("wav", {"start": 5, "end": 5}, "from"),
            ("wav", {"start": -1}, "from"),
            ("wav", {"fade_in_s": float("inf")}, "fade_in_s"),
            ("wav", {"tail_s": 61.0}, "tail_s"),
            ("wav", {"loudness_lufs": -5.0}, "loudness_lufs"),
            ("wav", {"true_peak_dbtp": 1.0}, "true_peak_dbtp"),
            ("wav", {"mix": (("drums", 40.0),)}, "mix.drums"),
            ("wav", {"mix": ()}, "mix"),
            ("wav", {"video": VideoOptions()}, "picture"),
            ("mp4", {"video": VideoOptions(loop=True), "loudness_lufs": -14.0}, "loudness_lufs"),
            ("daw", {"loudness_lufs": -14.0}, "loudness_lufs"),
            ("daw", {"mix": (("drums", 0.0),)}, "mix"),
            ("daw", {"fade_out_s": 1.0}, "fade_out_s"),
        ],
    )
    def test_what_does_not_go_together_is_refused_by_name(
        self, name: str, change: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(WrongOption) as refused:
            ExportOptions(**({"format": name, "rate_hz": 48_000, "channels": 2} | change))
        assert refused.value.field == field

    @pytest.mark.parametrize(
        ("change", "field"), [({"size": "1x1"}, "size"), ({"fps": 0}, "fps"), ({"picture": "oil"}, "picture")]
    )
    def test_what_no_video_is(self, change: dict[str, Any], field: str) -> None:
        with pytest.raises(WrongOption) as refused:
            VideoOptions(**change)
        assert refused.value.field == field

    def test_they_survive_a_record(self) -> None:
        options = ExportOptions(
            "mp4",
            48_000,
            2,
            start=3,
            end=99,
            mix=(("drums", -3.0), ("vocals", 0.0)),
            tags=Tags(title="Dawn", bpm=96.0, provenance={"seed": "1,2"}),
            video=VideoOptions("spectrogram", "1080x1080", 25, False, "Dawn"),
        )
        assert ExportOptions.from_record(json.loads(json.dumps(options.to_record()))) == options

    @pytest.mark.parametrize(
        ("name", "rate_hz", "file_hz"),
        [
            ("mp3", 4_000, 8_000),
            ("mp3", 44_101, 48_000),
            ("mp3", 96_000, 48_000),
            ("opus", 44_100, 48_000),
            ("flac", 65_535, 65_540),
            ("flac", 191_999, 192_000),
            ("wav", 96_000, 96_000),
        ],
    )
    def test_a_download_has_the_nearest_rate_of_its_format(
        self, name: str, rate_hz: int, file_hz: int
    ) -> None:
        assert download_options(name, rate_hz, 1).rate_hz == file_hz


@pytest.mark.parametrize(
    ("licence", "forbids"),
    [
        ("CC-BY-NC 4.0", True),
        ("CC-BY-NC-4.0", True),
        ("cc-by-nc-sa-4.0", True),
        ("research only (weights without a licence)", True),
        ("Stability Non-Commercial License", True),
        ("MIT", False),
        ("Apache-2.0", False),
        ("ENCODE licence", False),
        ("", False),
    ],
)
def test_a_licence_that_is_not_commercial_holds_for_the_whole_line(licence: str, forbids: bool) -> None:
    assert is_non_commercial(licence) == forbids
    assert licence_of_line(["MIT", licence]).endswith("(not for commercial use)") == forbids


# Few values, so that equal plans do come up.
digests = st.sampled_from(["0" * 64, "1" * 64, "f" * 64])
pieces = st.builds(
    ExportPiece,
    sha256=digests,
    samples=st.integers(1, 3),
    sample_rate_hz=st.sampled_from([44_100, 48_000]),
    channels=st.integers(1, 2),
    lead_in_sha256=st.none() | digests,
    stems=st.sampled_from([(), (("drums", "0" * 64),), (("drums", "1" * 64),)]),
)
options = st.sampled_from(
    [("wav", 16), ("wav", None), ("wav", 24), ("flac", 24), ("mp3", None), ("mp4", None)]
).flatmap(
    lambda case: st.builds(
        ExportOptions,
        format=st.just(case[0]),
        rate_hz=st.sampled_from([44_100, 48_000]),
        channels=st.integers(1, 2),
        bit_depth=st.just(case[1]),
        start=st.integers(0, 1),
        fade_in_s=st.sampled_from([0.0, 1.0]),
        tags=st.builds(Tags, title=st.text(max_size=2), comment=st.sampled_from(["", "a", "b"])),
    )
)
plans = st.builds(
    ExportPlan,
    pieces=st.lists(pieces, min_size=1, max_size=3).map(tuple),
    options=options,
    renderer_version=st.integers(1, 2),
    more=st.sampled_from([(), ("a",), ("a", "b")]),
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
                    dataclasses.replace(plan, more=(*plan.more, "c")),
                    dataclasses.replace(plan, options=dataclasses.replace(plan.options, rate_hz=32_000)),
                    dataclasses.replace(plan, options=dataclasses.replace(plan.options, tail_s=1.0)),
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

    def test_another_process_finds_the_same(self) -> None:
        source = (
            "from deployments.export.plan import *\n"
            "print(ExportPlan((ExportPiece('0' * 64, 5, 44100, 2, '1' * 64),),"
            " ExportOptions('mp3', 44100, 2, tags=Tags(title='é')), 3).hash())"
        )
        found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
        piece = ExportPiece("0" * 64, 5, 44_100, 2, "1" * 64)
        plan = ExportPlan((piece,), ExportOptions("mp3", 44_100, 2, tags=Tags(title="é")), 3)
        assert found.stdout.strip() == plan.hash()

    @pytest.mark.parametrize(
        "change", [{"sha256": "ABC"}, {"lead_in_sha256": "../x"}, {"samples": 0}, {"channels": 0}]
    )
    def test_what_is_no_piece(self, change: dict[str, Any]) -> None:
        good = ExportPiece("0" * 64, 100, 8_000, 1)
        with pytest.raises(ValueError, match=r"SHA-256|at least one"):
            dataclasses.replace(good, **change)

    def test_an_export_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="at least one piece"):
            ExportPlan((), ExportOptions("wav", 8_000, 1), 1)
