"""A trace for Perfetto's UI and its trace processor.

Each vCPU has four tracks: `exits`, `L2`, `L1` and `L0`.

    exits   one slice for each exit of L2, from its trap to the next entry; its name is the cause
    L2      L2 runs
    L1      L1 runs, or handles an exit (`L1 handles hypercall`)
    L0      one slice for each trap; its arguments are the event's columns

A slice of L1 contains the traps of L1 in time: who really ran is the lowest track that has a slice.
A flow joins what belongs to one exit: L2's trap in L0, L1's slice, the ERET in L0, and L2 again.

The time stamps are those of the guest's clock. Packets are written one by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vel2.errors import UserError
from vel2.trace.recording import Recording
from vel2.trace.rows import Names
from vel2.trace.schema import Event, Kind, Result
from vel2.trace.words import cause_of, level_of, register_of, vmid_of

if TYPE_CHECKING:
    from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder

__all__ = ("TRACKS", "write_perfetto")

TRACKS = ("exits", "L2", "L1", "L0")
SEQUENCE = 1
"""Perfetto's name for who writes packets: there is one."""
VCPU_TRACK, TRACKS_OF_VCPU = 1000, 100
EXIT_FLOWS = 1 << 56
"""Flows and vCPUs in one number: every exit has its own."""


@dataclass
class Lane:
    """What is open of one vCPU.

    :ivar level: who runs, as the last event says; empty before the first.
    :ivar flow: of the exit that L1 is at; 0 outside.
    """

    level: str = ""
    flow: int = 0
    exits: int = 0
    open: set[str] = field(default_factory=set)


def write_perfetto(trace: Recording, names: Names, path: Path) -> int:
    """Write a trace for Perfetto; give the number of exits in it.

    :raises UserError: when the library is not installed, or the file cannot be written.
    """
    try:
        from perfetto.trace_builder.proto_builder import StreamingTraceProtoBuilder
    except ImportError as error:
        raise UserError(
            "a file for Perfetto needs its library; install it with pip install 'vel2[trace]'."
        ) from error
    try:
        with path.open("wb") as file:
            return Writer(StreamingTraceProtoBuilder(file), trace, names).write()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}).") from error


