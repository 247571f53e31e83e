"""Naming a guest: a file, or one that was fetched."""

from pathlib import Path

from vel2.errors import UserError
from vel2.guests.kernels import OFFERS, guest_path, list_guests

__all__ = ("find_guest", "find_kernel", "is_on_offer", "kernel_names")


def names_of(*kinds: str) -> list[str]:
    """Give the names on offer of some kinds of guest."""
    return [offer.name for offer in OFFERS.values() if offer.kind in kinds]


def kernel_names() -> list[str]:
    """Give the names of the kernels on offer."""
    return names_of("kernel")


def find_guest(text: str, what: str, *kinds: str) -> Path:
    """Give the file that `text` means; a name on offer goes before a file of that name.

    :param what: what the option asks for, such as "kernel".
    :raises UserError: when it is neither, or was not fetched.
    """
    names = names_of(*kinds)
    if text in names:
        return guest_path(text)
    path = Path(text)
    if path.exists():
        return path
    raise UserError(
        f"{text!r} is neither a file nor a {what} on offer;"
        f" give a path, or one of {', '.join(names)}."
    )


def find_kernel(text: str) -> Path:
    """Give the file of a Linux kernel.

    :raises UserError: when it is neither a file nor on offer, or was not fetched.
    """
    return find_guest(text, "kernel", "kernel")


def is_on_offer(path: Path) -> bool:
    """Whether a file is one of the Linux kernels that `vel2 guests fetch` brought."""
    return path in {guest.path for guest in list_guests() if guest.kind == "kernel"}
