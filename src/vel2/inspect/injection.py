"""Injecting an exception at a stop: the vCPU is led into L0, which then gives it one.

Only L0 gives a guest an exception whole: another context may have to be loaded for it. So an HVC is
put in the place of the next instruction, as `Vcpu.execute_msr` does with an MSR, and every trap of
this vCPU is made to ask the host. It steps into L0 and asks; the instruction and PC are put back,
and L0 has its answer before anybody else has run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vel2.arch.a64 import BYTES
from vel2.arch.esr import EC, ESR_ELx
from vel2.arch.pstate import PSTATE_EL
from vel2.errors import UserError
from vel2.inspect.hooked import PC as HOOKED_PC
from vel2.inspect.hooked import TRAP_ESR, TRAP_FAR, HookedTrap
from vel2.inspect.hooks import give

if TYPE_CHECKING:
    from vel2.inspect.vcpu import Vcpu

__all__ = ("inject",)

HVC = 0xD400_0002
EL1 = 1 << 2


def inject(
    vcpu: Vcpu,
    what: str | int,
    level: str | None,
    *,
    far: int | None,
    ipa: int | None,
    iss: int | None,
) -> None:
    """Have a vCPU of a paused machine take an exception before its next instruction.

    :raises UserError: when that level cannot take it now; nothing has changed then.
    """
    machine, hooks = vcpu.machine, vcpu.machine.hooks
    if machine.box_of(vcpu.index) is not None:
        raise UserError(
            f"vCPU {vcpu.index} waits in a hook, whose answer may inject an exception; resume the"
            " machine first."
        )
    before = vcpu.general
    if before.pstate & PSTATE_EL != EL1:
        raise UserError(
            f"vCPU {vcpu.index} is at EL0, from where nothing leads into L0 at once; run it on, or"
            " inject in a hook (on_trap)."
        )
    pa, stub = vcpu.walk(before.pc).pa, machine.stub
    there = stub.read(pa, BYTES)
    with hooks.summoned(vcpu.index) as box:
        stub.write(pa, HVC.to_bytes(BYTES, "little"))
        try:
            stub.step(vcpu.index)
            machine.running.until_hooked(vcpu.index, True)
        finally:
            stub.write(pa, there)
        box.take_up()
        box.state[HOOKED_PC] = before.pc
        box.state[TRAP_ESR] = ESR_ELx.EC.put(EC.UNKNOWN)
        box.state[TRAP_FAR] = before.pc if far is None else far
        trap = HookedTrap(vcpu, box)
        try:
            give(box, trap.inject(what, level, far=far, ipa=ipa, iss=iss))
        except UserError:
            give(box, trap.resume())
            raise
        finally:
            hooks.let_ring(box)
            machine.running.until_hooked(vcpu.index, False)
            machine.running.settle()
            vcpu.changed()
