"""Payload `stage2`: what L1 sees of its guest's stage-2 faults, and what its TLBI does.

Most of the output is `saw` lines: syndrome, FAR_EL2 and HPFAR_EL2 of every kind of fault at every
level, which must be the same at virtual and at real EL2. Where the architecture allows one value
only, that is checked as well.
"""

from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.checks import finish
from vel2.check.payloads.library.controls import use_stage2
from vel2.check.payloads.library.guest import leave_guest, start_guest
from vel2.check.payloads.stage2 import faults, tlbi, walks
from vel2.lang import resident

VMID = 3


@resident
def stage2_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    root = start_guest(state, parameters, VMID)
    faults.leaf_faults(state, root)
    faults.address_size_faults(state, root)
    faults.instructions(state, root)
    faults.permissions(state, root)
    faults.execute_permissions(state, root)
    faults.across_pages(state, root)
    walks.stage1_walk_faults(state, root)
    walks.execute_only(state, root)
    walks.translation_with_tge(state, root)
    walks.reserved_granule(state, root)
    use_stage2(root, VMID)
    faults.other_granules(state, parameters)
    faults.access_flag_by_hardware(state, root)
    faults.attributes(state, root)
    use_stage2(root, VMID)
    tlbi.tlbi_precision(state, root)
    tlbi.vmid_switch(state, parameters)
    leave_guest()
    finish(state)
