"""Where the instructions of one operation go: who executed each, and in which function.

Some of the payload's single operations are logged instruction by instruction (`execlog`), and the
usual one of them is examined. A window begins at the payload's first reading of the counter and
ends before its last, so that it has the instructions by which the two readings differ. Each profile
checks that; nothing is assumed.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path

from vel2.arch import sysregs as sr
from vel2.arch.bits import trap_key_from_iss
from vel2.arch.esr import EC, ISS_SYS64, ESR_ELx, describe_esr
from vel2.arch.nesting import Kind
from vel2.bench.configuration import Configuration
from vel2.bench.execlog import ExecLog, Step, Taken, read_steps
from vel2.bench.layout import ROUNDS, TIMED, Mark
from vel2.bench.measure import Figures, MeasureError, MicroRequest, measure
from vel2.bench.operations import OPERATIONS, operation_names
from vel2.bench.payload import build_payload, payload_image
from vel2.bench.peer import kvm_kernel
from vel2.bench.places import Code, Place
from vel2.bench.system import Running
from vel2.control.counters import trap_name
from vel2.control.vm import Vm
from vel2.guests.kallsyms import KernelSymbols, read_kallsyms
from vel2.guests.l2board import STATE
from vel2.lang import Assembler, Image
from vel2.machine.qmp import MonitorError
from vel2.scratch import scratch

__all__ = ("Profile", "Run", "profile", "trap_kind")

L0, L2 = "L0", "L2"
PREROLLS = (20_000, 200_000, 2_000_000)
"""What QEMU is given to switch its log on, one attempt after the other."""
WORD_BYTES = 4
RT = 0x1F
KERNEL_HALF = 1 << 55
"""VA bit 55 chooses TTBR1, which the EL2 of a hypervisor without VHE does not have."""


@dataclass
class Windows:
    """The single operations of one kind in the log: how often each number of ticks, and one log.

    :ivar logs: by ticks, the first that took so many.
    """

    ticks: Counter[int] = field(default_factory=Counter)
    logs: dict[int, bytes] = field(default_factory=dict)

    def usual(self) -> tuple[int, bytes]:
        """Give the most frequent number of ticks, the least of equals, and its log."""
        ticks = Counter(dict(sorted(self.ticks.items()))).most_common(1)[0][0]
        return ticks, self.logs[ticks]


@dataclass
class Run:
    """What ran without a change of level or EL.

    :ivar who: `L0`, `L1 vEL2`, `L1 vEL1`, `L1 EL0`, `L2`; `L1 EL2`, `L1 EL1` without L0.
    :ivar taken: the exception it began with; None after an exception return.
    :ivar places: each instruction's, in order; None where nobody knows it.
    """

    who: str
    taken: Taken | None
    pcs: list[int]
    places: list[Place | None]

    @property
    def functions(self) -> Counter[str]:
        """Count the instructions by function."""
        return Counter(place.function if place else "?" for place in self.places)

    @property
    def lines(self) -> Counter[str]:
        """Count the instructions by source line, where it is known."""
        return Counter(place.line for place in self.places if place and place.line)

    @property
    def system(self) -> Counter[str]:
        """Count the system register accesses, system instructions and barriers, where known."""
        return Counter(place.system for place in self.places if place and place.system)


@dataclass
class Profile:
    """The usual one of some single operations.

    :ivar ticks: what the payload's clock counted; `idle` of them passed while nobody ran.
    :ivar figures: what the same run measured, the timed round included.
    :ivar runs: all that ran, in order.
    """

    operation: str
    ticks: int
    idle: int
    figures: Figures
    runs: list[Run] = field(default_factory=list)

    @property
    def levels(self) -> Counter[str]:
        """Count the instructions by who executed them."""
        counted: Counter[str] = Counter()
        for run in self.runs:
            counted[run.who] += len(run.pcs)
        return counted

    @property
    def functions(self) -> Counter[tuple[str, str]]:
        """Count the instructions by who executed them and the function."""
        counted: Counter[tuple[str, str]] = Counter()
        for run in self.runs:
            counted.update({(run.who, name): n for name, n in run.functions.items()})
        return counted

    @property
    def lines(self) -> Counter[str]:
        """Count L0's instructions by source line."""
        counted: Counter[str] = Counter()
        for run in self.runs:
            if run.who == L0:
                counted.update(run.lines)
        return counted

    @property
    def traps(self) -> list[tuple[str, Run]]:
        """List L0's runs, each with who was interrupted."""
        pairs = zip(self.runs, self.runs[1:], strict=False)
        return [(before.who, run) for before, run in pairs if run.who == L0]


