"""A training in sittings: what every trainer shares. A sitting starts from the newest checkpoint, ends after so
many minutes, and leaves a curve as JSON lines."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

CHECKPOINT_EVERY_S = 600.0
LOG_EVERY_S = 30.0


@dataclass
class Sitting:
    """`spent_s` is the time of all sittings so far, `step` the updates of all of them."""

    folder: Path
    minutes: float
    spent_s: float = 0.0
    step: int = 0
    _began_s: float = field(default_factory=time.monotonic)
    _seen_s: float = field(default_factory=time.monotonic)
    _logged_s: float = 0.0
    _sums: dict[str, float] = field(default_factory=dict)
    _count: int = 0
    _updates: int = 0
    _kept_s: float = field(default_factory=time.monotonic)

    @property
    def share(self) -> float:
        """How much of this sitting is over, 0..1."""
        return min(1.0, (time.monotonic() - self._began_s) / (60 * self.minutes))

    @property
    def is_over(self) -> bool:
        """Every sitting makes one update at least."""
        return self._updates > 0 and self.share >= 1

    @property
    def path(self) -> Path:
        return self.folder / "checkpoint.pt"

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint's state; None where there is none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return None
        state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        self.spent_s, self.step = state["spent_s"], state["step"]
        return state

    def stepped(self, **figures: float) -> bool:
        """Count one update; True when it is time for a checkpoint."""
        now = time.monotonic()
        self.spent_s += now - self._seen_s
        self._seen_s = now
        self.step += 1
        self._updates += 1
        self._count += 1
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if now - self._logged_s > LOG_EVERY_S:
            self.log(**{name: round(total / self._count, 5) for name, total in self._sums.items()})
            self._sums, self._count, self._logged_s = {}, 0, now
        return now - self._kept_s > CHECKPOINT_EVERY_S

    def log(self, **figures: Any) -> None:
        line = json.dumps({"step": self.step, "minutes": round(self.spent_s / 60, 2), **figures})
        print(line, flush=True)
        with (self.folder / "curve.jsonl").open("a") as file:
            file.write(line + "\n")

    def keep(self, **state: Any) -> None:
        """Write the checkpoint, whole or not at all."""
        draft = self.path.with_suffix(".draft")
        torch.save({**state, "spent_s": self.spent_s, "step": self.step}, draft)
        draft.replace(self.path)
        self._kept_s = time.monotonic()


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=Path, required=True, help="folder for all that training writes")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint that is there")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def open_sitting(given: argparse.Namespace, name: str) -> tuple[Sitting, dict[str, Any] | None]:
    """A sitting and the state to go on from. Ends the program where there is a checkpoint that nobody asked for."""
    torch.set_num_threads(given.threads)
    sitting = Sitting(given.runs / name, given.minutes)
    state = sitting.load()
    if state is not None and not given.resume:
        raise SystemExit(f"{sitting.path} is there: say --resume to go on from it, or move it away")
    torch.manual_seed(sitting.step)
    return sitting, state


def rate_of(sitting: Sitting, highest: float, warm_steps: int = 200) -> float:
    """The learning rate now: a short warm-up, level, and down to a tenth in the sitting's last fifth."""
    warm = min(1.0, (sitting.step + 1) / warm_steps)
    fall = max(0.0, (sitting.share - 0.8) / 0.2)
    return highest * warm * (1 - 0.9 * fall)
