"""The options by which `run` and `demo` trace, and the file they trace into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from vel2.cli.options import gathered
from vel2.cli.report import require_writable, trap_tree
from vel2.cli.streams import say
from vel2.control.request import DEFAULT_RING_SLOTS, Request
from vel2.control.session import Session
from vel2.errors import UserError
from vel2.scratch import scratch
from vel2.trace.recording import About, End, Recorder

if TYPE_CHECKING:  # it brings in the registers
    from vel2.trace.filters import Wanted

__all__ = ("TraceOptions", "trace_options")

RING_MAX = 1 << 24


@dataclass(frozen=True)
class TraceOptions:
    """What the command line says about a trace, checked.

    :ivar file: where it goes; None for no trace, or one that only the report is made of.
    :ivar only: the terms as they were given. :ivar slots: events for which each ring has room.
    :ivar report: where a page about the run goes; None for no page.
    """

    file: Path | None
    only: tuple[str, ...]
    wanted: Wanted
    slots: int
    report: Path | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether L0 is to be traced."""
        return self.file is not None or self.report is not None

    def request(self, request: Request) -> Request:
        """Give the machine rings of the size that was asked for.

        :raises UserError: when there is no L0 to trace.
        """
        if not self.is_wanted:
            return request
        if request.native:
            option = "--report" if self.file is None else "--trace"
            raise UserError(f"{option} is of what L0 does, and with --native there is none.")
        return replace(request, ring_slots=self.slots)

    @contextmanager
    def tracing(
        self, session: Session, run: Mapping[str, Any], kernels: Mapping[str, str]
    ) -> Iterator[None]:
        """Trace what runs inside, if that was asked for; say in the end what is missing.

        Then write the page about it.
        """
        if not self.is_wanted:
            yield
            return
        with scratch() as folder:
            path = self.file or folder / "trace"
            with self._into(path, session, run, kernels):
                yield
            if self.report is not None:
                from vel2.cli.trace.report import write_page

                write_page(path, self.report)

    @contextmanager
    def _into(
        self, path: Path, session: Session, run: Mapping[str, Any], kernels: Mapping[str, str]
    ) -> Iterator[None]:
        from vel2.control.tracing import Tracer  # they bring in the compiler
        from vel2.control.vm import Vm

        assert isinstance(session, Vm)
        with open_for_trace(path) as file:
            into = TraceFile(file, session, self.only, run, kernels)
            with Tracer(session, into.write, self.wanted) as tracer:
                yield
            if tracer.error is None:
                try:
                    into.end(tracer.lost, session)
                except OSError as error:
                    tracer.error = error
        self._say(path, tracer.taken, sum(tracer.lost), tracer.error)

    def _say(self, path: Path, taken: int, lost: int, error: OSError | None) -> None:
        if error is not None:
            say(
                f"{path} could not be written any further ({error.strerror}): it has the first"
                f" {taken:,} events, and no end."
            )
        elif self.file is not None:
            say(f"{path} has {taken:,} events.")
        if lost:
            say(
                f"{lost:,} events were lost, because the rings were full; give --trace-ring more"
                f" than {self.slots}, or trace less with --only."
            )


def open_for_trace(path: Path) -> IO[bytes]:
    """Open the file that a trace goes to.

    :raises UserError: when it cannot be written.
    """
    try:
        return path.open("wb")
    except OSError as error:
        raise UserError(f"the trace {path} cannot be written ({error.strerror}).") from error


class TraceFile:
    """A trace being written. Its header waits for L0, which finds the clock's frequency."""

    def __init__(
        self,
        file: IO[bytes],
        session: Any,
        only: tuple[str, ...],
        run: Mapping[str, Any],
        kernels: Mapping[str, str],
    ) -> None:
        self._file = file
        self._session = session
        self._recorder: Recorder | None = None
        # What differs from run to run must not be in the trace of one that repeats bit for bit.
        kept = {key: value for key, value in run.items() if key not in ("date", "command")}
        self._parts = only, dict(kept if run.get("deterministic") else run), dict(kernels)

    def write(self, events: bytes) -> None:
        """Write events, the header before the first."""
        self._begun().write(events)

    def end(self, lost: tuple[int, ...], session: Session) -> None:
        """Write the end."""
        tree = trap_tree(session.traps(), session.sysreg_traps())
        self._begun().end(End(lost, tree))

    def _begun(self) -> Recorder:
        if self._recorder is None:
            only, run, kernels = self._parts
            frequency = max(1, self._session.state.probed.frequency)
            about = About(frequency, self._session.request.smp, kernels, only, run)
            self._recorder = Recorder(self._file, about)
        return self._recorder


def read_trace_options(
    *, trace: Path | None, only: tuple[str, ...], trace_ring: int, report: Path | None
) -> TraceOptions:
    """Check the values of the options of `trace_options`, which have these names.

    :raises UserError: when a filter is none, or there is nothing to filter.
    """
    if only and trace is None and report is None:
        raise UserError("--only says what --trace FILE has in it; give a FILE.")
    if trace_ring & (trace_ring - 1):
        raise UserError(f"--trace-ring {trace_ring} is no power of two; give one, such as 65536.")
    require_writable(trace, "the trace")
    require_writable(report, "the report")
    from vel2.trace.filters import parse

    return TraceOptions(trace, only, parse(only), trace_ring, report)


trace_options = gathered(
    "tracing",
    read_trace_options,
    click.option(
        "--trace",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write every trap and switch into a file, for `vel2 trace`.",
    ),
    click.option(
        "--only",
        multiple=True,
        metavar="TERM",
        help="Trace only ec:HVC64, sysreg:HCR_EL2, kind:FILL, from:L2, pc:0x1000-0x1fff.",
    ),
    click.option(
        "--trace-ring",
        type=click.IntRange(2, RING_MAX),
        default=DEFAULT_RING_SLOTS,
        show_default=True,
        metavar="EVENTS",
        help="Room for so many events of each CPU until they are written.",
    ),
    click.option(
        "--report",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write a page about the run: what trapped where and why, and what it cost.",
    ),
)
