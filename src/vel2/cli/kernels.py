"""Naming a kernel on the command line: a file, or one that `vel2 guests fetch` brought."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from vel2.errors import UserError
from vel2.guests.kernels import OFFERS, guest_kernel, list_guests

__all__ = ("KERNEL", "find_kernel", "kernel_names")


def kernel_names() -> list[str]:
    """Give the names of the kernels on offer."""
    return [offer.name for offer in OFFERS.values() if offer.kind == "kernel"]


def find_kernel(text: str) -> Path:
    """Give the file that `text` means; a name on offer goes before a file of that name.

    :raises UserError: when it is neither, or was not fetched.
    """
    names = kernel_names()
    if text in names:
        return guest_kernel(text).image_path
    path = Path(text)
    if path.exists():
        return path
    raise UserError(
        f"{text!r} is neither a file nor a kernel on offer;"
        f" give a path, or one of {', '.join(names)}."
    )


class KernelType(click.ParamType[Path]):
    """A kernel, as a file or a name."""

    name = "kernel"

    def convert(
        self, value: str | Path, param: click.Parameter | None, context: click.Context | None
    ) -> Path:
        """Find the file."""
        return value if isinstance(value, Path) else find_kernel(value)

    def shell_complete(
        self, context: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the kernels at hand, then files."""
        at_hand = [guest.name for guest in list_guests() if guest.kind == "kernel" and guest.path]
        items = [CompletionItem(name) for name in at_hand if name.startswith(incomplete)]
        return [*items, CompletionItem(incomplete, type="file")]


KERNEL = KernelType()
