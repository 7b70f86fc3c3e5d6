"""Keys, usage and the audit record."""

from __future__ import annotations

import argparse

from segue_client.answers import AuditPage, Key, KeyList, MadeKey, Tenants, Usage
from segue_client.client import SegueClient
from segue_client.commands.group import Commands, given, number, text
from segue_client.lines import audit_line, key_line, tenant_line, usage_lines
from segue_client.terminal import Terminal


def add_commands(commands: Commands) -> None:
    keys = commands.group("keys", "make, list, rotate and revoke keys (for operators)")
    sub = keys.add("create", create, "make a key; it is shown this once")
    sub.add_argument("--tenant", required=True, type=text, help="whose chains it opens")
    sub.add_argument("--tier", type=text, help="what it may do (the server's table; default: free)")
    sub.add_argument("--label", type=text, help="what people call it")
    sub.add_argument("--days", type=number, help="how long it is good; default: until it is revoked")
    keys.add("list", list_keys, "all keys, the newest first")
    sub = keys.add("rotate", rotate, "make another in the place of a key", "key")
    sub.add_argument("--grace", type=number, metavar="SECONDS", help="how long the old one stays good (3600)")
    keys.add("revoke", revoke, "end a key", "key")
    sub = commands.add("usage", usage, "what your tenant may use, and has used each day")
    sub.add_argument("--from", dest="first", type=text, metavar="DAY", help="such as 2026-01-31")
    sub.add_argument("--to", dest="last", type=text, metavar="DAY")
    commands.add("tenants", tenants, "what every tenant holds and has used today (for operators)")
    sub = commands.add("audit", audit, "who changed what on a day (for operators)")
    sub.add_argument("--day", type=text, help="of UTC, such as 2026-01-31; default: today")
    sub.add_argument("--tenant", type=text)


def create(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    body = given(args, ("tenant", "tier", "label"))
    if args.days is not None:
        body["expires_in_s"] = args.days * 24 * 3600
    _show(client.connection.ask(MadeKey, "POST", "/v1/keys", json=body), terminal)


def list_keys(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    for key in client.connection.ask(KeyList, "GET", "/v1/keys").keys:
        terminal.say(key_line(key))


def rotate(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    body = {} if args.grace is None else {"grace_s": args.grace}
    _show(client.connection.ask(MadeKey, "POST", f"/v1/keys/{_id(args.key)}/rotate", json=body), terminal)


def revoke(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    terminal.say(key_line(client.connection.ask(Key, "DELETE", f"/v1/keys/{_id(args.key)}")))


def usage(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    asked = {"from": args.first, "to": args.last}
    params = {name: value for name, value in asked.items() if value is not None}
    for line in usage_lines(client.connection.ask(Usage, "GET", "/v1/usage", params=params)):
        terminal.say(line)


def tenants(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    cursor: str | None = ""
    while cursor is not None:
        page = client.connection.ask(Tenants, "GET", "/v1/usage/tenants", params={"cursor": cursor})
        for tenant in page.tenants:
            terminal.say(tenant_line(tenant))
        cursor = page.cursor


def audit(client: SegueClient, args: argparse.Namespace, terminal: Terminal) -> None:
    params = given(args, ("day", "tenant"))
    cursor: str | None = ""
    while cursor is not None:
        page = client.connection.ask(AuditPage, "GET", "/v1/audit", params={**params, "cursor": cursor})
        for entry in page.entries:
            terminal.say(audit_line(entry))
        cursor = page.cursor


def _show(made: MadeKey, terminal: Terminal) -> None:
    terminal.say(made.key)
    terminal.note(f"{key_line(made)}; the key is shown this once")
    if made.notice is not None:
        terminal.note(made.notice)


def _id(text_of_key: str) -> str:
    """What goes into an address; a key that was pasted in place of its id is no id."""
    return text_of_key if text_of_key.isalnum() else "unknown"
