"""Takes: generate, follow, hear, decide."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from segue_client.answers import Chain, ClientError, Misused
from segue_client.client import SegueClient
from segue_client.commands.following import follow_jobs, follow_nodes
from segue_client.commands.generation import (
    add_context,
    add_generation,
    add_seam,
    add_watch,
    wanted,
)
from segue_client.commands.group import Command, Commands, given, number, text
from segue_client.lines import crop_line
from segue_client.terminal import Terminal, length_line, printable

MODES = ("continue", "text", "melody", "compose")

# Programs that play a file and end, with what keeps them to that.
_PLAYERS = (
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("mpv", "--no-video", "--really-quiet"),
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
    ("afplay",),
)


def add_commands(commands: Commands) -> None:
    sub = commands.add("continue", branch, "continue a node in new takes; prints their ids", "chain")
    sub.add_argument("--mode", choices=MODES, help="what to continue from (continue)")
    _add_branch_options(sub)
    sub = commands.add(
        "compose",
        branch,
        "continue with what the line sounds like put into words; prints the takes' ids",
        "chain",
    )
    sub.set_defaults(mode="compose")
    _add_branch_options(sub)

    sub = commands.add("watch", watch, "show progress until nothing in the chain, or nothing at all, is made")
    sub.add_argument("chain", metavar="CHAIN", type=text, nargs="?", help="(all jobs, whatever they make)")
    sub.add_argument("--follow", action="store_true", help="go on until Ctrl-C")

    commands.add("commit", commit, "put a node onto the spine", "chain", "node")
    commands.add("uncommit", uncommit, "take a node and what follows it off the spine", "chain", "node")
    commands.add("discard", discard, "discard a node and all below it", "chain", "node")
    commands.add(
        "restore",
        restore,
        "bring a discarded node back, with what was discarded along with it",
        "chain",
        "node",
    )

    commands.add("keep", keep, "cancel the unfinished takes beside this one", "chain", "node")

    sub = commands.add("listen", listen, "play one node's audio", "chain", "node")
    sub.add_argument(
        "--stdout", action="store_true", help="write it to stdout instead, as WAV, while it is being made"
    )
    sub.add_argument("--player", metavar="COMMAND", help="a program that plays the file it is given")


def _add_branch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", metavar="PARENT", type=text, help="what to continue (the spine's end)")
    parser.add_argument(
        "--at", dest="at_s", type=number, metavar="SECONDS", help="continue from this second of it (its end)"
    )
    parser.add_argument("--takes", type=int, metavar="N", help="how many (1)")
    add_generation(parser)
    add_context(parser)
    add_seam(parser)
    add_watch(parser)


def branch(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    parent_id = chain.node(args.node).id if args.node else (chain.spine[-1:] or (chain.root_id,))[0]
    begun = client.branch(chain.id, parent_id, wanted(args) | given(args, ("takes", "mode", "at_s")))
    for node in begun.nodes:
        terminal.say(node.id)
    for notice in begun.notices:
        terminal.note(printable(notice, 300))
    if begun.crop is not None:
        terminal.note(f"they continue from {begun.crop.id}: {crop_line(begun.crop)}")
    if args.watch:
        follow_nodes(client, chain, terminal, {node.id for node in begun.nodes})


def watch(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    if args.chain is None:
        follow_jobs(client, terminal, endless=args.follow)
    else:
        follow_nodes(client, client.chain(args.chain), terminal, None, endless=args.follow)


def _decision(decide: Callable[[SegueClient, str, str], Chain], done: str) -> Command:
    def command(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
        chain = client.chain(args.chain)
        node = chain.node(args.node)
        terminal.say(f"{done} {node.id}; {length_line(decide(client, chain.id, node.id))}")

    return command


commit = _decision(SegueClient.commit, "committed")
uncommit = _decision(SegueClient.uncommit, "off the spine:")
discard = _decision(SegueClient.discard, "discarded")
restore = _decision(SegueClient.restore, "restored")
keep = _decision(SegueClient.cancel_others, "cancelled what was unfinished beside")


def listen(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    if args.stdout:
        chain = client.chain(args.chain)
        try:
            for piece in client.listen(chain.id, chain.node(args.node)):
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
        except BrokenPipeError:
            # The player has had enough; without this Python would complain once more at its own end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    player = _player(args.player)
    chain = client.chain(args.chain)
    with tempfile.TemporaryDirectory(prefix="segue-") as folder:
        file = Path(folder) / "node.wav"
        client.download(chain.id, chain.node(args.node).id, file)
        status = subprocess.run([*player, str(file)], check=False).returncode
    if status != 0:
        raise ClientError(f"{player[0]} ended with {status}")


def _player(wanted: str | None) -> Sequence[str]:
    if wanted is not None:
        try:
            named = shlex.split(wanted)
        except ValueError as error:
            raise Misused(f"--player {wanted} is no command: a quotation is not closed") from error
        if not named or shutil.which(named[0]) is None:
            raise ClientError(f"there is no program {named[0] if named else '(none named)'} to play with")
        return named
    for player in _PLAYERS:
        if shutil.which(player[0]):
            return player
    raise ClientError("no audio player found: name one with --player, or use segue download")