class Watch:
    """Has the log switched on at the first mark, and takes each single operation out of it."""

    def __init__(self, log: ExecLog, selected: Sequence[str]) -> None:
        self._log = log
        self._start = 0
        self.running: Running | None = None
        self.windows = {name: Windows() for name in selected}
        self.too_late = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """QEMU's options for it."""
        return self._log.arguments

    def begin(self, running: Running) -> None:
        """Learn of the machine."""
        self.running = running

    def see(self, mark: Mark) -> None:
        """Look at the log where an operation begins and ends."""
        assert self.running is not None
        if mark.sequence == 1:
            self._log.switch(self.running.session.monitor, True)
        name = operation_names()[mark.operation]
        begins = mark.sequence % 2 != 0
        if mark.round > TIMED:
            self.too_late |= not self._log.is_on
            windows = self.windows[name]
            if not begins and mark.ticks not in windows.logs:
                windows.logs[mark.ticks] = self._log.read(self._start)
            windows.ticks[mark.ticks] += not begins
        self._start = self._log.drop()
        if mark.round == ROUNDS - 1 and not begins and name == list(self.windows)[-1]:
            self._log.switch(self.running.session.monitor, False)


def profile(request: MicroRequest) -> dict[str, Profile]:
    """Profile operations, in the payload's order.

    :raises MeasureError: when the run did not get to its end, or the log is not what it should be.
    """
    for preroll in PREROLLS:
        with scratch() as folder:
            found = attempt(request, preroll, Path(folder))
        if found is not None:
            return found
    raise MeasureError("QEMU did not switch its log on in time; try on a machine with less to do.")


def attempt(request: MicroRequest, preroll: int, folder: Path) -> dict[str, Profile] | None:
    """Profile with one preroll; None when QEMU was too slow for it."""
    names = request.payload.selected
    payload = build_payload(request.payload.count, names, preroll=preroll)
    with ExecLog(folder / "log") as log:
        watch = Watch(log, names)
        try:
            figures = measure(replace(request, payload=payload), watch)
        except MonitorError as error:
            raise MeasureError(f"QEMU did not switch its log on: {error}.") from error
    if watch.too_late:
        return None
    assert watch.running is not None
    session = watch.running.session
    l0_image = session.image if isinstance(session, Vm) else None
    l0 = kvm_kernel().data if request.configuration.kvm else b""
    naming = Naming(request.configuration, l0_image, request.kernel.data, l0)
    return {name: look_into(name, figures[name], watch.windows[name], naming) for name in figures}


class Naming:
    """Who runs at an address and EL, and what is there."""

    def __init__(
        self, configuration: Configuration, l0_image: Image | None, l1: bytes, l0: bytes = b""
    ) -> None:
        """Learn what there is.

        :param l0_image: vel2, where it is L0.
        :param l1: the Image of L1's kernel. :param l0: the Image of a kernel that is L0.
        """
        self._nvhe = configuration.el2 is Kind.NVHE
        self._kvm = configuration.kvm
        self._is_native = configuration.nv is None and not configuration.kvm
        self._payload = payload_image()
        self._codes = {L2: Code(self._payload)}
        if l0_image is not None:
            self._codes[L0] = Code(l0_image)
        l1_symbols = symbols_of(l1)
        self._kernels: dict[str, KernelSymbols | None] = dict.fromkeys(
            ("L1 EL1", "L1 EL2", "L1 vEL1", "L1 vEL2"), l1_symbols
        )
        if configuration.kvm:
            self._kernels[L0] = symbols_of(l0)
        self.counter_reads = counter_reads(self._payload)

    def name(self, steps: Sequence[Step]) -> list[Run]:
        """Say who ran, and where."""
        runs = []
        for step, following in zip_longest(steps, steps[1:]):
            if step.pcs:
                pc = step.pcs[0]
            elif following is not None and following.taken is not None:
                # Whose first access aborts completes nothing; where it was, the exception says.
                pc = following.taken.elr or 0
            else:
                continue
            runs.append(Run(self.who(step.el, pc), step.taken, step.pcs, []))
        pcs: dict[str, list[int]] = {}
        for run in runs:
            pcs.setdefault(run.who, []).extend(run.pcs)
        places = {who: self.places_of(who, found) for who, found in pcs.items()}
        for run in runs:
            run.places += [places[run.who](pc) for pc in run.pcs]
        return runs

    def places_of(self, who: str, pcs: Sequence[int]) -> Callable[[int], Place | None]:
        """Give what names the places of someone, who executed these instructions."""
        code, symbols = self._codes.get(who), self._kernels.get(who)
        if code is not None:
            return code.at
        base = None if symbols is None else symbols.find_base(pcs)
        if symbols is None or base is None:
            return lambda pc: None
        return LinuxCode(symbols, base).at

    def who(self, el: int, pc: int) -> str:
        """Say who runs. Of L2 and an L1 that both run at EL1, the address tells which."""
        if el == 2:
            return "L1 EL2" if self._is_native else L0
        if el == 1 and self._payload.base <= pc < STATE:
            return L2
        if el == 0:
            # Linux as L0 has processes, too.
            return "EL0" if self._kvm else "L1 EL0"
        if self._is_native:
            return "L1 EL1"
        return "L1 vEL1" if self._nvhe and pc & KERNEL_HALF else "L1 vEL2"


