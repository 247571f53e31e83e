"""A campaign: the same measured in each configuration, on one clock or both, and what came of it.

Counted runs are exact. Host time is noisy, so there can be several rounds of it, in which the
configurations take turns. One that fails is left out from then on and leaves the others theirs.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vel2.bench.configuration import Configuration
from vel2.bench.peer import KVM_KERNEL
from vel2.bench.result import Tree
from vel2.bench.system import MeasureError
from vel2.errors import UserError
from vel2.guests.kernels import guest_kernel
from vel2.machine.loader import KernelImage
from vel2.machine.version import require_qemu

__all__ = ("Campaign", "Clock", "Result", "Runs", "require_count")

LOG = logging.getLogger(__name__)
Run = TypeVar("Run")


@dataclass(frozen=True)
class Clock:
    """How time is measured.

    :ivar counts: one run counts instructions. :ivar rounds: how many runs go by host time.
    """

    counts: bool = True
    rounds: int = 0

    @property
    def name(self) -> str:
        """`instructions`, `host` or `both`."""
        if not self.counts:
            return "host"
        return "both" if self.rounds else "instructions"


@dataclass
class Runs(Generic[Run]):
    """What one configuration showed.

    :ivar counted: the run that counts instructions. :ivar timed: those by host time, in turn.
    :ivar error: why it did not get to its end.
    """

    counted: Run | None = None
    timed: list[Run] = field(default_factory=list)
    error: MeasureError | None = None

    @property
    def first(self) -> Run:
        """The counted run, or the first by host time."""
        return self.timed[0] if self.counted is None else self.counted


@dataclass(frozen=True)
class Result:
    """A result for JSON, and the exit code of the first configuration that failed; 0 for none."""

    tree: Tree
    code: int


@dataclass(frozen=True)
class Campaign:
    """What to measure, and how often.

    :ivar run: what the result says first: when, by what command and on what machine.
    :ivar l1: the name of L1's kernel. :ivar kernel: that kernel.
    :ivar count: how often each operation is done.
    :ivar timeout: seconds of host time for each run.
    """

    run: Tree
    l1: str
    kernel: KernelImage
    configurations: Sequence[Configuration]
    clock: Clock
    count: int
    timeout: float

    def about(self) -> Tree:
        """Say what was measured with, as the result's beginning."""
        has_kvm = any(row.linuxes_below for row in self.configurations)
        return {
            "run": self.run,
            "l1": self.l1,
            "l1_kernel": self.kernel.version,
            "kvm_l0_kernel": guest_kernel(KVM_KERNEL).version if has_kvm else None,
            "ahead": all(row.ahead for row in self.configurations),
            "level": max(row.level for row in self.configurations),
            "depth": max(row.depth for row in self.configurations),
            "probes": sorted({each for row in self.configurations for each in row.probes}),
            "qemu": str(require_qemu()[1]),
            "clock": self.clock.name,
            "n": self.count,
            "rounds": self.clock.rounds,
        }

    def turns(self) -> Iterator[tuple[Configuration, bool]]:
        """Give each run in order, as a configuration and whether it counts instructions."""
        for counts in (*(True,) * self.clock.counts, *(False,) * self.clock.rounds):
            for row in self.configurations:
                yield row, counts

    def measure(self, once: Callable[[Configuration, bool], Run]) -> dict[str, Runs[Run]]:
        """Run everything, and say how far it is.

        :param once: runs one configuration once; told whether to count instructions.
        """
        found: dict[str, Runs[Run]] = {row.name: Runs() for row in self.configurations}
        turns = list(self.turns())
        for number, (row, counts) in enumerate(turns, 1):
            runs = found[row.name]
            if runs.error is not None:
                continue
            scale = "counting instructions" if counts else "by host time"
            LOG.info("measuring %s, %s (%d of %d)", row.name, scale, number, len(turns))
            try:
                made = once(row, counts)
            except MeasureError as error:
                LOG.warning("%s: %s", row.name, error)
                runs.error = error
                continue
            if counts:
                runs.counted = made
            else:
                runs.timed.append(made)
        return found

    def result(
        self, found: Mapping[str, Runs[Run]], column: Callable[[Runs[Run]], Tree], **more: object
    ) -> Result:
        """Put together what everything showed.

        :param column: gives the figures of a configuration that did not fail.
        :param more: what else the result says.
        """
        columns = {
            name: column(runs) if runs.error is None else failed_column(runs.error)
            for name, runs in found.items()
        }
        errors = [runs.error for runs in found.values() if runs.error is not None]
        tree = {**self.about(), **more, "configurations": columns}
        return Result(tree, errors[0].exit_code if errors else 0)

    @property
    def rows(self) -> dict[str, Configuration]:
        """The configurations by name."""
        return {row.name: row for row in self.configurations}


def failed_column(error: MeasureError) -> Tree:
    """Give what there is of a configuration that did not get to its end."""
    return {"error": str(error), "operations": {}}


def require_count(count: int, most: int) -> None:
    """Refuse a number of repetitions that Linux programs cannot do.

    :raises UserError: saying what can be given.
    """
    if not 1 <= count <= most:
        raise UserError(f"this cannot be done {count} times; give 1 to {most}.")
