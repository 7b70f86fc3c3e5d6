"""What the groups of commands share: how a command is added, and the types of its arguments."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from segue_client.answers import ClientError, Misused
from segue_client.client import SegueClient
from segue_client.terminal import Terminal

FORMATS = ("wav", "flac", "aiff", "mp3", "opus", "m4a")
"""What audio can be fetched as; each is its file name's ending too."""

AUDIO_ENDINGS: Mapping[str, str] = {name: name for name in FORMATS}
EXPORT_ENDINGS: Mapping[str, str] = {**AUDIO_ENDINGS, "mp4": "mp4", "zip": "daw"}
"""File name endings, and the format that each stands for."""

Command = Callable[[SegueClient, argparse.Namespace, Terminal], None]


class Commands:
    """Where a group adds its commands."""

    def __init__(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        self._subparsers = subparsers

    def add(self, name: str, command: Command, summary: str, *positionals: str) -> argparse.ArgumentParser:
        """A command with these required arguments, each of which is text."""
        sub = self._subparsers.add_parser(name, help=summary, description=summary)
        for positional in positionals:
            sub.add_argument(positional, metavar=positional.upper(), type=text)
        sub.set_defaults(command=command)
        return sub

    def group(self, name: str, summary: str) -> Commands:
        """A command with commands of its own."""
        sub = self._subparsers.add_parser(name, help=summary, description=summary)
        return Commands(sub.add_subparsers(required=True, metavar="COMMAND"))


def text(value: str) -> str:
    """An argument that can be sent: bytes that are no text come in as lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise argparse.ArgumentTypeError("not valid text") from error
    return value


def number(value: str) -> float:
    """A finite number: JSON has no others."""
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"not a number: {value!r}")
    return found


def given(args: argparse.Namespace, names: Collection[str]) -> dict[str, Any]:
    """Those of the arguments that were given: the server has its own defaults for the rest."""
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def add_output(parser: argparse.ArgumentParser, endings: Mapping[str, str] = AUDIO_ENDINGS) -> None:
    """`--out FILE` and `--format`, for `output`."""
    parser.add_argument("--format", choices=tuple(endings.values()), help="default: as --out ends")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True)


def output(args: argparse.Namespace, endings: Mapping[str, str] = AUDIO_ENDINGS) -> tuple[Path, str]:
    """Where to write, and in which format. Raises Misused where name and format do not say so or contradict each
    other, ClientError where nothing can be written."""
    out: Path = args.out
    ending = out.suffix.lower().removeprefix(".")
    if args.format is None and ending not in endings:
        raise Misused(
            f"{out.name} does not end in one of .{', .'.join(endings)}: name the format with --format"
        )
    if args.format is not None and endings.get(ending, args.format) != args.format:
        raise Misused(f"{out.name} is the name of a {ending} file, and --format says {args.format}")
    require_writable(out)
    return out, str(args.format or endings[ending])


def require_writable(file: Path) -> None:
    """Raises ClientError if a file cannot be written there."""
    if file.is_dir():
        raise ClientError(f"{file} is a folder: name a file in it")
    if not file.parent.is_dir():
        raise ClientError(f"there is no folder {file.parent}: make it first")
    _require_room_in(file.parent)


def require_folder(folder: Path) -> None:
    """Raises ClientError if `folder` cannot be made, or nothing can be written into it."""
    there = next(each for each in (folder, *folder.absolute().parents) if os.path.lexists(each))
    if not there.is_dir():
        raise ClientError(f"{there} is not a folder")
    _require_room_in(there)


def _require_room_in(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".segue-"):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ClientError(f"nothing can be written into {folder}: {reason}") from error
