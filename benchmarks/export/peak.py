"""A child that makes one export and answers with the most memory that it ever had."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.export.line import make_line, options
from benchmarks.kit.child import answer_questions
from benchmarks.kit.memory import most_resident_mb, resident_mb

NODE_S = 30.0


async def answer(question: dict[str, Any]) -> dict[str, float]:
    """`format`, `minutes`, `loudness_lufs`: megabytes before and at most."""
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder:
        line = await make_line(Path(folder), round(question["minutes"] * 60 / NODE_S), NODE_S)
        before_mb = resident_mb()
        wanted = replace(options(question["format"]), loudness_lufs=question["loudness_lufs"])
        await line.export(wanted)
    return {"before_mb": before_mb, "most_mb": most_resident_mb()}


if __name__ == "__main__":
    asyncio.run(answer_questions(answer))
