"""Temporary folders: gone at their end, and swept when their process was killed, but never under a living one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployments.temporary import TemporaryRoot, sweep_temporary_folders, temporary_folder

HOLD = """
import sys, time
from deployments.temporary import temporary_folder
with temporary_folder("process") as folder:
    (folder / "mix.wav").write_bytes(b"RIFF" * 1000)
    (folder / "stems").mkdir()
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"segue-{os.geteuid()}"


@contextmanager
def holding(root: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that is amid its work, and its folder."""
    command = [sys.executable, "-c", HOLD]
    environment = {**os.environ, "TMPDIR": str(root.parent)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_folder_is_private_and_goes_at_its_end(root: Path) -> None:
    with temporary_folder("upload") as folder:
        (folder / "given").write_bytes(b"x")
        assert folder.parent.parent == root
        assert folder.name.startswith("upload-")
        assert root.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_what_a_killed_process_left_is_swept(root: Path) -> None:
    with holding(root) as (process, folder):
        assert (folder / "mix.wav").is_file()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (folder / "mix.wav").is_file()
        assert sweep_temporary_folders() == 1
        assert list(root.iterdir()) == []


def test_what_a_living_process_uses_stays(root: Path) -> None:
    with holding(root) as (_, theirs), temporary_folder("export") as ours:
        assert sweep_temporary_folders() == 0
        assert (theirs / "mix.wav").is_file()
        assert ours.is_dir()


def test_a_root_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    (tmp_path / "segue").symlink_to(target)
    with pytest.raises(PermissionError, match="another user"), TemporaryRoot(tmp_path / "segue").folder("x"):
        pass
    assert list(target.iterdir()) == []


def test_a_folder_that_a_cleaner_took_is_made_anew(tmp_path: Path) -> None:
    root = TemporaryRoot(tmp_path / "segue")
    with root.folder("one") as folder:
        own = folder.parent
    own.rmdir()
    with root.folder("two") as folder:
        assert folder.is_dir()


def test_no_other_module_makes_temporary_folders_of_its_own() -> None:
    top = Path(__file__).parents[2]
    found = [
        path.relative_to(top).as_posix()
        for package in ("deployments", "serve_app", "storage")
        for path in (top / package).rglob("*.py")
        if "TemporaryDirectory(" in path.read_text() and "dir=folder" not in path.read_text()
    ]
    assert found == ["deployments/temporary.py"]
