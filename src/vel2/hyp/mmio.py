"""Emulated registers of devices: what L1 finds where L0 left a hole in the canonical stage 2.

Some registers of the GIC make it read and write memory by itself. Their frames are missing from the
canonical stage 2, and so from every shadow. An access to them arrives here as a stage-2 fault: from
vEL2, from an nVHE host's own kernel, or from whomever L1 maps the frame for. `its` and `lpi` know
which register of which frame it is. L1 reaches the rest of the GIC directly, because no other
register of it refers to memory.

ESR_EL2.ISS describes a load or store of one general-purpose register (ISV). It does not describe
other accesses (with writeback, of pairs, exclusive, or of vectors), and L0 does not decode a
guest's instructions for them. They get a synchronous External abort, and so do accesses that are
unaligned or narrower than the device takes. A device may answer an unsupported access that way, and
no driver makes one.
"""

from vel2.arch.a64 import ZR
from vel2.arch.esr import ISS_DABT
from vel2.arch.gicv3 import FRAME_BYTES
from vel2.hyp import its, lpi
from vel2.hyp.gicstate import gic_of
from vel2.hyp.lock import acquire, release
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import MAX_REDISTRIBUTORS, Vcpu, Vm, vm_of
from vel2.lang import L1IPA, U32_MAX, resident, u64

__all__ = ("access",)

ITS = MAX_REDISTRIBUTORS
NO_FRAME = ITS + 1
"""Otherwise a frame is named by the index of its redistributor."""
WORD_BYTES = 4


@resident
def frame_at(vm: Vm, address: L1IPA) -> u64:
    """Name the emulated frame at an address of L1, or NO_FRAME."""
    frame = address & ~u64(FRAME_BYTES - 1)
    if frame == vm.config.its_control and frame != 0:
        return ITS
    for index in range(MAX_REDISTRIBUTORS):
        if index < vm.config.redistributor_count and frame == vm.config.redistributors[index]:
            return index
    return NO_FRAME


@resident
def extended(esr: u64, value: u64, size: u64) -> u64:
    """Extend what was loaded to the register's width, as SSE and SF say."""
    sign = u64(1 << u64(size * 8 - 1))
    if ISS_DABT.SSE.get(esr) != 0 and size < 8:
        value = u64((value ^ sign) - sign)
    if ISS_DABT.SF.get(esr) == 0:
        value = value & U32_MAX
    return value


@resident
def load(vcpu: Vcpu, frame: u64, offset: u64, size: u64) -> Outcome:
    """Emulate a load. A redistributor's registers are RAZ for what is narrower than they are."""
    value = u64(0)
    if frame == ITS:
        value = its.read(vm_of(vcpu), offset, size)
    elif size >= WORD_BYTES:
        value = lpi.read(vm_of(vcpu), frame, offset, size)
    register = ISS_DABT.SRT.get(vcpu.trap.esr)
    if register != ZR:
        vcpu.x[register] = extended(vcpu.trap.esr, value, size)
    return Outcome.SKIP


@resident
def store(vcpu: Vcpu, frame: u64, offset: u64, size: u64) -> Outcome:
    """Emulate a store."""
    value = u64(0)
    register = ISS_DABT.SRT.get(vcpu.trap.esr)
    if register != ZR:
        value = vcpu.x[register]
    if size == WORD_BYTES:
        value = value & U32_MAX
    if frame == ITS:
        return its.write(vm_of(vcpu), offset, size, value)
    if size >= WORD_BYTES:
        return lpi.write(vm_of(vcpu), frame, offset, size, value)
    return Outcome.SKIP


@resident
def access(vcpu: Vcpu, address: L1IPA) -> Outcome:
    """Emulate a data access, not one of a walk, to an address where L1's map has a hole.

    :return: NOBODY if nobody answers: the access is to be given an External abort.
    """
    frame = frame_at(vm_of(vcpu), address)
    if frame == NO_FRAME:
        return Outcome.NOBODY
    esr = vcpu.trap.esr
    size = u64(1 << ISS_DABT.SAS.get(esr))
    offset = address & (FRAME_BYTES - 1)
    if ISS_DABT.ISV.get(esr) == 0 or offset & u64(size - 1) != 0:
        return Outcome.NOBODY
    if frame == ITS and size < WORD_BYTES:
        return Outcome.NOBODY
    lock = gic_of(vm_of(vcpu)).lock
    outcome = Outcome.SKIP
    acquire(lock)
    if ISS_DABT.WnR.get(esr) != 0:
        outcome = store(vcpu, frame, offset, size)
    else:
        outcome = load(vcpu, frame, offset, size)
    release(lock)
    return outcome
