"""What L0 does at the moment: its counters twice, and the difference.

Counters are read while the machine runs, one word after the other, so that a sum may be a few traps
ahead of another; none is ever lost. Who runs is no counter: it is looked at many times between two
readings, and the share is that of the looks. Hardware holds L1's context or its guest's, and L0
works for one of them when it works; so L0's time is in that of the level that trapped.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.control.counters import INTERRUPTS, class_name, trap_name
from vel2.control.l0 import L0
from vel2.hyp.pcpu import ON
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu, VncrPage
from vel2.hyp.timer import CNTP_CTL_SLOT, CNTP_CVAL_SLOT, CNTV_CTL_SLOT, CNTV_CVAL_SLOT

__all__ = ("EVENTS", "LEVELS", "Pulse", "Reading", "Timer", "VcpuReading", "look", "read")

LEVELS = {CONTEXT_VEL2: "vEL2", CONTEXT_VEL1: "vEL1"}
EVENTS = ("to_vel1", "to_vel2", "forwarded", "injected", "ahead", "shadow_fills", "shadow_unmaps")
"""Counters of `Counters` that are no traps."""
CTL = sr.CNTV_CTL_EL0
TIMER_SLOTS = {
    "virtual": (CNTV_CTL_SLOT, CNTV_CVAL_SLOT),
    "physical": (CNTP_CTL_SLOT, CNTP_CVAL_SLOT),
}

Traps = Counter[tuple[str, str]]
"""By class and level."""


@dataclass(frozen=True)
class Timer:
    """A timer of L1's guest, as it is in the VNCR page. As text it says what it does."""

    ctl: int
    cval: int

    def __str__(self) -> str:
        if not CTL.ENABLE.get(self.ctl):
            return "off"
        words = [
            "fired" if CTL.ISTATUS.get(self.ctl) else "on",
            *(["masked"] if CTL.IMASK.get(self.ctl) else []),
        ]
        return " ".join(words)


@dataclass(frozen=True)
class VcpuReading:
    """What L0 has counted on one vCPU, and how it is."""

    index: int
    is_on: bool
    level: str
    traps: Traps
    sysregs: Counter[str]
    events: Counter[str]
    timers: dict[str, Timer]


@dataclass(frozen=True)
class Reading:
    """All of it, at a time.

    :ivar shadows: stage-2 contexts of L1's guests in use. :ivar pages, pages_used: of L0's tables.
    """

    at: float
    vcpus: tuple[VcpuReading, ...]
    shadows: int
    pages: int
    pages_used: int


def read(l0: L0) -> Reading:
    """Read everything once."""
    manager = l0.state.stage2
    shadows = sum(1 for n in range(manager.contexts) if manager.shadows[n].in_use)
    now = time.monotonic()
    vcpus = tuple(_read_vcpu(l0, index, vcpu) for index, vcpu in enumerate(l0.vcpus))
    return Reading(now, vcpus, shadows, manager.pool_pages, manager.pool_used)


def _read_vcpu(l0: L0, index: int, vcpu: Vcpu) -> VcpuReading:
    counted = vcpu.counters
    traps: Traps = Counter()
    for number, count in enumerate(counted.by_ec):
        if count:
            traps[class_name(number % 64), LEVELS[number // 64]] += count
    for name, kind in INTERRUPTS.items():
        for context, level in LEVELS.items():
            traps[kind, level] += getattr(counted, name)[context]
    traps[class_name(EC.ERET), LEVELS[CONTEXT_VEL2]] += counted.fast_eret
    sysregs = {trap_name(key): count for key, count in enumerate(counted.by_sysreg) if count}
    return VcpuReading(
        index,
        vcpu.power.state == ON,
        LEVELS[vcpu.context],
        traps,
        Counter(sysregs),
        Counter({name: getattr(counted, name) for name in EVENTS}),
        _timers(l0, vcpu),
    )


def _timers(l0: L0, vcpu: Vcpu) -> dict[str, Timer]:
    """Read the timers of L1's guest from L1's page: as they were at its last exit.

    With E2H=0 the page does not have them: they are hardware's, whoever runs.
    """
    if not vcpu.e2h or not vcpu.vel2.vncr_page:
        return {}
    page = VncrPage(l0.memory.window(vcpu.vel2.vncr_page, VncrPage.size))
    return {
        name: Timer(page.slot[ctl], page.slot[cval]) for name, (ctl, cval) in TIMER_SLOTS.items()
    }


@dataclass
class Pulse:
    """Who was seen to run, by vCPU: how often each level's context was in hardware."""

    seen: list[Counter[str]] = field(default_factory=list)

    @classmethod
    def of(cls, seen: Sequence[Mapping[str, int]]) -> "Pulse":
        """Make one of what was seen."""
        return cls([Counter(each) for each in seen])

    def share(self, vcpu: int, level: str) -> float:
        """Give a level's part of the looks at a vCPU; 0 before the first."""
        looks = self.seen[vcpu]
        return looks[level] / looks.total() if looks.total() else 0.0


def look(
    vcpus: Sequence[Vcpu], seconds: float, wait: Callable[[float], bool], period: float = 0.004
) -> Pulse:
    """Look at who runs, again and again.

    :param wait: waits for some seconds; True ends it early. :param period: between two looks.
    """
    pulse = Pulse([Counter() for _ in vcpus])
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for index, vcpu in enumerate(vcpus):
            if vcpu.power.state == ON:
                pulse.seen[index][LEVELS[vcpu.context]] += 1
        if wait(min(period, left)):
            break
    return pulse
