"""HCRX_EL2 (FEAT_HCX): what L1's means, and what hardware's holds.

L1 may set the bits of the features it sees (`BITS`); the others are RES0. With FEAT_NV2 its writes
go to the VNCR page, so they are taken from there at each entry to vEL1, and masked. While vEL2
runs, hardware keeps what vEL1 ran under, for the sake of speed: MCE2 sends vEL2's own exceptions
here, and they are given back, FGTnXS has no fine-grained trap to change, and a value that vEL2
would notice is taken back: one with FnXS=1, or that takes from EL1 what EL2 always has.

L0's own bit is TALLINT: FEAT_NMI is hidden, so PSTATE.ALLINT shall not be set.
"""

from vel2.arch import sysregs as sr
from vel2.arch.features import FEATURES, control_bits
from vel2.hyp.homes import slot
from vel2.hyp.state import HCRX_LOADED, Vcpu, Vm, id_index, page_of, vm_of
from vel2.lang import inline, mrs, msr, resident, u64

__all__ = ("ENABLES", "init", "load_for_vel1", "load_for_vel2", "reset")

HCRX = sr.HCRX_EL2
HCRX_SLOT = slot(HCRX)
ENABLES = HCRX.compose(
    MSCEn=1, TCR2En=1, SCTLR2En=1, EnALS=1, EnAS0=1, EnASR=1, GCSEn=1, EnFPM=1, D128En=1,
    EnIDCP128=1, PACMEn=1, SRMASKEn=1, EnSNERR=1, EnSDERR=1,
)  # fmt: skip
"""What EL1 has only where EL2 lets it, and EL2 always, and so vEL2."""
VEL2_NEEDS = ENABLES | HCRX.FnXS.mask
"""The bits that must be `Probed.hcrx_vel2`'s while vEL2 runs."""
BITS = tuple(
    (id_index(feature.register), feature.field, control_bits(feature, HCRX))
    for feature in FEATURES
    if control_bits(feature, HCRX)
)
"""By an identification field that L1 sees: the bits that are there with its feature."""


@resident
def init(vm: Vm) -> None:
    """Find out which bits are L1's, and what vEL2 runs under."""
    vm.probed.hcrx_writable = 0
    vm.probed.hcrx_of_l0 = 0
    vm.probed.hcrx_vel2 = 0
    if sr.ID_AA64MMFR1_EL1.HCX.get(mrs(sr.ID_AA64MMFR1_EL1)) == 0:
        return
    if sr.ID_AA64PFR1_EL1.NMI.get(mrs(sr.ID_AA64PFR1_EL1)) != 0:
        vm.probed.hcrx_of_l0 = HCRX.TALLINT.mask
    for index, field, bits in BITS:
        if field.get(vm.probed.id_registers[index]) != 0:
            vm.probed.hcrx_writable = vm.probed.hcrx_writable | bits
    vm.probed.hcrx_vel2 = vm.probed.hcrx_writable & ENABLES


@resident
def reset(vcpu: Vcpu) -> None:
    """Load what vEL2 runs under, if the machine has FEAT_HCX."""
    if sr.ID_AA64MMFR1_EL1.HCX.get(mrs(sr.ID_AA64MMFR1_EL1)) != 0:
        load_for_vel2(vcpu)


@inline
def load_for_vel1(vcpu: Vcpu) -> None:
    """Give hardware what L1 asks for."""
    vm = vm_of(vcpu)
    wanted = page_of(vcpu).slot[HCRX_SLOT] & vm.probed.hcrx_writable
    if wanted != vcpu.pcpu.hcrx:
        change(vcpu, wanted)


@resident
def change(vcpu: Vcpu, wanted: u64) -> None:
    """Write HCRX_EL2, and note whether vEL2 can run under it."""
    vm = vm_of(vcpu)
    msr(HCRX, wanted | vm.probed.hcrx_of_l0)
    vcpu.pcpu.hcrx = wanted
    if wanted & VEL2_NEEDS != vm.probed.hcrx_vel2 & VEL2_NEEDS:
        vcpu.pcpu.loaded = vcpu.pcpu.loaded | HCRX_LOADED


@inline
def load_for_vel2(vcpu: Vcpu) -> None:
    """Let vEL2 use what EL2 may use whatever HCRX_EL2 says."""
    vm = vm_of(vcpu)
    vcpu.pcpu.hcrx = vm.probed.hcrx_vel2
    msr(HCRX, vcpu.pcpu.hcrx | vm.probed.hcrx_of_l0)
