"""Provisional."""
from vel2.arch import sysregs as sr
from vel2.arch.homes import slot
from vel2.hyp.state import Vcpu, page_of
from vel2.lang import resident, u64

HCR_SLOT = slot(sr.HCR_EL2)


@resident
def traps_to_vel2(vcpu: Vcpu, key: u64, is_read: bool) -> bool:
    hcr = page_of(vcpu).slot[HCR_SLOT]
    if key & 0xFF00 == 0xC000 or key & 0xC7F0 == 0xC000:
        return hcr & sr.HCR_EL2.TID3.mask != 0
    return True
