"""System instructions (op0 = 1): TLBI, AT, IC, DC, prediction restriction and others.

Each is an object with Arm's name and its encoding: `TLBI.VAE1IS`, `AT.S1E1R`. A trapped one
arrives as EC 0x18 like a register does, so `trap_key` is comparable with a register's.
"""

from __future__ import annotations

from collections.abc import Iterable

from vel2.arch.bits import Encoding


class SysInsn:
    """One system instruction.

    :param takes_register: False where the A64 alias has no Xt; the encoding has Rt = 31 then.
    :param returns: the instruction is a SYSL, which writes Xt.
    """

    name: str

    def __init__(
        self,
        op1: int,
        CRn: int,
        CRm: int,
        op2: int,
        *,
        takes_register: bool = True,
        returns: bool = False,
    ) -> None:
        self.encoding = Encoding(1, op1, CRn, CRm, op2)
        self.trap_key = self.encoding.trap_key
        self.takes_register = takes_register
        self.returns = returns

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name = f"{owner.__name__} {name}"

    def __repr__(self) -> str:
        return self.name.replace(" ", ".")


class TLBI:
    """TLB maintenance. Suffixes: IS, OS shareability; NXS does not wait for XS accesses.

    All of CRn = 8, and CRn = 9 for the NXS forms.
    """

    VMALLE1 = SysInsn(0, 8, 7, 0, takes_register=False)
    VAE1 = SysInsn(0, 8, 7, 1)
    ASIDE1 = SysInsn(0, 8, 7, 2)
    VAAE1 = SysInsn(0, 8, 7, 3)
    VALE1 = SysInsn(0, 8, 7, 5)
    VAALE1 = SysInsn(0, 8, 7, 7)
    VMALLE1IS = SysInsn(0, 8, 3, 0, takes_register=False)
    VAE1IS = SysInsn(0, 8, 3, 1)
    ASIDE1IS = SysInsn(0, 8, 3, 2)
    VAAE1IS = SysInsn(0, 8, 3, 3)
    VALE1IS = SysInsn(0, 8, 3, 5)
    VAALE1IS = SysInsn(0, 8, 3, 7)
    VMALLE1OS = SysInsn(0, 8, 1, 0, takes_register=False)
    VAE1OS = SysInsn(0, 8, 1, 1)
    ASIDE1OS = SysInsn(0, 8, 1, 2)
    VAAE1OS = SysInsn(0, 8, 1, 3)
    VALE1OS = SysInsn(0, 8, 1, 5)
    VAALE1OS = SysInsn(0, 8, 1, 7)
    RVAE1 = SysInsn(0, 8, 6, 1)
    RVAAE1 = SysInsn(0, 8, 6, 3)
    RVALE1 = SysInsn(0, 8, 6, 5)
    RVAALE1 = SysInsn(0, 8, 6, 7)
    RVAE1IS = SysInsn(0, 8, 2, 1)
    RVAAE1IS = SysInsn(0, 8, 2, 3)
    RVALE1IS = SysInsn(0, 8, 2, 5)
    RVAALE1IS = SysInsn(0, 8, 2, 7)
    RVAE1OS = SysInsn(0, 8, 5, 1)
    RVAAE1OS = SysInsn(0, 8, 5, 3)
    RVALE1OS = SysInsn(0, 8, 5, 5)
    RVAALE1OS = SysInsn(0, 8, 5, 7)
    ALLE2 = SysInsn(4, 8, 7, 0, takes_register=False)
    VAE2 = SysInsn(4, 8, 7, 1)
    ALLE1 = SysInsn(4, 8, 7, 4, takes_register=False)
    VALE2 = SysInsn(4, 8, 7, 5)
    VMALLS12E1 = SysInsn(4, 8, 7, 6, takes_register=False)
    ALLE2IS = SysInsn(4, 8, 3, 0, takes_register=False)
    VAE2IS = SysInsn(4, 8, 3, 1)
    ALLE1IS = SysInsn(4, 8, 3, 4, takes_register=False)
    VALE2IS = SysInsn(4, 8, 3, 5)
    VMALLS12E1IS = SysInsn(4, 8, 3, 6, takes_register=False)
    ALLE2OS = SysInsn(4, 8, 1, 0, takes_register=False)
    VAE2OS = SysInsn(4, 8, 1, 1)
    ALLE1OS = SysInsn(4, 8, 1, 4, takes_register=False)
    VALE2OS = SysInsn(4, 8, 1, 5)
    VMALLS12E1OS = SysInsn(4, 8, 1, 6, takes_register=False)
    RVAE2 = SysInsn(4, 8, 6, 1)
    VMALLWS2E1 = SysInsn(4, 8, 6, 2, takes_register=False)
    RVALE2 = SysInsn(4, 8, 6, 5)
    RVAE2IS = SysInsn(4, 8, 2, 1)
    VMALLWS2E1IS = SysInsn(4, 8, 2, 2, takes_register=False)
    RVALE2IS = SysInsn(4, 8, 2, 5)
    RVAE2OS = SysInsn(4, 8, 5, 1)
    VMALLWS2E1OS = SysInsn(4, 8, 5, 2, takes_register=False)
    RVALE2OS = SysInsn(4, 8, 5, 5)
    IPAS2E1 = SysInsn(4, 8, 4, 1)
    IPAS2E1IS = SysInsn(4, 8, 0, 1)
    IPAS2E1OS = SysInsn(4, 8, 4, 0)
    IPAS2LE1 = SysInsn(4, 8, 4, 5)
    IPAS2LE1IS = SysInsn(4, 8, 0, 5)
    IPAS2LE1OS = SysInsn(4, 8, 4, 4)
    RIPAS2E1 = SysInsn(4, 8, 4, 2)
    RIPAS2E1IS = SysInsn(4, 8, 0, 2)
    RIPAS2E1OS = SysInsn(4, 8, 4, 3)
    RIPAS2LE1 = SysInsn(4, 8, 4, 6)
    RIPAS2LE1IS = SysInsn(4, 8, 0, 6)
    RIPAS2LE1OS = SysInsn(4, 8, 4, 7)
    ALLE3 = SysInsn(6, 8, 7, 0, takes_register=False)
    VAE3 = SysInsn(6, 8, 7, 1)
    VALE3 = SysInsn(6, 8, 7, 5)
    ALLE3IS = SysInsn(6, 8, 3, 0, takes_register=False)
    VAE3IS = SysInsn(6, 8, 3, 1)
    VALE3IS = SysInsn(6, 8, 3, 5)
    ALLE3OS = SysInsn(6, 8, 1, 0, takes_register=False)
    VAE3OS = SysInsn(6, 8, 1, 1)
    VALE3OS = SysInsn(6, 8, 1, 5)
    RVAE3 = SysInsn(6, 8, 6, 1)
    RVALE3 = SysInsn(6, 8, 6, 5)
    RVAE3IS = SysInsn(6, 8, 2, 1)
    RVALE3IS = SysInsn(6, 8, 2, 5)
    RVAE3OS = SysInsn(6, 8, 5, 1)
    RVALE3OS = SysInsn(6, 8, 5, 5)
    PAALLOS = SysInsn(6, 8, 1, 4, takes_register=False)
    PAALL = SysInsn(6, 8, 7, 4, takes_register=False)
    RPAOS = SysInsn(6, 8, 4, 3)
    RPALOS = SysInsn(6, 8, 4, 7)

    VMALLE1NXS = SysInsn(0, 9, 7, 0, takes_register=False)
    VAE1NXS = SysInsn(0, 9, 7, 1)
    ASIDE1NXS = SysInsn(0, 9, 7, 2)
    VAAE1NXS = SysInsn(0, 9, 7, 3)
    VALE1NXS = SysInsn(0, 9, 7, 5)
    VAALE1NXS = SysInsn(0, 9, 7, 7)
    VMALLE1ISNXS = SysInsn(0, 9, 3, 0, takes_register=False)
    VAE1ISNXS = SysInsn(0, 9, 3, 1)
    ASIDE1ISNXS = SysInsn(0, 9, 3, 2)
    VAAE1ISNXS = SysInsn(0, 9, 3, 3)
    VALE1ISNXS = SysInsn(0, 9, 3, 5)
    VAALE1ISNXS = SysInsn(0, 9, 3, 7)
    VMALLE1OSNXS = SysInsn(0, 9, 1, 0, takes_register=False)
    VAE1OSNXS = SysInsn(0, 9, 1, 1)
    ASIDE1OSNXS = SysInsn(0, 9, 1, 2)
    VAAE1OSNXS = SysInsn(0, 9, 1, 3)
    VALE1OSNXS = SysInsn(0, 9, 1, 5)
    VAALE1OSNXS = SysInsn(0, 9, 1, 7)
    RVAE1NXS = SysInsn(0, 9, 6, 1)
    RVAAE1NXS = SysInsn(0, 9, 6, 3)
    RVALE1NXS = SysInsn(0, 9, 6, 5)
    RVAALE1NXS = SysInsn(0, 9, 6, 7)
    RVAE1ISNXS = SysInsn(0, 9, 2, 1)
    RVAAE1ISNXS = SysInsn(0, 9, 2, 3)
    RVALE1ISNXS = SysInsn(0, 9, 2, 5)
    RVAALE1ISNXS = SysInsn(0, 9, 2, 7)
    RVAE1OSNXS = SysInsn(0, 9, 5, 1)
    RVAAE1OSNXS = SysInsn(0, 9, 5, 3)
    RVALE1OSNXS = SysInsn(0, 9, 5, 5)
    RVAALE1OSNXS = SysInsn(0, 9, 5, 7)
    ALLE2NXS = SysInsn(4, 9, 7, 0, takes_register=False)
    VAE2NXS = SysInsn(4, 9, 7, 1)
    ALLE1NXS = SysInsn(4, 9, 7, 4, takes_register=False)
    VALE2NXS = SysInsn(4, 9, 7, 5)
    VMALLS12E1NXS = SysInsn(4, 9, 7, 6, takes_register=False)
    ALLE2ISNXS = SysInsn(4, 9, 3, 0, takes_register=False)
    VAE2ISNXS = SysInsn(4, 9, 3, 1)
    ALLE1ISNXS = SysInsn(4, 9, 3, 4, takes_register=False)
    VALE2ISNXS = SysInsn(4, 9, 3, 5)
    VMALLS12E1ISNXS = SysInsn(4, 9, 3, 6, takes_register=False)
    ALLE2OSNXS = SysInsn(4, 9, 1, 0, takes_register=False)
    VAE2OSNXS = SysInsn(4, 9, 1, 1)
    ALLE1OSNXS = SysInsn(4, 9, 1, 4, takes_register=False)
    VALE2OSNXS = SysInsn(4, 9, 1, 5)
    VMALLS12E1OSNXS = SysInsn(4, 9, 1, 6, takes_register=False)
    RVAE2NXS = SysInsn(4, 9, 6, 1)
    VMALLWS2E1NXS = SysInsn(4, 9, 6, 2, takes_register=False)
    RVALE2NXS = SysInsn(4, 9, 6, 5)
    RVAE2ISNXS = SysInsn(4, 9, 2, 1)
    VMALLWS2E1ISNXS = SysInsn(4, 9, 2, 2, takes_register=False)
    RVALE2ISNXS = SysInsn(4, 9, 2, 5)
    RVAE2OSNXS = SysInsn(4, 9, 5, 1)
    VMALLWS2E1OSNXS = SysInsn(4, 9, 5, 2, takes_register=False)
    RVALE2OSNXS = SysInsn(4, 9, 5, 5)
    IPAS2E1NXS = SysInsn(4, 9, 4, 1)
    IPAS2E1ISNXS = SysInsn(4, 9, 0, 1)
    IPAS2E1OSNXS = SysInsn(4, 9, 4, 0)
    IPAS2LE1NXS = SysInsn(4, 9, 4, 5)
    IPAS2LE1ISNXS = SysInsn(4, 9, 0, 5)
    IPAS2LE1OSNXS = SysInsn(4, 9, 4, 4)
    RIPAS2E1NXS = SysInsn(4, 9, 4, 2)
    RIPAS2E1ISNXS = SysInsn(4, 9, 0, 2)
    RIPAS2E1OSNXS = SysInsn(4, 9, 4, 3)
    RIPAS2LE1NXS = SysInsn(4, 9, 4, 6)
    RIPAS2LE1ISNXS = SysInsn(4, 9, 0, 6)
    RIPAS2LE1OSNXS = SysInsn(4, 9, 4, 7)
    ALLE3NXS = SysInsn(6, 9, 7, 0, takes_register=False)
    VAE3NXS = SysInsn(6, 9, 7, 1)
    VALE3NXS = SysInsn(6, 9, 7, 5)
    ALLE3ISNXS = SysInsn(6, 9, 3, 0, takes_register=False)
    VAE3ISNXS = SysInsn(6, 9, 3, 1)
    VALE3ISNXS = SysInsn(6, 9, 3, 5)
    ALLE3OSNXS = SysInsn(6, 9, 1, 0, takes_register=False)
    VAE3OSNXS = SysInsn(6, 9, 1, 1)
    VALE3OSNXS = SysInsn(6, 9, 1, 5)
    RVAE3NXS = SysInsn(6, 9, 6, 1)
    RVALE3NXS = SysInsn(6, 9, 6, 5)
    RVAE3ISNXS = SysInsn(6, 9, 2, 1)
    RVALE3ISNXS = SysInsn(6, 9, 2, 5)
    RVAE3OSNXS = SysInsn(6, 9, 5, 1)
    RVALE3OSNXS = SysInsn(6, 9, 5, 5)


