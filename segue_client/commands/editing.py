"""Editing: marks on a node, and parts of it."""

from __future__ import annotations

import argparse

from segue_client.answers import Misused
from segue_client.client import SegueClient
from segue_client.commands.group import Commands, given, number, text
from segue_client.lines import crop_line
from segue_client.terminal import Terminal, printable


def add_commands(commands: Commands) -> None:
    sub = commands.add(
        "crop", crop, "make a candidate of a part of a node's audio; prints its id", "chain", "node"
    )
    sub.add_argument(
        "--from", dest="from_s", type=number, metavar="SECONDS", help="where it begins (the node's beginning)"
    )
    sub.add_argument(
        "--to", dest="to_s", type=number, metavar="SECONDS", help="where it ends (the node's end)"
    )

    sub = commands.add("mark", mark, "give a node a title, stars or a note", "chain", "node")
    sub.add_argument("--title", type=text, help='"" takes it away')
    sub.add_argument("--stars", type=int, metavar="N", help="0 to 5")
    sub.add_argument("--note", type=text, help='"" takes it away')


def crop(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    wanted = given(args, ("from_s", "to_s"))
    if not wanted:
        raise Misused("say which part: --from, --to or both")
    chain = client.chain(args.chain)
    made = client.crop(chain.id, chain.node(args.node).id, wanted)
    terminal.say(made.id)
    terminal.note(crop_line(made))


def mark(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    wanted = given(args, ("title", "stars", "note"))
    if not wanted:
        raise Misused("say what to write on it: --title, --stars or --note")
    chain = client.chain(args.chain)
    node = client.mark(chain.id, chain.node(args.node).id, wanted)
    marks = (
        node.title and f"“{printable(node.title)}”",
        "★" * node.stars,
        node.note and printable(node.note),
    )
    terminal.say(f"marked {node.id}; {', '.join(shown for shown in marks if shown) or 'no marks'}")
