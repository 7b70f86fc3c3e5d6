from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="orphans are adopted on Linux only"
)

# A grandchild in a process session of its own, whose parent has ended.
ADOPT = """
import subprocess, sys
from serve_app.launch.descendants import Descendants
from tests.serve.cluster import wait_until
of = Descendants()
of.adopt_orphans()
subprocess.run(["sh", "-c", "setsid sleep 600 & exit"])
wait_until(lambda: "sleep" in of.names().values(), 20, "the orphan is found")
print(*(pid for pid, name in of.names().items() if name == "sleep"), flush=True)
"""


def adopting(rest: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", ADOPT + rest], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.split()


def test_an_orphan_in_another_session_is_killed_and_waited_for() -> None:
    pid, left = adopting("of.kill()\nprint(len(of.names()))")
    assert left == "0"
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_what_does_not_end_by_itself_is_said() -> None:
    pid, ended, then = adopting("print(of.wait(0.3))\nof.kill()\nprint(of.wait(0.3))")
    assert (ended, then) == ("False", "True")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_status_that_the_caller_waits_for_is_left_to_it() -> None:
    rest = """
of.kill()
child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
of.leave_status_of(child.pid)
of.wait(20)
print(child.wait())
"""
    assert adopting(rest)[1:] == ["7"]


def test_a_child_is_stopped_when_its_parent_is_killed() -> None:
    parent = '''
import subprocess, sys, time
from serve_app.launch.descendants import end_with_parent
child = """
import time
try:
    print("up", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print("stopped")
"""
subprocess.Popen([sys.executable, "-c", child], preexec_fn=end_with_parent)
time.sleep(600)
'''
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGKILL)
        assert process.stdout.read() == "stopped\n"
