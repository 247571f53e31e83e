"""The payload's other vCPUs: asleep in WFI until they are called, or until there is work for all.

An SGI 0 is a call: the handler answers it by an SGI to the first vCPU. An SGI 1 only wakes. A vCPU
looks for work with interrupts masked, so that an SGI that comes before its WFI still ends it.
"""

from vel2.arch import sysregs as sr
from vel2.arch.psci import PSCI_VERSION
from vel2.bench.entry import SGI_CALL, SGI_WORK
from vel2.bench.layout import Parameters, State
from vel2.bench.masks import mask_interrupts, unmask_interrupts
from vel2.guests.l2board import gic_init, put, put_byte, turn_on
from vel2.lang import (
    bytes_address,
    dsb_sy,
    inline,
    isb,
    msr,
    resident,
    symbol_address,
    u64,
    vload,
    vstore,
    wfi,
    yield_,
)
from vel2.runtime.console import NEWLINE
from vel2.runtime.psci import firmware_call

__all__ = ("await_others", "bench_other", "call", "give_work", "start_others")

INTID_SHIFT = sr.ICC_SGI1R_EL1.INTID.lsb
SECOND = 1 << 1
"""The target list with the second vCPU in it."""


@inline
def call() -> None:
    """Call the second vCPU, which answers by an interrupt."""
    msr(sr.ICC_SGI1R_EL1, SGI_CALL << INTID_SHIFT | SECOND)
    isb()


@resident
def start_others(state: State, parameters: Parameters) -> None:
    """Turn the other vCPUs on, and wait until each can take interrupts."""
    n = u64(1)
    while n < parameters.vcpus:
        if not turn_on(n):
            put(bytes_address(b"error a vCPU cannot be turned on\0"))
            put_byte(NEWLINE)
            return
        while vload(state, "others_ready", n) == 0:
            yield_()
        n = u64(n + 1)


@resident
def give_work(state: State, parameters: Parameters, count: u64) -> None:
    """Have each of the other vCPUs make hypercalls."""
    vstore(state, "others_count", count)
    vstore(state, "others_work", u64(vload(state, "others_work") + 1))
    dsb_sy()
    targets = u64((1 << parameters.vcpus) - 2)
    msr(sr.ICC_SGI1R_EL1, SGI_WORK << INTID_SHIFT | targets)
    isb()


@resident
def await_others(state: State, parameters: Parameters) -> None:
    """Wait until all have done their work."""
    n = u64(1)
    while n < parameters.vcpus:
        while vload(state, "others_done", n) != vload(state, "others_work"):
            yield_()
        n = u64(n + 1)


@resident
def bench_other(state: State, number: u64) -> None:
    """Be one of the other vCPUs."""
    msr(sr.VBAR_EL1, symbol_address("other_vectors"))
    isb()
    gic_init(number)
    vstore(state, "others_ready", 1, number)
    done = u64(0)
    while True:
        mask_interrupts()
        work = vload(state, "others_work")
        if work != done:
            unmask_interrupts()
            left = vload(state, "others_count")
            while left != 0:
                firmware_call(PSCI_VERSION)
                left = u64(left - 1)
            done = work
            vstore(state, "others_done", done, number)
        elif vload(state, "others_spin") != 0:
            unmask_interrupts()
            yield_()
        else:
            wfi()
            unmask_interrupts()
