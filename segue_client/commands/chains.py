"""Chains as a whole: begin, list, draw, rename, delete."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from segue_client.answers import Chain, ClientError, matching
from segue_client.client import SegueClient
from segue_client.commands.following import follow_nodes
from segue_client.commands.generation import add_generation, add_watch, wanted
from segue_client.commands.group import Commands, text
from segue_client.lines import chain_line, damaged_line
from segue_client.terminal import Terminal, printable, short_ids


def add_commands(commands: Commands) -> None:
    sub = commands.add("upload", upload, "begin a chain with an audio file; prints the chain's id")
    sub.add_argument("file", metavar="FILE", type=Path)
    sub.add_argument("--title", type=text)

    sub = commands.add("generate", generate, "begin a chain with words alone; prints the chain's id")
    sub.add_argument("--title", type=text)
    add_generation(sub)
    add_watch(sub)

    commands.add("chains", chains, "list chains with the lengths of their committed lines")
    commands.add("show", show, "draw a chain's tree", "chain")
    commands.add("rename", rename, "give a chain another title", "chain", "title")

    sub = commands.add("delete", delete, "delete a chain with all its takes, for good", "chain")
    sub.add_argument("--yes", action="store_true", help="do not ask")


def upload(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.upload(args.file, args.title)
    terminal.say(chain.id)
    root = chain.node(chain.root_id)
    terminal.note(f"“{printable(chain.title)}”, {root.duration_s:.1f} s")


def generate(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    title = {} if args.title is None else {"title": args.title}
    chain = client.generate(wanted(args) | title)
    terminal.say(chain.id)
    if args.watch:
        follow_nodes(client, chain, terminal, {chain.root_id})


def chains(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    found = list(client.chains())
    short = short_ids([chain.id for chain in found])
    for chain in found:
        if isinstance(chain, Chain):
            terminal.say(chain_line(chain, short[chain.id]))
        else:
            terminal.say(damaged_line(chain, short[chain.id]))
    if not found:
        terminal.note("no chains yet: begin one with segue upload FILE")


def show(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    terminal.tree(client.chain(args.chain))


def rename(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    chain = client.rename_chain(client.chain(args.chain).id, args.title)
    terminal.say(f"renamed {chain.id}; “{printable(chain.title)}”")


def delete(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    found = {chain.id: chain for chain in client.chains()}
    chain = found[matching(args.chain, found, "chain")]
    what = "a damaged chain"
    if isinstance(chain, Chain):
        count = len(chain.nodes)
        what = f"“{printable(chain.title) or 'untitled'}”, {count} node{'' if count == 1 else 's'}"
    if not args.yes and sys.stdin.isatty() and not terminal.agrees(f"Delete {what}, for good?"):
        raise ClientError("nothing was deleted")
    client.delete_chain(chain.id)
    terminal.say(f"deleted {chain.id}; {what}")
