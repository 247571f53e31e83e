"""Another process's machine, from its memory: finding L0 there, and its rates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.arch.nesting import Kind, Level
from vel2.cli.top_view import Rates
from vel2.control.attach import attach, find_l0
from vel2.control.l0 import L0, Orders
from vel2.control.pulse import Pulse, look, read
from vel2.errors import UserError
from vel2.hyp import layout
from vel2.hyp.pcpu import ON
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, VncrPage
from vel2.hyp.timer import CNTV_CTL_SLOT
from vel2.machine.memory import GuestMemory
from vel2.machine.others import OtherMachine

L1_BYTES = 64 << 20


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    with GuestMemory(L1_BYTES + layout.l0_bytes(L1_BYTES)) as made:
        yield made


def installed(memory: GuestMemory) -> L0:
    """Put an L0 of two vCPUs there, as a launcher does, short of the machine's map."""
    l0 = L0(memory, Orders(L1_BYTES, Kind.NVHE, Level.NV, cpus=2))
    memory.write(l0.base, l0.image.data)
    l0._configure()
    return l0


def opened(memory: GuestMemory) -> OtherMachine:
    return OtherMachine(1234, Path(f"/proc/self/fd/{memory.fd}"))


def test_l0_of_another_process(memory: GuestMemory) -> None:
    ours = installed(memory)
    theirs = attach(opened(memory))
    assert theirs.orders == ours.orders
    ours.vcpu(1).counters.injected = 7
    assert theirs.vcpu(1).counters.injected == 7
    with pytest.raises(TypeError, match="read-only"):
        theirs.vcpu(1).counters.injected = 8
    theirs.memory.close()


def test_what_has_no_l0_of_ours(memory: GuestMemory) -> None:
    with pytest.raises(UserError, match=r"it has no vel2 below its guest \(--native"):
        find_l0(memory, "it")
    l0 = installed(memory)
    memory.write(l0.base + 0x1000, bytes(4))
    with pytest.raises(UserError, match="it runs another version of vel2"):
        find_l0(memory, "it")
    with GuestMemory(2 << 20) as small, pytest.raises(UserError, match="it has no vel2 below"):
        find_l0(small, "it")
    with pytest.raises(UserError, match="of process 1 cannot be looked into"):
        attach(OtherMachine(1, Path("/proc/self/fd/999")))


def test_rates_are_the_difference_of_the_counters(memory: GuestMemory) -> None:
    l0 = installed(memory)
    first, second = l0.vcpus
    first.power.state = ON
    first.counters.by_ec[CONTEXT_VEL1 * 64 + EC.HVC64] = 5
    old = read(l0)
    first.counters.by_ec[CONTEXT_VEL1 * 64 + EC.HVC64] = 25
    first.counters.by_ec[CONTEXT_VEL2 * 64 + EC.ERET] = 3
    first.counters.fast_eret = 4
    first.counters.by_sysreg[sr.HCR_EL2.trap_key] = 2
    second.counters.irq[CONTEXT_VEL2] = 6
    second.counters.shadow_fills = 8
    l0.state.stage2.contexts = 2
    l0.state.stage2.shadows[1].in_use = 1
    new = read(l0)
    object.__setattr__(new, "at", old.at + 2)  # two seconds later
    rates = Rates(opened(memory), l0, old, new, Pulse.of([{"vEL1": 3, "vEL2": 1}, {}]), 0.5)
    assert rates.totals(rates.traps) == [
        (("0x16 HVC64", "vEL1"), 10),
        (("0x1a ERET", "vEL2"), 4),
        (("IRQ", "vEL2"), 3),
    ]
    assert rates.totals(rates.sysregs) == [("HCR_EL2", 1)]
    assert rates.shadow.startswith("stage 2: 1 guests of L1")
    assert rates.vcpu_row(new.vcpus[0])[:4] == ["0", "14", "25 %", "75 %"]
    assert rates.vcpu_row(new.vcpus[1])[:3] == ["1", "off", "-"]


def test_timers_are_those_of_l1s_page(memory: GuestMemory) -> None:
    l0 = installed(memory)
    assert read(l0).vcpus[0].timers == {}  # E2H=0: they are hardware's
    vcpu = l0.vcpu(0)
    vcpu.e2h = 1
    vcpu.vel2.vncr_page = l0.base + layout.PCPU_OFFSET + layout.VNCR_IN_PCPU
    page = VncrPage(memory.window(vcpu.vel2.vncr_page, VncrPage.size))
    page.slot[CNTV_CTL_SLOT] = sr.CNTV_CTL_EL0.compose(ENABLE=1, IMASK=1, ISTATUS=1)
    timers = read(l0).vcpus[0].timers
    assert (str(timers["virtual"]), str(timers["physical"])) == ("fired masked", "off")


def test_looking_ends_when_told_to(memory: GuestMemory) -> None:
    l0 = installed(memory)
    l0.vcpu(0).power.state = ON
    l0.vcpu(0).context = CONTEXT_VEL1
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == 3

    pulse = look(l0.vcpus, 60, wait)
    assert (pulse.share(0, "vEL1"), pulse.share(0, "vEL2"), pulse.share(1, "vEL2")) == (1, 0, 0)
    assert len(waits) == 3
