"""`vel2 guests`: what can be fetched to run as a guest, and fetching it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from click.shell_completion import CompletionItem
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from vel2.cli.terminal import Terminal
from vel2.errors import UserError
from vel2.guests.kernels import OFFERS, Guest, fetch, list_guests, remove, remove_all
from vel2.machine.memory import format_bytes

__all__ = ("guests", "progress_bars")


@click.group()
def guests() -> None:
    """See and fetch kernels and programs to run as guests.

    They come from Debian's archive by the mirror this machine's apt uses, checked against Debian's
    keys, into a cache of vel2's own; the system's packages stay as they are.

    \b
    Examples:
      vel2 guests list
      vel2 guests fetch                  everything
      vel2 guests fetch 6.12 busybox     what the demo needs
      vel2 guests remove 6.1             give its room back
    """  # noqa: D301


@contextmanager
def progress_bars() -> Iterator[Callable[[str, float], None]]:
    """Show one bar for each thing that is being done, on a terminal's standard error only."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Terminal(to_stderr=True)
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def show(doing: str, done: float) -> None:
            if doing not in tasks:
                tasks[doing] = bars.add_task(doing, total=1.0)
            bars.update(tasks[doing], completed=done)

        yield show


def print_guests(rows: list[Guest]) -> None:
    """Print a row for each guest."""
    table = Table("name", "kind", "in the cache", "what", box=None, pad_edge=False)
    for guest in rows:
        table.add_row(guest.name, guest.kind, guest.version or "-", guest.summary)
    Terminal().print(table)


@guests.command("list")
def list_command() -> None:
    """List what is on offer and which version the cache has."""
    print_guests(list_guests())


def complete_name(
    context: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the names that can be fetched."""
    return [
        CompletionItem(offer.name, help=offer.summary)
        for offer in OFFERS.values()
        if offer.name.startswith(incomplete)
    ]


@guests.command("fetch")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_name)
@click.option("--renew", is_flag=True, help="Fetch anew, whatever the cache has.")
def fetch_command(names: tuple[str, ...], renew: bool) -> None:
    """Fetch guests in their newest version; all of them when no NAME is given."""
    with progress_bars() as progress:
        fetched = fetch(names, progress, renew)
    print_guests(fetched)


@guests.command("remove")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_name)
@click.option("--all", "everything", is_flag=True, help="All, and what was fetched for them.")
def remove_command(names: tuple[str, ...], everything: bool) -> None:
    """Remove guests from the cache, in all their versions."""
    if bool(names) == everything:
        raise UserError("what to remove is NAMEs or --all; give one of them.")
    freed = remove_all() if everything else remove(names)
    click.echo(f"{format_bytes(freed)} freed")