class AT:
    """Address translation."""

    S1E1R = SysInsn(0, 7, 8, 0)
    S1E1W = SysInsn(0, 7, 8, 1)
    S1E0R = SysInsn(0, 7, 8, 2)
    S1E0W = SysInsn(0, 7, 8, 3)
    S1E1RP = SysInsn(0, 7, 9, 0)
    S1E1WP = SysInsn(0, 7, 9, 1)
    S1E1A = SysInsn(0, 7, 9, 2)
    S1E2R = SysInsn(4, 7, 8, 0)
    S1E2W = SysInsn(4, 7, 8, 1)
    S12E1R = SysInsn(4, 7, 8, 4)
    S12E1W = SysInsn(4, 7, 8, 5)
    S12E0R = SysInsn(4, 7, 8, 6)
    S12E0W = SysInsn(4, 7, 8, 7)
    S1E2A = SysInsn(4, 7, 9, 2)
    S1E3R = SysInsn(6, 7, 8, 0)
    S1E3W = SysInsn(6, 7, 8, 1)
    S1E3A = SysInsn(6, 7, 9, 2)


class IC:
    """Instruction cache maintenance."""

    IALLUIS = SysInsn(0, 7, 1, 0, takes_register=False)
    IALLU = SysInsn(0, 7, 5, 0, takes_register=False)
    IVAU = SysInsn(3, 7, 5, 1)


