"""What a syndrome names: of EC 0x18 the register or instruction."""

from vel2.arch.bits import TrapKey
from vel2.arch.esr import ISS_SYS64
from vel2.lang import inline, u64

__all__ = ("key_of",)


@inline
def key_of(iss: u64) -> u64:
    """Give the trap key (op0:op2:op1:CRn:CRm) of an EC 0x18 syndrome."""
    return u64(
        TrapKey.op0.put(ISS_SYS64.Op0.get(iss))
        | TrapKey.op2.put(ISS_SYS64.Op2.get(iss))
        | TrapKey.op1.put(ISS_SYS64.Op1.get(iss))
        | TrapKey.CRn.put(ISS_SYS64.CRn.get(iss))
        | TrapKey.CRm.put(ISS_SYS64.CRm.get(iss))
    )
