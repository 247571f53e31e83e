"""Running ahead: one trap for a few accesses that would each trap.

An nVHE KVM reads CNTHCTL_EL2, changes bits of it and writes it back. What lies between two such
accesses is often a few instructions that only compute. So when a trapped access has been emulated,
its successors are looked at: those that only compute are executed here (`a64`), an access to a
register of vEL2 is emulated as if it had trapped, and the first instruction that is neither ends
it. To the guest it is as if no interrupt had come in between. What makes that exact:

- **Who.** It follows an access of vEL2, never one of the host's EL0.
- **Where.** It stays in the page of the instruction that trapped, which hardware has just fetched
  from there at this EL: the page can be executed, without a look at XN or PXN. AT, which knows the
  right to read, gives the memory behind it.
- **When.** No instruction that is executed here changes how the next one is fetched. A write to
  a register of vEL2's translation regime ends it or does not begin it, and so does an ISB, which
  hardware executes: what came before it must be in effect behind it.
- **How long.** It only goes forward, and `Configuration.ahead` counts every instruction down,
  whatever it is.
- **Unseen.** It is not done where a debugger could see it: with single step or breakpoints on.

Nor is it done in vain twice: an address after which too little was won is remembered
(`Vcpu.guesses.unprofitable`), which costs nothing but a forgotten gain when it is wrong.
"""

from vel2.arch import sysregs as sr
from vel2.arch.a64 import BYTES, LOG2_BYTES, SystemRegisterMove
from vel2.arch.bits import TrapKey
from vel2.arch.descriptors import MAIR_NORMAL_WB
from vel2.hyp import a64, event, idregs, places
from vel2.hyp import access as register_access
from vel2.hyp.context import DEBUGS
from vel2.hyp.exception import go_on, is_el0
from vel2.hyp.fallible import try_at_s1e1r
from vel2.hyp.layout import PAGE_MASK
from vel2.hyp.pcpu import UNPROFITABLE
from vel2.hyp.state import LEVEL_NV2, Vcpu, vm_of
from vel2.hyp.watch import AHEAD
from vel2.lang import PA, cold, inline, load_u32, mrs, msr, resident, u64

__all__ = ("BUDGET", "run")

IS_MRS = SystemRegisterMove.L.mask
BUDGET = 8
"""So many instructions follow one trap at most."""
WORTH = 4
"""So many instructions executed here cost as much as a trap."""
PAR = sr.PAR_EL1
OP0 = 0b10
"""The upper bit of op0, which the instruction does not have: it is 2 or 3."""


@inline
def key_of(insn: u64) -> u64:
    """Give the trap key of the register that an MSR or MRS names."""
    return u64(
        TrapKey.op0.put(OP0 | SystemRegisterMove.o0.get(insn))
        | TrapKey.op2.put(SystemRegisterMove.op2.get(insn))
        | TrapKey.op1.put(SystemRegisterMove.op1.get(insn))
        | TrapKey.CRn.put(SystemRegisterMove.CRn.get(insn))
        | TrapKey.CRm.put(SystemRegisterMove.CRm.get(insn))
    )


@inline
def index_of(pc: u64) -> u64:
    """Give the place of an address in `Vcpu.guesses.unprofitable`."""
    return u64((pc >> LOG2_BYTES) & (UNPROFITABLE - 1))


@resident
def code_page(vcpu: Vcpu, va: u64) -> u64:
    """Give the physical page of vEL2's code, or 0 if it is not L1's ordinary memory.

    L0's own view of all RAM is Normal Write-Back: where L1's is another, L0 could see old code.
    """
    saved = mrs(PAR)
    done = try_at_s1e1r(va)
    found = mrs(PAR)
    msr(PAR, saved)
    page = found & PAR.PA.mask
    if done == 0 or found & PAR.F.mask or PAR.ATTR.get(found) != MAIR_NORMAL_WB:
        return 0
    vm = vm_of(vcpu)
    if page < vm.config.ram_base or page >= vm.config.ram_end:
        return 0
    return page


@inline
def access(vcpu: Vcpu, insn: u64, key: u64, place: u64) -> bool:
    """Do an MSR or MRS of vEL2 as if it had trapped; False, with nothing changed, if we cannot."""
    is_id_register = insn & IS_MRS != 0 and idregs.is_in_space(key)
    if not is_id_register and place & places.AHEAD == 0:
        return False
    rt = SystemRegisterMove.Rt.get(insn)
    if is_id_register:
        a64.write(vcpu, rt, 1, idregs.of_vm(vm_of(vcpu), key))
        return True
    is_read = insn & IS_MRS != 0
    action = places.action_of(vcpu, place, is_read)
    if action == 0:
        return False
    if is_read:
        a64.write(vcpu, rt, 1, register_access.read(vcpu, key, action))
    else:
        register_access.write(vcpu, key, action, a64.read(vcpu, rt))
    return True


@cold
def seen_ahead(vcpu: Vcpu, insn: u64) -> None:
    """Let the tracer see an access that has been done ahead."""
    rt = SystemRegisterMove.Rt.get(insn)
    event.ahead(vcpu, key_of(insn), insn & IS_MRS != 0, a64.read(vcpu, rt))


@inline
def done_ahead(vcpu: Vcpu, insn: u64) -> None:
    """End an access that has been done without a trap of its own, as `trap.deliver` ends a trap."""
    if event.wanted(vcpu, AHEAD) != 0:
        seen_ahead(vcpu, insn)
    go_on(vcpu)


@resident
def run(vcpu: Vcpu) -> None:
    """Execute what follows a trapped access of vEL2 that has been done; PC is behind it."""
    start = vcpu.pc
    index = index_of(start)
    left = vm_of(vcpu).config.ahead
    if vcpu.guesses.unprofitable[index] == start or left == 0:
        return
    if is_el0(vcpu.pstate) or mrs(sr.MDSCR_EL1) & DEBUGS:
        return
    trapped = u64(start - BYTES)
    page = u64(0)
    if (trapped ^ start) & ~PAGE_MASK == 0:
        page = code_page(vcpu, trapped)
    if page == 0:
        left = 0
    has_nv2 = vm_of(vcpu).config.nv_level == LEVEL_NV2
    won = u64(0)
    paid = u64(0)
    done = u64(0)
    while left > 0 and (vcpu.pc ^ start) & ~PAGE_MASK == 0:
        insn = u64(load_u32(PA(page | vcpu.pc & PAGE_MASK)))
        left = u64(left - 1)
        done = u64(done + 1)
        if insn & SystemRegisterMove.fixed == SystemRegisterMove.match:
            key = key_of(insn)
            place = places.place_of(key)
            if not access(vcpu, insn, key, place):
                break
            done_ahead(vcpu, insn)
            if not has_nv2 or place & places.ABSORBED == 0:
                won = u64(won + 1)
                paid = u64(done - won)
        elif not a64.execute(vcpu, insn):
            break
    vcpu.counters.ahead = u64(vcpu.counters.ahead + won)
    if won == 0 or paid > u64(WORTH * won):
        vcpu.guesses.unprofitable[index] = start
