"""The points of the growth curves: what grows, how far, and what is measured at each.

Shared by the program in L1, which sets each point up, and by the host, which draws the curves. The
curves over vCPUs and depth are not the program's: each of their points is a boot, with the payload
of `micro`.
"""

from dataclasses import dataclass

from vel2.guests.l2tree import L2_UART_BASE

__all__ = (
    "ASK",
    "CURVES",
    "DEPTH_POINTS",
    "HYPERCALLS",
    "NAMES",
    "POINTS",
    "RAISE_SGIS",
    "TOUCH",
    "VCPUS_POINTS",
    "Curve",
    "Point",
)

ASK = L2_UART_BASE + 0x800
"""Where L2 reads 64 bits to ask for a command: the command in the low bits, its argument above."""
COMMAND_BITS = 8
MAX_EXITS = 100_000
NOTHING, HYPERCALLS, TOUCH, RAISE_SGIS = range(4)
"""Do nothing; make N hypercalls; write to N fresh pages; have N SGIs pending."""

GUESTS = (1, 2, 8, 24, 32, 48)
MEMORY_MIB = (1, 4, 16, 64, 256)
LIST_REGISTERS = (0, 1, 2, 3, 4, 8)
VCPUS = (1, 2, 4, 8)
DEPTHS = (1, 2, 3)


@dataclass(frozen=True)
class Curve:
    """One curve.

    :ivar grows: what x is. :ivar costs: what y is the cost of.
    """

    name: str
    grows: str
    costs: str
    points: tuple[int, ...]


OF_PROGRAM = (
    Curve("memory_fault", "MiB that L2 has touched", "stage-2 fault, 4 KiB", MEMORY_MIB),
    Curve("memory_exit", "MiB that L2 has touched", "hypercall", MEMORY_MIB),
    Curve("guests", "guests taking turns on one vCPU of L1", "exit to user space", GUESTS),
    Curve("list_registers", "interrupts pending in L2", "hypercall", LIST_REGISTERS),
)
OF_VCPUS = Curve("vcpus", "vCPUs of L2, all at it at once", "hypercall", VCPUS)
OF_DEPTH = Curve("depth", "vel2s, one in the other", "hypercall", DEPTHS)
CURVES = (*OF_PROGRAM, OF_VCPUS, OF_DEPTH)


@dataclass(frozen=True)
class Point:
    """One point of a curve."""

    curve: Curve
    x: int

    @property
    def name(self) -> str:
        """What it is called in a run."""
        return f"{self.curve.name}.{self.x}"


POINTS = tuple(Point(curve, x) for curve in OF_PROGRAM for x in curve.points)
NAMES = tuple(point.name for point in POINTS)
"""An index of this is `Mark.operation`."""
VCPUS_POINTS = tuple(Point(OF_VCPUS, x) for x in VCPUS)
DEPTH_POINTS = tuple(Point(OF_DEPTH, x) for x in DEPTHS)
