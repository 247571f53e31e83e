"""Probes in a machine: put there before it starts or while it runs, taken out, and read.

The host writes code, zeroes for the maps, and requests into shared memory; L0 does the rest at a
trap (`hyp.probe`). The first trap that a probe is for puts it in force, and is counted already, so
nothing is missed whether anybody waits or not. Taking out is a request, too. The place of the code
and of the maps goes to another probe only when no pcpu can still be in there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vel2.control.area import Area
from vel2.control.l0 import L0
from vel2.control.watching import ALL_CLASSES, classes_of, watch
from vel2.errors import UserError
from vel2.hyp import layout
from vel2.hyp.probing import NOWHERE, REQUESTS, Probes
from vel2.hyp.watch import PROBE, PROBE_AT_END
from vel2.machine.memory import GuestMemory, format_bytes
from vel2.probes.build import (
    ALIGNMENT,
    CHAIN_BYTES,
    CHAIN_MAX,
    Compiled,
    compile_probe,
    link_chain,
    link_probe,
)
from vel2.probes.maps import Map, Reading
from vel2.probes.place import BEGIN, END, SITES, Place, marked_place, place_of

__all__ = ("Probe", "ProbeSet")

PROMPT_S = 2.0
"""A machine that runs traps far more often. For one that does not nobody waits longer."""
SOON_S = 0.0005
"""L0 tells nobody that it has done a request: it is looked at so often."""
CHAINS_BYTES = REQUESTS * CHAIN_BYTES
"""Each request has a chain at most: there is room for all that wait, and one cannot be refused."""
REQUESTS_TO_ADD = 2
BITS = {BEGIN: PROBE, END: PROBE_AT_END}


@dataclass(eq=False)
class Probe:
    """A probe in a machine.

    :ivar name: the function's. :ivar operations: of the IR, at most, in one call. :ivar maps: what
        it counts, by name: live, and after its removal as it was then.
    """

    name: str
    place: Place
    operations: int
    maps: dict[str, Reading]
    _set: ProbeSet = field(repr=False)
    _piece: Piece = field(repr=False)
    _number: int = field(default=0, repr=False)

    @property
    def is_linked(self) -> bool:
        """Whether a trap has put it in force; the first one that it is for does so."""
        return int(self._set.state.done) >= self._number

    def remove(self) -> None:
        """Take it out. What it has counted can still be read."""
        self._set.remove(self)

    def result(self) -> dict[str, Any]:
        """Give what it has counted, for JSON."""
        maps = {name: found.result() for name, found in self.maps.items()}
        return {"place": str(self.place), "operations": self.operations, "maps": maps}


@dataclass(eq=False)
class Piece:
    """What a probe occupies: its code, where that is entered, and its maps, shared or not."""

    code: int
    entry: int
    maps: dict[str, Map]


@dataclass(eq=False)
class Leaving:
    """What is not called any more once a request is done, and which pcpus may still be in it."""

    number: int
    inside: set[int]
    chain: int | None
    probe: Probe | None


class ProbeSet:
    """The probes of one machine; any thread may use it.

    :ivar probes: those that are in it. :ivar is_running: says whether it runs, so that it makes
        sense to wait for a trap.
    """

    def __init__(self, memory: GuestMemory, l0: L0, is_running: Callable[[], bool]) -> None:
        self._memory, self._l0 = memory, l0
        code, size = l0.base + layout.PROBE_CODE_OFFSET, layout.PROBE_CODE_BYTES
        self._code = Area(code, size - CHAINS_BYTES, ALIGNMENT)
        self._chains = Area(code + size - CHAINS_BYTES, CHAINS_BYTES, CHAIN_BYTES)
        maps = l0.base + layout.PROBE_MAPS_OFFSET
        self._data = Area(maps, layout.PROBE_MAPS_BYTES, ALIGNMENT)
        self._chain: dict[str, int | None] = dict.fromkeys(SITES)
        self._maps: dict[Map, int] = {}
        self._readings: dict[Map, Reading] = {}
        self._users: dict[Map, int] = {}
        self._leaving: list[Leaving] = []
        self._lock = threading.RLock()
        self.probes: list[Probe] = []
        self.is_running = is_running

    @property
    def state(self) -> Probes:
        """L0's part, live."""
        return self._l0.state.probes

    def add(self, function: Callable[..., None], place: Place | None = None, **where: Any) -> Probe:
        """Put a probe into the machine.

        :param place: where it is called; or that in names, as of `place_of`; or as it was marked.
        :raises UserError: when it may do what no probe may, or does not fit; nothing has changed.
        """
        place = place or (place_of(**where) if where else marked_place(function) or Place())
        compiled = compile_probe(function, place)
        with self._lock:
            return self._add(compiled)

    def _add(self, compiled: Compiled) -> Probe:
        """Put a probe that has been compiled into the machine."""
        place = compiled.place
        self._make_room(place.site, REQUESTS_TO_ADD)
        piece, code = self._take(compiled)
        self._post(NOWHERE, 0, piece.code, code)
        readings = {name: self._reading(each) for name, each in compiled.maps.items()}
        probe = Probe(compiled.name, place, compiled.operations, readings, self, piece)
        self.probes.append(probe)
        probe._number = self._call(place.site, None)
        self._watch()
        self._wait(lambda: probe.is_linked)
        return probe

    def remove(self, probe: Probe) -> None:
        """Take a probe out.

        :raises UserError: when it is not in this machine.
        """
        with self._lock:
            if probe not in self.probes:
                raise UserError(f"the probe {probe.name} is not in this machine (any more).")
            self._make_room(None, 1)
            self.probes.remove(probe)
            self._call(probe.place.site, probe)
            self._wait(lambda: not self._clear_away())
            self._watch()

    def of_site(self, site: str) -> list[Probe]:
        """Give the probes of a site, in the order in which they are called."""
        return [probe for probe in self.probes if probe.place.site == site]

    # -- requests

    def _call(self, site: str, leaving: Probe | None) -> int:
        """Have a site call the probes that it has now; give the number of the request.

        :param leaving: the one that it had besides.
        """
        entries = [probe._piece.entry for probe in self.of_site(site)]
        before, chain, code = self._chain[site], None, b""
        if len(entries) > 1:
            chain = self._chains.take(CHAIN_BYTES)
            assert chain is not None, "there are as many as requests"
            code = link_chain(entries, chain)
        entry = chain or (entries[0] if entries else 0)
        number = self._post(SITES.index(site), entry, chain or 0, code)
        self._chain[site] = chain
        if before is not None or leaving is not None:
            inside = set(range(self._l0.orders.cpus))
            self._leaving.append(Leaving(number, inside, before, leaving))
        return number

    def _post(self, site: int, entry: int, address: int, code: bytes) -> int:
        """Ask L0 to bring code and have it called; give the request's number."""
        state = self.state
        number = int(state.posted)
        request = state.requests[number % REQUESTS]
        offset = address - self._l0.base - layout.PROBE_CODE_OFFSET if code else 0
        self._memory.write(self._l0.base + layout.PROBE_STAGING_OFFSET + offset, code)
        request.offset, request.length = offset, len(code)
        request.site, request.entry = site, entry
        state.posted = number + 1
        for vcpu in self._l0.vcpus:
            vcpu.probing.pending = 1
        return number + 1

    def _make_room(self, site: str | None, requests: int) -> None:
        """Have room for some requests, and for one more probe of a site.

        :raises UserError: when there is none.
        """
        if site is not None and len(self.of_site(site)) >= CHAIN_MAX:
            raise UserError(
                f"{CHAIN_MAX} probes are called at the {site} of traps, and more cannot be; remove"
                " one of them."
            )
        state = self.state

        def has_room() -> bool:
            waiting = int(state.posted) - int(state.done)
            return waiting <= REQUESTS - requests and self._chains.free_bytes >= CHAIN_BYTES

        self._clear_away()
        if not has_room():
            self._wait(has_room)
            self._clear_away()
        if not has_room():
            raise UserError(
                f"{REQUESTS} changes of probes wait for a trap; let the machine run before the"
                " next one."
            )

    def _wait(self, is_done: Callable[[], bool]) -> None:
        """Let any trap do the requests, while the machine runs and for a short time."""
        if is_done() or not self.is_running():
            return
        watch(self._l0.vcpus, PROBE, ALL_CLASSES)
        deadline = time.monotonic() + PROMPT_S
        pause = threading.Event()
        while not is_done() and self.is_running() and time.monotonic() < deadline:
            pause.wait(SOON_S)
        self._watch()

    def _watch(self) -> None:
        """Have L0 come to the probes at the traps that they are for, and no others."""
        for site, bit in BITS.items():
            wanted = frozenset[int]().union(
                *(classes_of(probe.place) for probe in self.of_site(site))
            )
            watch(self._l0.vcpus, bit, wanted)

    # -- places

    def _take(self, compiled: Compiled) -> tuple[Piece, bytes]:
        """Find room for a probe and its maps, and link it.

        :raises UserError: when there is none; nothing has been taken.
        """
        address = self._code.take(compiled.code_bytes)
        if address is None:
            raise UserError(
                f"the probe {compiled.name} has {format_bytes(compiled.code_bytes)} of code, and"
                f" {format_bytes(self._code.free_bytes)} are free; remove another one."
            )
        try:
            self._take_maps(compiled)
        except UserError:
            self._code.give_back(address)
            raise
        code, entry = link_probe(compiled, address, self._maps)
        return Piece(address, entry, dict(compiled.maps)), code

    def _take_maps(self, compiled: Compiled) -> None:
        taken: dict[Map, int] = {}
        for name, each in compiled.maps.items():
            if each in self._maps:
                continue
            address = self._data.take(each.struct.size)
            if address is None:
                for other in taken.values():
                    self._data.give_back(other)
                raise UserError(
                    f"the map {name} of the probe {compiled.name} has"
                    f" {format_bytes(each.struct.size)}, and {format_bytes(self._data.free_bytes)}"
                    " are free; make it smaller, or remove another probe."
                )
            taken[each] = address
        for each, address in taken.items():
            self._memory.write(address, bytes(each.struct.size))
        self._maps |= taken
        for each in compiled.maps.values():
            self._users[each] = self._users.get(each, 0) + 1

    def _reading(self, each: Map) -> Reading:
        """Give the one view of a map that all its probes share."""
        if each not in self._readings:
            window = self._memory.window(self._maps[each], each.struct.size)
            self._readings[each] = each.read(window)
        return self._readings[each]

    # -- taking out

    def _clear_away(self) -> bool:
        """Give back what no pcpu can be in any more; give whether something is left."""
        done = int(self.state.done)
        with threading.Lock():
            pass  # a full barrier: `pending` was set before anybody is asked whether he is busy
        for leaving in list(self._leaving):
            if done < leaving.number:
                continue
            leaving.inside -= {cpu for cpu in leaving.inside if not self._is_busy(cpu)}
            if not leaving.inside:
                self._leaving.remove(leaving)
                self._give_back(leaving)
        return bool(self._leaving)

    def _is_busy(self, cpu: int) -> bool:
        return bool(self._l0.vcpu(cpu).probing.busy)

    def _give_back(self, leaving: Leaving) -> None:
        if leaving.chain is not None:
            self._chains.give_back(leaving.chain)
        probe = leaving.probe
        if probe is None:
            return
        self._code.give_back(probe._piece.code)
        for name, each in probe._piece.maps.items():
            self._users[each] -= 1
            if self._users[each]:
                continue
            kept = bytearray(self._memory.window(self._maps[each], each.struct.size))
            probe.maps[name] = each.read(memoryview(kept))
            del self._readings[each]
            self._data.give_back(self._maps.pop(each))
