"""Chromium for the tests: the one that npm's `@sparticuz/chromium` carries, with its libraries and fonts, so that
the machine needs none of them; or the one that `SEGUE_CHROMIUM` names."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "page"
PACKAGE: Final = PAGE / "node_modules" / "@sparticuz" / "chromium"
UNPACKED: Final = PAGE / "node_modules" / ".chromium"
ON_PATH: Final = ("chromium-headless-shell", "chromium", "google-chrome")

FONTS: Final = """<?xml version="1.0"?>
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/font-cache</cachedir></fontconfig>
"""
"""The same fonts on every machine."""

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@dataclass(frozen=True, slots=True)
class Browser:
    """An executable, and what its environment has beside that of the tests."""

    path: str
    environment: dict[str, str] = field(default_factory=dict)


def find_browser() -> Browser:
    """Raises FileNotFoundError that names what to install."""
    named = os.environ.get("SEGUE_CHROMIUM")
    if named:
        return Browser(named)
    if PACKAGE.is_dir() and platform.machine() == "x86_64":
        folder = _unpacked()
        return Browser(
            str(folder / "chromium"),
            {
                "LD_LIBRARY_PATH": f"{folder / 'lib'}:{folder}",
                "FONTCONFIG_FILE": str(folder / "fonts.conf"),
            },
        )
    for name in ON_PATH:
        found = shutil.which(name)
        if found:
            return Browser(found)
    raise FileNotFoundError(
        "The tests of the page need a browser: `make page-checked` installs npm's @sparticuz/chromium; or install "
        "Debian's chromium-headless-shell, or name one in SEGUE_CHROMIUM."
    )


def _unpacked() -> Path:
    """The folder with the unpacked browser; made once, by one process at a time."""
    UNPACKED.parent.mkdir(exist_ok=True)
    with (UNPACKED.parent / ".chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not UNPACKED.is_dir():
            fresh = UNPACKED.with_name(".chromium.new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            node = Path(sys.prefix) / "bin" / "node"
            subprocess.run([str(node), "browser.mjs", str(fresh)], cwd=PAGE, check=True)
            for archive in fresh.glob("*.tar"):
                with tarfile.open(archive) as files:
                    files.extractall(fresh, filter="data")
                archive.unlink()
            (fresh / "fonts.conf").write_text(FONTS.format(folder=UNPACKED))
            fresh.rename(UNPACKED)
    return UNPACKED
