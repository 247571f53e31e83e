"""Probes: code that the host brings while the machine runs, called at traps.

The host looks through what a probe may do and compiles it (room `probes`); here it is put into the
image and called. EL2 maps the image read-only, and QEMU (as any machine with an instruction cache)
goes on executing what it has once translated although the host has written something else. So L0
copies the code itself, at a point where it is safe.

**Exchange.** The host writes code to `PROBE_STAGING`, fills in the next `ProbeRequest`, counts up
`Probes.posted`, and sets `Probing.pending` of every pcpu. Whichever comes here first takes the
request (`taken`, by a compare-exchange), copies the code, and says what its site calls from now on
(`Probes.entries`); `done` follows. Requests are done in their order. Each pcpu takes the entries
over by itself, when it sees that something is pending, and before it calls anything. One that
comes while another is copying goes on with what it had, and waits for nobody.

**Writing.** No page is ever writable and executable. The copying pcpu maps each page of the code a
second time, writable and not executable, in the last gigabyte of EL2's addresses (beside the
windows of `vncr`); it unmaps it, with a TLBI, before any pcpu can learn of the entry. Between copy
and entry come DC CVAU and IC IVAU for each line, and the DSBs that the Arm ARM has for instructions
that another PE is to execute. The ISB that it has for the other PE stands where that takes the
entry over.

**Taking out** is a request with another entry, or with none. A pcpu may still be in the code. So
`run` says that it is `busy` before it looks whether something is pending, with a DMB in between.
The host gives the code's place to another probe only when it has seen, after `done`, each pcpu once
not busy: one that becomes busy later takes over the new entry first. What a request overwrites is
thus executed by nobody, and a pcpu that is off, or asleep for long, keeps nobody waiting.

A probe cannot hold L0: the host has shown that it ends, and its own accesses cannot fault.
"""

from collections.abc import Callable

from vel2.arch import sysregs as sr
from vel2.arch.insn import DC, IC, TLBI
from vel2.hyp.layout import (
    PAGE_BYTES,
    PAGE_MASK,
    PAGE_SHIFT,
    PROBE_CODE_BYTES,
    PROBE_CODE_OFFSET,
    PROBE_STAGING_OFFSET,
)
from vel2.hyp.probing import REQUESTS, SITES, ProbeRequest, Probes, Probing
from vel2.hyp.state import Vcpu, Vm, vm_of
from vel2.hyp.vncr import NORMAL, PAGE, READ_WRITE, entry_of, window_of
from vel2.lang import (
    PA,
    address_of,
    cold,
    compare_exchange_u64,
    dmb_ish,
    dsb_ish,
    extern,
    inline,
    isb,
    load_acquire_u64,
    load_u64,
    mrs,
    resident,
    store_release_u64,
    store_u64,
    sysop,
    u64,
    vload,
    vstore,
)

__all__ = ("AT_BEGIN", "AT_END", "run")

AT_BEGIN = 0
"""`trap.begin`: nothing has been done for the trap yet."""
AT_END = 1
"""`trap.deliver`: it is done, and the guest's PC is where it goes on."""

ALIAS = 256
"""The first window (`vncr.window_of`) that shows code to be written; those before are pcpus'."""
CODE_PAGES = PROBE_CODE_BYTES >> PAGE_SHIFT
WORD = 8
LEAST_LINE = 4
"""In bytes, of a cache with CTR_EL0.DminLine or IminLine 0."""
ENTRIES_AT = Probes.offset_of("entries")
SIMULATED: dict[int, Callable[[Vcpu, int], None]] = {}
"""What stands for a probe where there is no machine: entry -> a function of CPython."""


@extern("call_probe")
def call_probe(vcpu: Vcpu, what: u64, entry: u64) -> None:
    """Call a probe."""
    SIMULATED[entry](vcpu, what)


@extern("write_code")
def write_code(shown: u64, code: PA, value: u64) -> None:
    """Store a word of code by the address at which it can be written."""
    store_u64(code, value)


@inline
def run(vcpu: Vcpu, site: u64, what: u64) -> None:
    """Call what a site calls, after what the host has asked for.

    :param what: what probes are told besides: the `Outcome`, at the end of a trap.
    """
    probing = vcpu.probing
    vstore(probing, "busy", 1)
    dmb_ish()
    if vload(probing, "pending") != 0:
        renew(vcpu)
    entry = probing.entries[site]
    if entry != 0:
        call_probe(vcpu, what, entry)
    store_release_u64(PA(address_of(probing) + Probing.offset_of("busy")), 0)


