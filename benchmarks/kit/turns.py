"""Measurements that take turns, so that what slows the machine down for a while slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeVar

import torch

Name = TypeVar("Name")


def take_turns(contestants: Mapping[Name, Callable[[], float]], rounds: int) -> dict[Name, list[float]]:
    """What each contestant says in each round. Every other round goes the other way round."""
    said: dict[Name, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds):
        order = list(contestants.items())
        for name, contestant in order if turn % 2 == 0 else order[::-1]:
            said[name].append(contestant())
    return said


def times_faster(than: list[float], values: list[float]) -> float:
    """Median over the rounds of the baseline's time divided by the own one."""
    return median(base / own for base, own in zip(than, values, strict=True))


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until the work is done, also where the device does it later."""
    _wait_for(device)
    began_s = time.perf_counter()
    work()
    _wait_for(device)
    return time.perf_counter() - began_s


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
