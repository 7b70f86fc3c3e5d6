"""Editing: marks on a node, and parts of it."""

from __future__ import annotations

import argparse

from segue_client.answers import Chain, Misused, Step
from segue_client.client import SegueClient
from segue_client.commands.group import Commands, given, number, text
from segue_client.lines import crop_line, diff_lines
from segue_client.terminal import Terminal, length_line, printable


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

    commands.add("undo", undo, "take the last decision back", "chain")
    commands.add("redo", redo, "do again what was undone last", "chain")

    sub = commands.add(
        "duplicate",
        duplicate,
        "make a chain of its own of a chain, or of a part of it; prints its id",
        "chain",
    )
    sub.add_argument("--node", metavar="NODE", type=text, help="with the path to it and all below it (all)")
    sub.add_argument("--title", type=text, help="of the new chain (the same)")

    commands.add("diff", diff, "compare two nodes' lines from where they part", "chain", "a", "b")

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


def duplicate(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    node = {} if args.node is None else {"node_id": chain.node(args.node).id}
    made = client.duplicate(chain.id, node | given(args, ("title",)))
    terminal.say(made.id)
    terminal.note(f"“{printable(made.title)}”, {length_line(made)}")


def diff(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.chain(args.chain)
    for line in diff_lines(client.diff(chain.id, chain.node(args.a).id, chain.node(args.b).id)):
        terminal.say(line)


def undo(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.undo(client.chain(args.chain).id)
    _tell("undid", chain.redo, chain, terminal)


def redo(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.redo(client.chain(args.chain).id)
    _tell("redid", chain.undo, chain, terminal)


def _tell(done: str, step: Step | None, chain: Chain, terminal: Terminal) -> None:
    what = "a decision" if step is None else " ".join(filter(None, (printable(step.action), step.node_id)))
    terminal.say(f"{done} {what}; {length_line(chain)}")
    for notice in chain.notices:
        terminal.note(printable(notice, 300))


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