class DC:
    """Data cache maintenance; G names act on Allocation Tags, GD names on both."""

    IVAC = SysInsn(0, 7, 6, 1)
    ISW = SysInsn(0, 7, 6, 2)
    IGVAC = SysInsn(0, 7, 6, 3)
    IGSW = SysInsn(0, 7, 6, 4)
    IGDVAC = SysInsn(0, 7, 6, 5)
    IGDSW = SysInsn(0, 7, 6, 6)
    CSW = SysInsn(0, 7, 10, 2)
    CGSW = SysInsn(0, 7, 10, 4)
    CGDSW = SysInsn(0, 7, 10, 6)
    CISW = SysInsn(0, 7, 14, 2)
    CIGSW = SysInsn(0, 7, 14, 4)
    CIGDSW = SysInsn(0, 7, 14, 6)
    CIVAPS = SysInsn(0, 7, 15, 1)
    CIGDVAPS = SysInsn(0, 7, 15, 5)
    ZVA = SysInsn(3, 7, 4, 1)
    GVA = SysInsn(3, 7, 4, 3)
    GZVA = SysInsn(3, 7, 4, 4)
    CVAC = SysInsn(3, 7, 10, 1)
    CGVAC = SysInsn(3, 7, 10, 3)
    CGDVAC = SysInsn(3, 7, 10, 5)
    CVAOC = SysInsn(3, 7, 11, 0)
    CVAU = SysInsn(3, 7, 11, 1)
    CGDVAOC = SysInsn(3, 7, 11, 7)
    CVAP = SysInsn(3, 7, 12, 1)
    CGVAP = SysInsn(3, 7, 12, 3)
    CGDVAP = SysInsn(3, 7, 12, 5)
    CVADP = SysInsn(3, 7, 13, 1)
    CGVADP = SysInsn(3, 7, 13, 3)
    CGDVADP = SysInsn(3, 7, 13, 5)
    CIVAC = SysInsn(3, 7, 14, 1)
    CIGVAC = SysInsn(3, 7, 14, 3)
    CIGDVAC = SysInsn(3, 7, 14, 5)
    CIVAOC = SysInsn(3, 7, 15, 0)
    CIGDVAOC = SysInsn(3, 7, 15, 7)
    CIPAE = SysInsn(4, 7, 14, 0)
    CIGDPAE = SysInsn(4, 7, 14, 7)
    CIPAPA = SysInsn(6, 7, 14, 1)
    CIGDPAPA = SysInsn(6, 7, 14, 5)


