"""Single reads and writes of system registers by L2, and what came of each."""

from collections.abc import Iterable
from dataclasses import dataclass

from vel2.arch.bits import Register
from vel2.check.payloads.layout import State
from vel2.check.payloads.library.assembly import HVC_DONE
from vel2.check.payloads.library.guest import enter_guest, is_hvc
from vel2.check.payloads.library.seen import saw, say
from vel2.lang import Assembler, bytes_address, resident, symbol_address, u64

__all__ = ("Access", "emit_accesses", "register_accesses", "show_access")


@dataclass(frozen=True)
class Access:
    """One access of L2: x1 is what is written, or read.

    :ivar name: what its lines begin with.
    :ivar code: the label of its code.
    """

    register: type[Register]
    is_write: bool
    name: bytes
    code: str


def register_accesses(
    prefix: str, rows: Iterable[tuple[type[Register], str]]
) -> tuple[Access, ...]:
    """Give the accesses to registers; each comes with `rw`, `r` or `w`, and is written first."""
    return tuple(
        Access(
            register,
            kind == "write",
            f"{register.name.lower()}-{kind}\0".encode(),
            f"{prefix}_{kind}_{register.name.lower()}",
        )
        for register, kinds in rows
        for kind in ("write", "read")
        if kind[0] in kinds
    )


def emit_accesses(a: Assembler, accesses: Iterable[Access]) -> None:
    """Emit the code of accesses; each ends in an HVC."""
    for access in accesses:
        a.label(access.code)
        if access.is_write:
            a.msr(access.register, 1)
            a.isb()
        else:
            a.mrs(1, access.register)
        a.hvc(HVC_DONE)


@resident
def show_access(state: State, name: u64, code: u64, value: u64, subject: u64) -> None:
    """Let L2 make an access; print the exception it ended in, and x1 if it went through."""
    state.guest_x[30] = symbol_address("guest_hvc")
    state.vector = enter_guest(state, code, 0, value)
    saw(state, name, subject)
    if is_hvc(state, HVC_DONE):
        say(name, subject, bytes_address(b"x1\0"), state.x[1])