class Writer:
    """Turn events into packets."""

    def __init__(
        self, builder: "StreamingTraceProtoBuilder", trace: Recording, names: Names
    ) -> None:
        from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackEvent

        self._builder = builder
        self._trace = trace
        self._names = names
        self._begin, self._end = TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END
        self._cleared = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        self._lanes = [Lane() for _ in range(trace.about.vcpus)]

    def write(self) -> int:
        """Write all of it."""
        for vcpu in range(len(self._lanes)):
            self._describe(vcpu)
        last = 0
        for event in self._trace.events():
            last = max(last, event.ended)
            if event.kind in (Kind.TRAP, Kind.ERET):
                self._event(event, self._lanes[event.vcpu])
        for vcpu, lane in enumerate(self._lanes):
            for track in [track for track in TRACKS if track in lane.open]:
                self._close(vcpu, lane, track, last)
        return sum(lane.exits for lane in self._lanes)

    def _event(self, event: Event, lane: Lane) -> None:
        """Write the changes of level that an event is, and L0's slice."""
        vcpu = event.vcpu
        source, target = level_of(event.source), level_of(event.target)
        if not lane.level:
            self._open(vcpu, lane, source, event.began, f"{source} runs")
        flows: list[int] = []
        exits = source == "L2" and target == "L1"
        if exits:
            lane.exits += 1
            lane.flow = lane.exits + vcpu * EXIT_FLOWS
            cause = cause_of(event)
            self._close(vcpu, lane, "L2", event.began)
            self._open(vcpu, lane, "exits", event.began, cause, self._details(event))
        if lane.flow and source != target:
            flows = [lane.flow]
        self._slice(event, flows)
        if exits:
            self._open(vcpu, lane, "L1", event.ended, f"L1 handles {cause_of(event)}", flows=flows)
        elif source == "L1" and target == "L2":
            self._close(vcpu, lane, "L1", event.began)
            self._close(vcpu, lane, "exits", event.ended)
            self._open(vcpu, lane, "L2", event.ended, "L2", {"vmid": vmid_of(event)}, flows, True)
            lane.flow = 0
        lane.level = target

    def _slice(self, event: Event, flows: list[int]) -> None:
        where = self._names.function(event.source, event.pc)
        details = self._details(event)
        if where:
            details["function"] = where
        packet = self._packet(event.vcpu, "L0", event.began, self._begin)
        packet.track_event.name = cause_of(event)
        packet.track_event.categories.append("trap")
        packet.track_event.flow_ids.extend(flows)
        self._annotate(packet, details)
        self._builder.write_packet(packet)
        self._builder.write_packet(self._packet(event.vcpu, "L0", event.ended, self._end))

    def _details(self, event: Event) -> dict[str, str | int]:
        found: dict[str, str | int] = {"pc": f"{event.pc:#x}", "vmid": vmid_of(event)}
        if event.esr:
            found["esr"] = f"{event.esr:#x}"
        if register := register_of(event):
            found |= {"register": register, "value": f"{event.value:#x}"}
        if event.result:
            found["result"] = Result(event.result).name.lower()
        return found

    def _open(
        self,
        vcpu: int,
        lane: Lane,
        track: str,
        ticks: int,
        name: str,
        details: dict[str, str | int] | None = None,
        flows: list[int] | None = None,
        is_last: bool = False,
    ) -> None:
        """Begin a slice; a flow ends in it if `is_last`."""
        self._close(vcpu, lane, track, ticks)
        packet = self._packet(vcpu, track, ticks, self._begin)
        event = packet.track_event
        event.name = name
        event.categories.append("exit" if track == "exits" else "level")
        (event.terminating_flow_ids if is_last else event.flow_ids).extend(flows or [])
        self._annotate(packet, details or {})
        self._builder.write_packet(packet)
        lane.open.add(track)

    def _close(self, vcpu: int, lane: Lane, track: str, ticks: int) -> None:
        if track in lane.open:
            lane.open.discard(track)
            self._builder.write_packet(self._packet(vcpu, track, ticks, self._end))

    def _packet(self, vcpu: int, track: str, ticks: int, kind: int) -> Any:
        packet = self._builder.create_packet()
        packet.timestamp = self._trace.nanoseconds(ticks)
        packet.trusted_packet_sequence_id = SEQUENCE
        packet.track_event.type = kind
        packet.track_event.track_uuid = self._uuid(vcpu, track)
        return packet

    @staticmethod
    def _annotate(packet: Any, details: dict[str, str | int]) -> None:
        for name, value in details.items():
            note = packet.track_event.debug_annotations.add()
            note.name = name
            if isinstance(value, int):
                note.uint_value = value
            else:
                note.string_value = value

    @staticmethod
    def _uuid(vcpu: int, track: str = "") -> int:
        first = VCPU_TRACK + vcpu * TRACKS_OF_VCPU
        return first + (TRACKS.index(track) + 1 if track else 0)

    def _describe(self, vcpu: int) -> None:
        """Declare the tracks of a vCPU, in their order."""
        for name, parent in self._tracks(vcpu):
            packet = self._builder.create_packet()
            packet.trusted_packet_sequence_id = SEQUENCE
            if vcpu == 0 and parent is None:
                packet.sequence_flags = self._cleared
            about = packet.track_descriptor
            about.uuid = self._uuid(vcpu, name)
            about.name = name or f"vCPU {vcpu}"
            if parent is None:
                about.child_ordering = about.EXPLICIT
            else:
                about.parent_uuid = parent
                about.sibling_order_rank = TRACKS.index(name)
            self._builder.write_packet(packet)

    def _tracks(self, vcpu: int) -> Iterator[tuple[str, int | None]]:
        yield "", None
        for name in TRACKS:
            yield name, self._uuid(vcpu)
