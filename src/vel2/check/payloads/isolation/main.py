"""Payload `isolation`: L1 tries every way it has to reach memory that is not its own.

At each target (L0's memory, hidden devices, holes of the map) each attempt must end in the fault
that the machine gives for a hole: a synchronous External abort, taken to the EL that made the
access, or reported for the walk if the tables were at the target. What the host put there must
never appear in a register. The end of L1's RAM lies inside a 1 GiB block, which L1 may map: what is
beyond must stay out of reach. Last, the payload aims the GIC's tables and command queue at the
targets (`gic`).

The host chooses the canary so that it is a valid descriptor of both stages for `ARENA`, where
`MARKER` lies: a walk through the target's memory would succeed and be noticed.
"""

from vel2.arch import sysregs as sr
from vel2.check.payloads.isolation import guest, host
from vel2.check.payloads.isolation.gic import attempts_by_gic
from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.assembly import SCTLR_OFF
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.check.payloads.library.controls import has_e2h, invalidate_all, use_stage2
from vel2.check.payloads.library.guest import reset_guest
from vel2.check.payloads.library.stage1 import own_stage1
from vel2.check.payloads.library.tables import S2_NORMAL, identity_table
from vel2.lang import bytes_address, isb, mrs, msr, resident


@resident
def isolation_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    begin(state, bytes_address(b"e2h\0"), NO_SUBJECT)
    expect(state, bytes_address(b"hcr_el2\0"), mrs(sr.HCR_EL2), parameters.hcr)
    end(state)
    for i in range(parameters.target_count):
        host.attempts_with_mmu_off(state, parameters, parameters.targets[i])
        if has_e2h():
            host.attempts_by_el0(state, parameters, parameters.targets[i])
    by_host(state, parameters)
    by_guest(state, parameters)
    attempts_by_gic(state, parameters)
    finish(state)


@resident
def by_host(state: State, parameters: Parameters) -> None:
    """Try to reach the targets by EL2's own stage 1."""
    own = own_stage1(state, parameters)
    for i in range(parameters.target_count):
        host.attempts_by_stage1(state, parameters, own, parameters.targets[i])
        host.attempts_by_walk(state, parameters, own, parameters.targets[i])
        host.translate_in_own_regime(state, own, parameters.targets[i])
    host.attempt_across_the_end(state, parameters, own)
    msr(sr.SCTLR_EL2, SCTLR_OFF)
    isb()


@resident
def by_guest(state: State, parameters: Parameters) -> None:
    """Try to reach the targets from L2, by stage 2 and by its own stage 1."""
    reset_guest()
    root = identity_table(state, parameters.ram_end, S2_NORMAL)
    use_stage2(root, guest.VMID)
    invalidate_all()
    for i in range(parameters.target_count):
        use_stage2(root, guest.VMID)
        guest.attempts_by_stage2(state, parameters, root, parameters.targets[i])
        guest.remap(state, parameters, root, parameters.targets[i])
        guest.translate(state, root, parameters.targets[i])
        guest.without_stage2(state, parameters, parameters.targets[i])
    use_stage2(root, guest.VMID)
    guest.execute_from_device(state, root)
    inner = guest.guest_stage1(state, parameters)
    for i in range(parameters.target_count):
        guest.all_by_guest_stage1(state, parameters, root, inner, parameters.targets[i])
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    use_stage2(root, guest.VMID)
    guest.leave_targets_mapped(state, parameters, root)
