"""Names for the addresses in a trace: which function of whose kernel trapped.

The trace says what trapped where, and that is enough to find each kernel (`guests.symbols`). So a
trace needs nothing of the machine that it was made on, only the kernels' files.
"""

import logging
from collections.abc import Iterable, Mapping
from functools import cache

from vel2.arch.trapped import trapped_instruction, trapped_pc
from vel2.errors import UserError
from vel2.guests.kallsyms import KernelSymbols, read_kallsyms
from vel2.guests.naming import find_kernel
from vel2.guests.symbols import Place as Where
from vel2.guests.symbols import RunningKernel, locate
from vel2.machine.loader import KernelImage, load_kernel
from vel2.trace.recording import Recording
from vel2.trace.schema import Event, Kind, Place, Vector

__all__ = ("KernelNames", "names_of", "sites_of")

LOG = logging.getLogger(__name__)
KERNELS: Mapping[int, str] = {
    Place.L1_EL2: "L1",
    Place.L1_EL1: "L1",
    Place.L2_EL1: "L2",
    Place.L2_EL2: "L2",
}
"""Whose kernel runs at a place; at EL0 runs none."""


class KernelNames:
    """Names by level; where no kernel is known, none.

    :ivar kernels: by `L1` and `L2`.
    """

    def __init__(self, kernels: Mapping[str, RunningKernel]) -> None:
        self.kernels = dict(kernels)

    def at(self, place: int, pc: int) -> Where | None:
        """Name an address of whoever ran."""
        kernel = self.kernels.get(KERNELS.get(place, ""))
        return None if kernel is None else kernel.at(pc)

    def function(self, place: int, pc: int) -> str:
        """Name the function; empty when it is not known."""
        found = self.at(place, pc)
        return "" if found is None else found.function

    def symbol(self, place: int, pc: int) -> str:
        """Name the address; empty when it is not known."""
        found = self.at(place, pc)
        return "" if found is None else str(found)


def sites_of(events: Iterable[Event]) -> dict[str, dict[int, int]]:
    """Gather by level where which instruction trapped."""
    found: dict[str, dict[int, int]] = {"L1": {}, "L2": {}}
    for event in events:
        level = KERNELS.get(event.source)
        if level is None or event.kind != Kind.TRAP or event.vector != Vector.SYNC:
            continue
        word = trapped_instruction(event.esr)
        if word is not None:
            found[level][trapped_pc(event.esr, event.pc)] = word
    return found


def names_of(trace: Recording, kernels: Mapping[str, str]) -> KernelNames:
    """Find the kernels of a trace.

    :param kernels: names or files by level; they go before what the trace itself says.
    :raises UserError: when one that was given cannot be had. One that the trace names may be gone.
    """
    read = cache(lambda name: load_kernel(find_kernel(name)))  # mostly both are the same
    images: dict[str, KernelImage] = {}
    for level, name in (dict(trace.about.kernels) | dict(kernels)).items():
        try:
            images[level] = read(name)
        except UserError as error:
            if level in kernels:
                raise
            LOG.info("functions of %s are not named: %s", level, error)
    if not images:
        return KernelNames({})
    sites = sites_of(trace.events())
    found = {level: _located(level, image, sites[level]) for level, image in images.items()}
    return KernelNames({level: kernel for level, kernel in found.items() if kernel is not None})


@cache
def _symbols(image: bytes) -> KernelSymbols | None:
    return read_kallsyms(image)


def _located(level: str, image: KernelImage, sites: Mapping[int, int]) -> RunningKernel | None:
    symbols = _symbols(image.data)
    if symbols is None:
        LOG.info("functions of %s are not named: its kernel has no table of symbols.", level)
        return None
    kernel = locate(image.data, image.image_size, symbols, sites)
    if not kernel.bases:
        LOG.info(
            "functions of %s are not named: too few of its %d places fit %s.",
            level,
            len(sites),
            image.version or "the kernel",
        )
        return None
    return kernel
