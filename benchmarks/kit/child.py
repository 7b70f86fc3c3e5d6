"""A Python process of its own that answers questions, one JSON line each: load and engines live apart from
the program that measures, and from each other."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parents[2]
STOP_TIMEOUT_S = 20.0


class Child:
    """`python -m module arguments`, in the repository's folder, with `environment` on top of this one's."""

    def __init__(self, module: str, *arguments: str, **environment: str) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            # As the server has: schedulers may share the processor out by session, and Ctrl-C is the parent's.
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def ask(self, **question: Any) -> Any:
        """Raises RuntimeError if the child died over it; its traceback is on stderr."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._module} ended over {question}")
        return json.loads(answer)


async def answer_questions(answer: Callable[[dict[str, Any]], Awaitable[Any]]) -> None:
    """The child's side: ends when the parent closes its end, or is gone."""
    # Libraries may print: only answers go to the pipe.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    while line := await asyncio.to_thread(sys.stdin.readline):
        answers.write(json.dumps(await answer(json.loads(line))) + "\n")
        answers.flush()
