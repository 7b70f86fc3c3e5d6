"""`segue`: the whole round from a terminal. Upload, branch, listen, commit, export."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from segue_client.answers import ClientError, Misused, Rejected, Unreachable
from segue_client.client import SegueClient
from segue_client.commands import access, chains, editing, files, server, takes
from segue_client.commands.group import Command, Commands
from segue_client.terminal import Terminal, printable

DEFAULT_URL = "http://127.0.0.1:8000"
EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def default_url() -> str:
    """SEGUE_URL, else this machine."""
    return os.environ.get("SEGUE_URL") or DEFAULT_URL


def access_key(file: Path | None) -> str | None:
    """The key in that file, else SEGUE_KEY, else none. Not an option of its own: the arguments of a program are
    visible to everybody on the machine. Raises OSError, Misused for a file without a key."""
    text = os.environ.get("SEGUE_KEY", "") if file is None else file.read_text(errors="replace")
    key = text.strip()
    if file is not None and not key:
        raise Misused(f"{file} holds no key")
    if not all("!" <= character <= "~" for character in key):
        raise Misused("an access key is one word of letters, digits and signs")
    return key or None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for an error, 2 for wrong usage, 130 after Ctrl-C."""
    args = parser().parse_args(argv)
    terminal = Terminal(sys.stdout, sys.stderr)
    command: Command = args.command
    try:
        with SegueClient(args.url, key=access_key(args.key_file)) as client:
            command(client, args, terminal)
    except Unreachable as error:
        terminal.note(f"segue: {printable(str(error), 300)}")
        terminal.note('Start a server with "make run", or say where one is with --url or SEGUE_URL.')
        return EXIT_ERROR
    except Rejected as error:
        request = f" (request {printable(error.request_id)})" if error.request_id else ""
        terminal.note(f"segue: {printable(str(error), 1000)}{request}")
        return EXIT_ERROR
    except ClientError as error:
        terminal.note(f"segue: {printable(str(error), 1000)}")
        return EXIT_USAGE if isinstance(error, Misused) else EXIT_ERROR
    except OSError as error:
        terminal.note(f"segue: {printable(_sentence(error), 1000)}")
        return EXIT_ERROR
    except KeyboardInterrupt as stop:
        for sentence in stop.args:
            terminal.note(str(sentence))
        return EXIT_INTERRUPTED
    return 0


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="segue",
        description="Continue music on a Segue server.",
        epilog="A chain, node or job may be named by the beginning of its id, as long as that is the only one. "
        "A server that asks for keys gets the one in SEGUE_KEY.",
    )
    root.add_argument("--url", default=default_url(), help="the server (default: $SEGUE_URL, or %(default)s)")
    root.add_argument(
        "--key-file", type=Path, metavar="FILE", help="holds the access key (default: $SEGUE_KEY, or none)"
    )
    commands = Commands(root.add_subparsers(required=True, metavar="COMMAND"))
    for group in (chains, takes, editing, files, server, access):
        group.add_commands(commands)
    return root


def _sentence(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason[:1].lower()}{reason[1:]}" if error.filename else reason


if __name__ == "__main__":
    sys.exit(main())