class CFP:
    """Control flow prediction restriction by context."""

    RCTX = SysInsn(3, 7, 3, 4)


class DVP:
    """Data value prediction restriction by context."""

    RCTX = SysInsn(3, 7, 3, 5)


class COSP:
    """Clear other speculative prediction restriction by context."""

    RCTX = SysInsn(3, 7, 3, 6)


class CPP:
    """Cache prefetch prediction restriction by context."""

    RCTX = SysInsn(3, 7, 3, 7)


class BRB:
    """Branch record buffer."""

    IALL = SysInsn(1, 7, 2, 4, takes_register=False)
    INJ = SysInsn(1, 7, 2, 5, takes_register=False)


class TRCIT:
    """Trace instrumentation; the instruction has no operation name of its own."""

    TRCIT = SysInsn(3, 7, 2, 7)


class GCS:
    """Guarded control stack; assemblers write GCSPUSHM, GCSPOPM and so on."""

    PUSHX = SysInsn(0, 7, 7, 4, takes_register=False)
    POPCX = SysInsn(0, 7, 7, 5, takes_register=False)
    POPX = SysInsn(0, 7, 7, 6, takes_register=False)
    PUSHM = SysInsn(3, 7, 7, 0)
    POPM = SysInsn(3, 7, 7, 1, returns=True)
    SS1 = SysInsn(3, 7, 7, 2)
    SS2 = SysInsn(3, 7, 7, 3, returns=True)