@dataclass(frozen=True)
class LinuxCode:
    """A kernel at an address: names the function of each address in it."""

    symbols: KernelSymbols
    base: int

    def at(self, pc: int) -> Place | None:
        """Give the place of an instruction; None before the first function."""
        name = self.symbols.at(pc - self.base)
        return None if name is None else Place(name)


@cache
def symbols_of(image: bytes) -> KernelSymbols | None:
    """Read a kernel's symbols once."""
    return read_kallsyms(image)


def counter_reads(image: Image) -> frozenset[int]:
    """List where the payload reads CNTVCT_EL0."""
    a = Assembler()
    a.mrs(0, sr.CNTVCT_EL0)
    wanted = int.from_bytes(a.data[:WORD_BYTES], "little")
    words = memoryview(image.data[: len(image.data) // WORD_BYTES * WORD_BYTES]).cast("I")
    return frozenset(
        image.base + WORD_BYTES * index for index, word in enumerate(words) if word & ~RT == wanted
    )


def look_into(name: str, figures: Figures, windows: Windows, naming: Naming) -> Profile:
    """Make the profile of the usual window.

    :raises MeasureError: when the log does not have as many instructions as the guest counted.
    """
    ticks, log = windows.usual()
    logged = log.decode("ascii", "replace").splitlines()
    lines = between_reads(logged, naming.counter_reads)
    made = Profile(name, ticks, 0, figures)
    made.runs = naming.name(read_steps(lines, el=1))
    made.idle = ticks - made.levels.total()
    sleeps = next(row.sleeps for row in OPERATIONS if row.name == name)
    if made.idle < 0 or (made.idle and not sleeps):
        raise MeasureError(
            f"QEMU logged {made.levels.total()} instructions of {name}, but it took {ticks}."
        )
    return made


def between_reads(lines: Sequence[str], reads: frozenset[int]) -> Sequence[str]:
    """Give the lines from the first reading of the counter to just before the last."""
    endings = tuple(f"/{pc:016x}/" for pc in reads)
    found = [
        index
        for index, line in enumerate(lines)
        if line.startswith("Trace ") and any(ending in line for ending in endings)
    ]
    if len(found) < 2:
        raise MeasureError("QEMU's log does not show L2 reading the counter.")
    return lines[found[0] : found[-1]]


def trap_kind(taken: Taken | None) -> str:
    """Name what was trapped: exception class, register or instruction, or interrupt."""
    if taken is None:
        return "return"
    if taken.esr is None:
        return taken.name
    ec = ESR_ELx.EC.get(taken.esr)
    if ec == EC.SYS64:
        iss = ESR_ELx.ISS.get(taken.esr)
        verb = "MRS" if ISS_SYS64.Direction.get(iss) else "MSR"
        name = trap_name(trap_key_from_iss(iss))
        return name if " " in name else f"{verb} {name}"
    return EC(ec).name if ec in EC._value2member_map_ else describe_esr(taken.esr)
