"""`--probe` of `run` and `demo`: probes out of files, and what they have counted."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from vel2.cli.report import Report, plain_table
from vel2.cli.terminal import Terminal
from vel2.control.guest import Kernel
from vel2.control.session import Session
from vel2.errors import UserError

if TYPE_CHECKING:  # they bring in the compiler
    from vel2.control.probes import Probe
    from vel2.probes.maps import Reading

__all__ = ("add_probes", "name_addresses", "probe_option", "put_probes", "show_probes")

Command = TypeVar("Command", bound=Callable[..., object])
ROWS = 20
"""So many rows of a map are printed; the result as JSON has all."""


def probe_option(command: Command) -> Command:
    """Add the option for probes; the command gets them as `probes`."""
    option = click.option(
        "--probe",
        "probes",
        multiple=True,
        metavar="FILE.py[:NAME]",
        help="Call a function at traps, inside L0, and print what it counts; may be repeated.",
    )
    return option(command)


def add_probes(session: Session, texts: Sequence[str]) -> "dict[str, Probe]":
    """Put the probes of files into a machine that has not started.

    :return: the probes by the names of file and function, as in `by_pc.count`.
    :raises UserError: when there is no L0, or a probe is refused.
    """
    if not texts:
        return {}
    from vel2.control.vm import Vm
    from vel2.probes.source import load_probes

    if not isinstance(session, Vm):
        raise UserError(
            "--probe is for L0, and with --native there is none; leave one of them out."
        )
    added: dict[str, Probe] = {}
    for function in [function for text in texts for function in load_probes(text)]:
        name = f"{Path(function.__code__.co_filename).stem}.{function.__name__}"
        again = sum(each.partition("#")[0] == name for each in added)
        added[f"{name}#{again + 1}" if again else name] = session.probes.add(function)
    return added


def show_probes(terminal: Terminal, probes: "Mapping[str, Probe]") -> None:
    """Print what probes have counted; of maps that they share, each once."""
    shown: list[Reading] = []
    for probe in probes.values():
        for name, found in probe.maps.items():
            if found.is_result and not any(found is each for each in shown):
                shown.append(found)
                show_map(terminal, name, found)


def name_addresses(session: Session, probes: "Mapping[str, Probe]") -> None:
    """Let maps show addresses as functions of L1's kernel, where that is found."""
    from vel2.guests.kallsyms import read_kallsyms
    from vel2.guests.locating import locate_by_addresses
    from vel2.probes.maps import PC

    guest = session.request.guest
    readings = [
        found for probe in probes.values() for found in probe.maps.values() if found.shows == PC
    ]
    if not readings or not isinstance(guest, Kernel):
        return
    symbols = read_kallsyms(guest.image.data)
    if symbols is None:
        return
    addresses = [row[0] for found in readings for row in found.rows()]
    image = guest.image
    kernel = locate_by_addresses(image.data, image.image_size, symbols, addresses)
    for found in readings:
        found.names = kernel.at


def show_map(terminal: Terminal, name: str, found: "Reading") -> None:
    """Print a map, and what it has had no room for."""
    rows = found.rows()
    table = plain_table(f"{name}: {found.shows}", *found.columns[1:])
    for row in rows[:ROWS]:
        table.add_row(found.text(row[0]), *(f"{value:,}" for value in row[1:]))
    terminal.print()
    terminal.print(table)
    if len(rows) > ROWS:
        terminal.print(f"{name}: {len(rows) - ROWS:,} more rows; --json has all.")
    if found.drops:
        terminal.print(f"{name}: {found.drops:,} did not fit.")


def put_probes(report: Report, probes: "Mapping[str, Probe]") -> None:
    """Put what probes have counted into the result."""
    if probes:
        report.tree["probes"] = {name: probe.result() for name, probe in probes.items()}
