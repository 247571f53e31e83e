"""System registers and instructions that trap (EC 0x18).

At vEL2 nothing is ever forwarded: every access is L1's to its own EL2 state, and finds it where the
register home table says. Under FEAT_NV2 most accesses never come here (VNCR page, redirection to
EL1). At vEL1 the question whether L1 asked for the trap comes first (`routing`); what is left is
what L0 traps for itself: identification registers, and registers of features that are hidden, which
are UNDEFINED.
"""

from vel2.arch import sysregs as sr
from vel2.arch.a64 import ZR
from vel2.arch.bits import TrapKey
from vel2.arch.esr import ISS_SYS64
from vel2.arch.insn import AT, TLBI
from vel2.hyp import access, finegrained, idregs, monitors, prediction, routing, tlbi, vhe
from vel2.hyp import at as address_translation
from vel2.hyp.answer import forward, give, undefined
from vel2.hyp.hcr import NV2_IN_USE, l1_nesting
from vel2.hyp.homes import slot
from vel2.hyp.outcome import Outcome
from vel2.hyp.places import AHEAD, action_of, place_of
from vel2.hyp.records import TO_RUNNING_EL1
from vel2.hyp.state import Vcpu, page_of, vm_of
from vel2.hyp.syndrome import key_of
from vel2.lang import inline, msr, resident, u32, u64

__all__ = ("from_vel1", "from_vel2")

IS_READ = ISS_SYS64.Direction.mask
OP0_INSTRUCTION = 1
CRN_TLBI = (TLBI.VAE1.encoding.CRn, TLBI.VAE1NXS.encoding.CRn)
CRN_AT = AT.S1E1R.encoding.CRn
AT_CRM = (AT.S1E1R.encoding.CRm, AT.S1E1RP.encoding.CRm)
ACTLR_SLOT = slot(sr.ACTLR_EL1)
SVE_TRAPPED_BY_NV = (sr.ZCR_EL2.trap_key, sr.ZCR_EL12.trap_key)


@inline
def source_register(vcpu: Vcpu, esr: u64) -> u64:
    """Give the value that a trapped write or system instruction carries."""
    rt = ISS_SYS64.Rt.get(esr)
    if rt == ZR:
        return 0
    return vcpu.x[rt]


@inline
def set_target_register(vcpu: Vcpu, esr: u64, value: u64) -> None:
    """Finish a trapped read."""
    vcpu.seen.read = value
    rt = ISS_SYS64.Rt.get(esr)
    if rt != ZR:
        vcpu.x[rt] = value


@resident
def instruction_vel2(vcpu: Vcpu, key: u64, value: u64) -> Outcome:
    """Emulate a trapped system instruction of vEL2."""
    crn = TrapKey.CRn.get(key)
    if crn in CRN_TLBI:
        return tlbi.from_vel2(vcpu, key, value)
    if crn == CRN_AT and TrapKey.CRm.get(key) in AT_CRM:
        return address_translation.from_vel2(vcpu, key, value)
    if prediction.is_restriction(key):
        return prediction.from_vel2(vcpu, key, value)
    return undefined(vcpu)


@resident
def from_vel2(vcpu: Vcpu) -> Outcome:
    """Handle EC 0x18 in the hyp context."""
    esr = vcpu.trap.esr
    key = key_of(esr)
    vcpu.counters.by_sysreg[key] = u32(vcpu.counters.by_sysreg[key] + 1)
    vhe.show_e2h(vcpu)
    if TrapKey.op0.get(key) == OP0_INSTRUCTION:
        return instruction_vel2(vcpu, key, source_register(vcpu, esr))
    is_read = esr & IS_READ != 0
    if is_read and idregs.is_in_space(key):
        set_target_register(vcpu, esr, idregs.of_vm(vm_of(vcpu), key))
        return Outcome.AHEAD
    place = place_of(key)
    action = action_of(vcpu, place, is_read)
    refusal = access.refusal(vcpu, key, place, action, is_read)
    if refusal != 0:
        return give(vcpu, TO_RUNNING_EL1, refusal)
    if is_read:
        set_target_register(vcpu, esr, access.read(vcpu, key, action))
        return Outcome.AHEAD
    access.write(vcpu, key, action, source_register(vcpu, esr))
    if place & AHEAD == 0:
        return Outcome.SKIP
    return Outcome.AHEAD


@resident
def from_vel1(vcpu: Vcpu) -> Outcome:
    """Handle EC 0x18 in vEL1: L1's controls first, then what L0 traps for itself."""
    esr = vcpu.trap.esr
    key = key_of(esr)
    is_read = esr & IS_READ != 0
    vcpu.counters.by_sysreg[key] = u32(vcpu.counters.by_sysreg[key] + 1)
    control = routing.control_of(key)
    if control == routing.HIDDEN:
        return hidden_from_vel1(vcpu, key)
    if finegrained.asks(vcpu, key, is_read) or routing.asks(vcpu, control, is_read):
        return forward(vcpu)
    if is_read and idregs.is_in_space(key):
        set_target_register(vcpu, esr, idregs.of_vm(vm_of(vcpu), key))
        return Outcome.SKIP
    if key == sr.ACTLR_EL1.trap_key:
        if is_read:
            set_target_register(vcpu, esr, page_of(vcpu).slot[ACTLR_SLOT])
        return Outcome.SKIP
    return own_trap_from_vel1(vcpu, key, is_read)


@resident
def hidden_from_vel1(vcpu: Vcpu, key: u64) -> Outcome:
    """Answer L2's access to a register of a hidden feature; FEAT_SVE may not be hidden here."""
    if vm_of(vcpu).probed.has_sve != 0 and key in SVE_TRAPPED_BY_NV:
        if l1_nesting(vcpu) & sr.HCR_EL2.NV.mask:
            return forward(vcpu)
    return undefined(vcpu)


@resident
def own_trap_from_vel1(vcpu: Vcpu, key: u64, is_read: bool) -> Outcome:
    """Emulate what L0 traps of the PMU, the debug registers and the GIC; there is nothing else."""
    if monitors.is_reserved(vcpu, key):
        return forward(vcpu)
    if key == sr.MDSCR_EL1.trap_key and not is_read:
        if l1_nesting(vcpu) & NV2_IN_USE == NV2_IN_USE:
            finegrained.release_mdscr(vcpu)
            return Outcome.RESUME
        msr(sr.MDSCR_EL1, source_register(vcpu, vcpu.trap.esr))
        return Outcome.SKIP
    refusal = access.refusal_of_rare(vcpu, key, is_read)
    if refusal != 0:
        return give(vcpu, TO_RUNNING_EL1, refusal)
    if is_read:
        set_target_register(vcpu, vcpu.trap.esr, access.read_rare(vcpu, key))
    else:
        access.write_rare(vcpu, key, source_register(vcpu, vcpu.trap.esr))
    return Outcome.SKIP
