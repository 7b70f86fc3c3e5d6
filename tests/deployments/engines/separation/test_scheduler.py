"""Segments wait in one queue, in which tracks take turns."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engines.common.errors import EngineBroken, EngineBusy
from deployments.engines.separation.protocol import Estimates, SegmentRequest
from deployments.engines.separation.scheduler import Lanes


def request(track: str, samples: int = 1) -> SegmentRequest:
    return SegmentRequest(track, 0, np.zeros((1, samples), np.float32), ("bass",))


class Network:
    """Keeps which tracks it was asked for, together; works once it is `released`."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self, requests: Sequence[SegmentRequest]) -> list[Estimates]:
        self.asked.append([each.request_id for each in requests])
        self.begun.set()
        assert self.released.wait(10)
        return [each.samples[None] for each in requests]


@contextmanager
def held_up(*, batch: int = 1, waiting: int = 64) -> Iterator[tuple[Lanes, Network]]:
    """One lane that is busy with a segment of `first` until the network is released."""
    network = Network()
    lanes = Lanes(
        network,
        count=1,
        batch=batch,
        waiting=waiting,
        name="test",
        prepare=lambda: None,
        is_fatal=lambda _: False,
    )
    first = lanes.submit(request("first"))
    assert network.begun.wait(10)
    try:
        yield lanes, network
        network.released.set()
        first.result(10)
    finally:
        network.released.set()
        lanes.close(10)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=20))
def test_tracks_take_turns(tracks: list[str]) -> None:
    with held_up() as (lanes, network):
        answers = [lanes.submit(request(track)) for track in tracks]
        network.released.set()
        for answer in answers:
            answer.result(10)
    seen: Counter[str] = Counter()
    turns = []
    for track in tracks:
        seen[track] += 1
        turns.append((seen[track], track))
    assert network.asked[1:] == [[track] for _, track in sorted(turns, key=lambda turn: turn[0])]


def test_a_track_that_comes_later_does_not_wait_for_all_of_another() -> None:
    with held_up() as (lanes, network):
        answers = [lanes.submit(request("long")) for _ in range(5)]
        answers.append(lanes.submit(request("short")))
        network.released.set()
        for answer in answers:
            answer.result(10)
    assert network.asked[1:4] == [["long"], ["short"], ["long"]]


def test_segments_of_one_length_go_together() -> None:
    with held_up(batch=3) as (lanes, network):
        answers = [
            lanes.submit(request(track, samples))
            for track, samples in zip("abcde", (1, 2, 1, 1, 1), strict=True)
        ]
        network.released.set()
        for answer in answers:
            answer.result(10)
    assert network.asked[1:] == [["a", "c", "d"], ["b"], ["e"]]


def test_a_full_queue_refuses_until_somebody_gives_up() -> None:
    with held_up(waiting=2) as (lanes, network):
        given_up, waits = lanes.submit(request("a")), lanes.submit(request("b"))
        with pytest.raises(EngineBusy):
            lanes.submit(request("c"))
        assert given_up.cancel()
        taken = lanes.submit(request("c"))
        network.released.set()
        waits.result(10), taken.result(10)
    assert network.asked[1:] == [["b"], ["c"]]


def test_closing_refuses_what_waits() -> None:
    with held_up() as (lanes, network):
        waits = lanes.submit(request("a"))
        closing = threading.Thread(target=lanes.close, args=(10,))
        closing.start()
        with pytest.raises(EngineBroken):
            waits.result(10)
        network.released.set()
        closing.join(10)
        with pytest.raises(EngineBroken):
            lanes.submit(request("a"))
    assert network.asked == [["first"]]
