"""Naming a guest on the command line: a file, or one that `vel2 guests fetch` brought."""

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from vel2.cli.guests import progress_bars
from vel2.cli.streams import say
from vel2.guests.kernels import OFFERS, fetch, list_guests
from vel2.guests.naming import find_guest, find_kernel, is_on_offer, kernel_names
from vel2.machine.version import require_qemu

__all__ = (
    "FIRMWARE",
    "KERNEL",
    "check_names",
    "fetch_missing",
    "find_kernel",
    "is_on_offer",
    "kernel_names",
)


def check_names(names: Iterable[str]) -> None:
    """Find out whether each name is on offer or a file's, before time is spent on the others.

    :raises UserError: when one is neither.
    """
    for name in names:
        if name not in OFFERS:
            find_kernel(name)


def fetch_missing(names: Iterable[str]) -> None:
    """Fetch what the cache has not; what is there is not asked about again.

    :param names: what is not on offer is a file's, and has to be there.
    :raises UserError: before anything is fetched, when one is neither, or nothing can run them.
    """
    names = list(names)
    check_names(names)
    require_qemu()
    at_hand = {guest.name for guest in list_guests() if guest.path}
    if missing := sorted({name for name in names if name in OFFERS} - at_hand):
        say(f"fetching {', '.join(missing)} from Debian, once")
        with progress_bars() as progress:
            fetch(missing, progress)


class GuestType(click.ParamType[Path]):
    """A guest, as a file or a name.

    :param what: what the option asks for.
    :param kinds: the kinds of guest that do.
    """

    def __init__(self, what: str, *kinds: str) -> None:
        self.name = what
        self.kinds = kinds

    def convert(
        self, value: str | Path, param: click.Parameter | None, context: click.Context | None
    ) -> Path:
        """Find the file."""
        return value if isinstance(value, Path) else find_guest(value, self.name, *self.kinds)

    def shell_complete(
        self, context: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the guests at hand, then files."""
        at_hand = [guest.name for guest in list_guests() if guest.kind in self.kinds and guest.path]
        items = [CompletionItem(name) for name in at_hand if name.startswith(incomplete)]
        return [*items, CompletionItem(incomplete, type="file")]


KERNEL = GuestType("kernel", "kernel", "hypervisor")
FIRMWARE = GuestType("firmware", "firmware")
