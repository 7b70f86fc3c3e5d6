"""Clips of composers with habits of their own, and of the one whose music nothing is chosen or trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from training.corpus import other_generator
from training.corpus.clips import Clip, corpus_folder
from training.corpus.habits import (
    blues,
    classical_periods,
    folk_tunes,
    house,
    modal_vamps,
    pop_loops,
    slow_strings,
)
from training.corpus.habits.sheet import Song
from training.corpus.render import named_sound_font, render_voices

HABITS: Mapping[str, Callable[[int], Song]] = MappingProxyType(
    {
        "pop loops": pop_loops.compose,
        "modal vamps": modal_vamps.compose,
        "folk tunes": folk_tunes.compose,
        "slow strings": slow_strings.compose,
        "classical periods": classical_periods.compose,
        "blues": blues.compose,
        "house": house.compose,
    }
)
"""The composers for development."""

HABIT_SEEDS = range(40_000, 40_090)
"""Of each habit: for whatever is chosen or trained."""

OTHER = "other generator"
OTHER_SEEDS = range(50_000, 50_160)
"""For figures that are told, and nothing else."""


def habit_clips(habit: str, seeds: Iterable[int], folder: Path | None = None) -> Iterator[Clip]:
    """The clip of each seed, by the composer of `HABITS` or, for `OTHER`, by the one that is held out. `stratum`
    is the habit; the other generator's is `OTHER` with what kind of music it is. Raises RendererMissing."""
    compose = other_generator.compose if habit == OTHER else HABITS[habit]
    for seed in seeds:
        song = compose(seed)
        path = render_voices(
            song.voices,
            f"{song.habit.replace(' ', '-')}-{seed}",
            folder or corpus_folder(),
            named_sound_font(song.font),
            lead_s=song.lead_s,
            duration_s=song.duration_s,
            tuning_cents=song.tuning_cents,
        )
        yield Clip(seed, song.habit, "none", path, song.truth)
