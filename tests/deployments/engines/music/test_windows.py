from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.music.windows import LOOK_AHEAD_FRAMES, GenerationPlan

WINDOW, STRIDE, DELAY, RATE_HZ = 1500, 900, 3, 50.0

plans = st.builds(
    GenerationPlan,
    prompt=st.integers(0, WINDOW - 1),
    new=st.integers(1, 6000),
    window=st.just(WINDOW),
    stride=st.just(STRIDE),
    pattern_delay=st.just(DELAY),
)


def _audiocraft_walk(duration_s: float, window_s: float, prompt: int) -> list[tuple[int, int]]:
    """(prompt, length) of every pass, by the arithmetic of audiocraft 1.3.0's `MusicGen._generate_tokens`."""
    total = int(duration_s * RATE_HZ)
    if duration_s <= window_s:
        return [(prompt, total)]
    passes, offset = [], 0
    while offset + prompt < total:
        length = int(min(duration_s - offset / RATE_HZ, window_s) * RATE_HZ)
        passes.append((prompt, length))
        prompt = length - STRIDE
        offset += STRIDE
    return passes


@given(plans)
def test_audiocraft_makes_the_planned_frames_in_the_planned_steps(plan: GenerationPlan) -> None:
    window_s = WINDOW / RATE_HZ
    walk = _audiocraft_walk(plan.duration_s(RATE_HZ, window_s), window_s, plan.prompt)
    assert all(prompt < length <= WINDOW for prompt, length in walk), "a pass that audiocraft asserts against"
    assert plan.prompt + sum(length - prompt for prompt, length in walk) == plan.generated
    assert plan.steps == sum(length - prompt + DELAY for prompt, length in walk)


@given(plans)
def test_all_kept_frames_are_generated_and_the_margin_never_costs_a_pass(plan: GenerationPlan) -> None:
    assert plan.kept <= plan.generated <= plan.kept + LOOK_AHEAD_FRAMES + DELAY
    if plan.kept <= WINDOW:
        assert plan.generated <= WINDOW


def test_one_window_is_filled_to_the_brim() -> None:
    plan = GenerationPlan(prompt=0, new=WINDOW, window=WINDOW, stride=STRIDE, pattern_delay=DELAY)
    assert plan.generated == WINDOW
    assert plan.duration_s(RATE_HZ, 30.0) == 30.0
