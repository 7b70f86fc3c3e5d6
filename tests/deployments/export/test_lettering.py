from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.export.lettering import letter


@pytest.mark.parametrize("character", ["ä", "é", "Ж", "λ", "ø", "€", "№", "–", "“"])
def test_letters_of_many_languages_are_set(character: str) -> None:
    assert letter(character, 40, 400).sum() > 20


def test_each_letter_is_another_picture() -> None:
    assert not np.array_equal(letter("Mood A", 40, 400), letter("Mood Ä", 40, 400))


def test_what_the_font_lacks_is_left_out_or_spelled() -> None:
    plain = letter("In F# minor", 40, 900)
    assert np.array_equal(letter("In F♯ minor \U0001f3b5 中", 40, 900), plain)
    assert letter("\U0001f3b5中\n\t ", 40, 900).shape[1] == 0


def test_a_long_title_is_cut_with_an_ellipsis() -> None:
    long = letter("wind " * 60, 40, 300)
    assert long.shape[0] == 40
    assert 200 < long.shape[1] <= 300


@settings(max_examples=60)
@given(st.text(max_size=300), st.integers(1, 80), st.integers(1, 500))
def test_any_text_fits(text: str, height_px: int, max_width_px: int) -> None:
    ink = letter(text, height_px, max_width_px)
    assert ink.shape[0] == max(8, height_px)
    assert ink.shape[1] <= max_width_px
    assert ink.dtype == np.float32
    assert np.all((ink >= 0) & (ink <= 1))
