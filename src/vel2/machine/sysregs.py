"""QEMU's names for system registers, found by the Arm ARM's.

QEMU names some registers after their AArch32 twin (SCTLR is SCTLR_EL1), writes others in capitals,
and marks identification registers that nothing was in when it was written (..._RESERVED). What it
computes at each access it does not show: counters that go on, ICC_* and ICH_*.
"""

from collections.abc import Container

from vel2.arch.bits import Register

__all__ = ("NAMED_OTHERWISE", "qemu_name")

NAMED_OTHERWISE = {"AMAIR_EL1": "AMAIR0"}
OF_EL1 = "_EL1"


def qemu_name(register: type[Register], known: Container[str]) -> str | None:
    """Give QEMU's name for a register, None if it does not show it.

    :param known: the names that it shows.
    """
    name = register.name.upper()
    short = name.removesuffix(OF_EL1)
    for wanted in (name, NAMED_OTHERWISE.get(name, short), f"{name}_RESERVED"):
        if wanted in known:
            return wanted
    return None
