import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deployments.audio.medians import REACH, WIDTH, running_medians

rows = hnp.arrays(
    np.float32,
    st.tuples(st.integers(WIDTH, 120), st.integers(1, 4)),
    # Many equal values, too.
    elements=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, width=32, allow_nan=False)),
)


@given(rows)
def test_they_are_medians(values: np.ndarray) -> None:
    windows = np.lib.stride_tricks.sliding_window_view(values, WIDTH, axis=0)
    assert np.array_equal(running_medians(values), np.sort(windows, axis=-1)[..., REACH])


@pytest.mark.parametrize("count", [1, 15, 16, 17, 31, 32, 33, 257])
def test_as_many_as_there_are_windows_and_rows_in_any_order_in_memory(count: int) -> None:
    values = np.random.default_rng(count).random((9, count + 2 * REACH), np.float32)
    medians = running_medians(values.T)
    assert medians.shape == (count, 9)
    assert np.array_equal(medians, running_medians(np.ascontiguousarray(values.T)))


def test_without_a_whole_window_there_is_none() -> None:
    assert running_medians(np.ones((2 * REACH, 3), np.float32)).shape == (0, 3)