NAMESPACES: tuple[type[object], ...] = (TLBI, AT, IC, DC, CFP, DVP, COSP, CPP, BRB, TRCIT, GCS)


def index(namespaces: Iterable[type[object]]) -> dict[int, SysInsn]:
    """Map trap key to instruction.

    :raises TypeError: two instructions have one encoding, or one has an impossible one.
    """
    keys: dict[int, SysInsn] = {}
    for namespace in namespaces:
        for insn in vars(namespace).values():
            if not isinstance(insn, SysInsn):
                continue
            insn.encoding.check(insn.name)
            other = keys.setdefault(insn.trap_key, insn)
            if other is not insn:
                raise TypeError(
                    f"{insn.name} and {other.name} have the same encoding"
                    f" {insn.encoding.generic_name}; one of them is wrong."
                )
    return keys


_BY_KEY = index(NAMESPACES)

ALL_INSNS: tuple[SysInsn, ...] = tuple(_BY_KEY.values())


def by_key(trap_key: int) -> SysInsn | None:
    """Find an instruction by the key of its trap; None if nothing is known there."""
    return _BY_KEY.get(trap_key)


def by_name(name: str) -> SysInsn:
    """Find an instruction by its Arm name, such as `TLBI VAE1IS`.

    :raises KeyError: no such instruction.
    """
    for insn in ALL_INSNS:
        if insn.name == name:
            return insn
    raise KeyError(f"{name} is not a system instruction known here; write it as TLBI VAE1IS.")