@cold
def renew(vcpu: Vcpu) -> None:
    """Do the requests, unless another pcpu does, and take over the entries."""
    probes = vm_of(vcpu).probes
    base = address_of(probes)
    # Cleared first: what is posted later sets it again.
    vstore(vcpu.probing, "pending", 0)
    dmb_ish()
    posted = load_acquire_u64(PA(base))
    serve(vm_of(vcpu), posted)
    done = load_acquire_u64(PA(base + Probes.offset_of("done")))
    for site in range(SITES):
        entry = load_acquire_u64(PA(base + ENTRIES_AT + site * WORD))
        vcpu.probing.entries[site] = entry
    isb()
    if done != posted:
        vstore(vcpu.probing, "pending", 1)


@inline
def serve(vm: Vm, posted: u64) -> None:
    """Do the requests that nobody else has begun with."""
    base = address_of(vm.probes)
    for _ in range(REQUESTS):
        done = load_acquire_u64(PA(base + Probes.offset_of("done")))
        taken = u64(done + 1)
        if done == posted:
            return
        if compare_exchange_u64(PA(base + Probes.offset_of("taken")), done, taken) != done:
            return
        exchange(vm, vm.probes.requests[done % REQUESTS])
        store_release_u64(PA(base + Probes.offset_of("done")), taken)


@inline
def is_sound(vm: Vm, request: ProbeRequest) -> bool:
    """Whether a request stays inside what is there for probes."""
    code = u64(vm.config.l0_base + PROBE_CODE_OFFSET)
    if request.offset > PROBE_CODE_BYTES or request.length > u64(PROBE_CODE_BYTES - request.offset):
        return False
    is_inside = request.entry >= code and request.entry < u64(code + PROBE_CODE_BYTES)
    return request.entry == 0 or is_inside


@resident
def exchange(vm: Vm, request: ProbeRequest) -> None:
    """Put the code of a request where it is executed, and say who calls it."""
    if not is_sound(vm, request):
        vm.probes.refused = u64(vm.probes.refused + 1)
        return
    copy(vm, request.offset, request.length)
    if request.site < SITES:
        vm.probes.entries[request.site] = request.entry


@resident
def copy(vm: Vm, offset: u64, length: u64) -> None:
    """Copy code from the staging area, page by page."""
    code = u64(vm.config.l0_base + PROBE_CODE_OFFSET)
    staging = u64(vm.config.l0_base + PROBE_STAGING_OFFSET)
    end = u64(offset + length)
    for page in range(CODE_PAGES):
        start = u64(page << PAGE_SHIFT)
        if u64(start + PAGE_BYTES) > offset and start < end:
            low = start
            if low < offset:
                low = offset
            high = u64(start + PAGE_BYTES)
            if high > end:
                high = end
            copy_page(vm, u64(code + low), u64(staging + low), u64(high - low))
    dsb_ish()
    isb()


@resident
def copy_page(vm: Vm, code: u64, staging: u64, length: u64) -> None:
    """Copy code within one page, by an alias that is there for no longer."""
    index = u64(ALIAS + (code >> PAGE_SHIFT) % CODE_PAGES)
    entry = entry_of(vm, index)
    store_u64(entry, (code & ~PAGE_MASK) | PAGE | NORMAL | READ_WRITE)
    dsb_ish()
    isb()
    shown = u64(window_of(index) + (code & PAGE_MASK))
    for i in range(u64(length + WORD - 1) // WORD):
        value = load_u64(PA(staging + i * WORD))
        write_code(u64(shown + i * WORD), PA(code + i * WORD), value)
    clean(code, length)
    store_u64(entry, 0)
    dsb_ish()
    sysop(TLBI.VAE2IS, window_of(index) >> PAGE_SHIFT)
    dsb_ish()
    isb()


@resident
def clean(code: u64, length: u64) -> None:
    """Let instruction fetches of all PEs see what was written (Arm ARM, B2.2.5)."""
    line = line_of(sr.CTR_EL0.DminLine.get(mrs(sr.CTR_EL0)))
    for i in range(u64(length + line - 1) // line):
        sysop(DC.CVAU, u64(code + i * line))
    dsb_ish()
    line = line_of(sr.CTR_EL0.IminLine.get(mrs(sr.CTR_EL0)))
    for i in range(u64(length + line - 1) // line):
        sysop(IC.IVAU, u64(code + i * line))
    dsb_ish()


@inline
def line_of(log2_words: u64) -> u64:
    """Give the bytes of a cache line, of which CTR_EL0 has the logarithm in words."""
    return u64(u64(LEAST_LINE) << log2_words)
