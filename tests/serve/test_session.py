from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.serve.cluster import wait_until
from tests.serve.session import Ended, Session

# A child that outlives whoever started it.
ORPHANS = """
import subprocess, time
subprocess.run(["sh", "-c", "sleep 60 & exit"])
time.sleep(60)
"""


def begin(tmp_path: Path, program: str) -> Session:
    return Session([sys.executable, "-c", program], os.environ, tmp_path / "log")


def test_orphans_are_killed_too(tmp_path: Path) -> None:
    session, bystander = begin(tmp_path, ORPHANS), begin(tmp_path, "import time; time.sleep(60)")
    try:
        wait_until(lambda: session.pids("sleep"), 20, "there is an orphan")
        (orphan,) = session.pids("sleep")
        session.kill()
        assert session.pids() == []
        wait_until(lambda: not _lives(orphan), 20, "the orphan is dead")
        assert bystander.pids()
    finally:
        session.kill()
        bystander.kill()


def test_a_title_is_whole_whatever_the_process_is_at(tmp_path: Path) -> None:
    session = begin(tmp_path, "import os; os.execvp('sleep', ['part-two.at_work', '60'])")
    try:
        wait_until(lambda: session.pids("part-two"), 20, "it has its title")
        assert session.pids("part-two.at_work") == session.pids("part-two") == session.pids()
        assert session.pids("part") == []
    finally:
        session.kill()


def test_a_program_that_ended_says_why(tmp_path: Path) -> None:
    session = begin(tmp_path, "raise SystemExit('no such thing')")
    wait_until(lambda: not session.pids(), 20, "it has ended")
    with pytest.raises(Ended, match="no such thing"):
        session.require_alive()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
