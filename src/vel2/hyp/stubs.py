"""Small functions in assembly, which resident code calls (`@extern`): what it cannot express.

Those of `fallible` lie side by side, so that the vector for exceptions from EL2 itself finds them
by their addresses.
"""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp import fallible
from vel2.hyp.records import Walk
from vel2.lang.asm import Assembler

__all__ = ("STUB_BYTES", "calls", "fallible_calls")

STUB_BYTES = 16


def calls(a: Assembler) -> None:
    """Emit the functions that resident code cannot express."""
    a.label("firmware_call")
    a.smc(0)
    a.ret()
    a.label("call_probe")
    a.br(2)
    a.label("write_code")
    a.str(2, 0)
    a.ret()
    a.label("set_pan")
    a.cbz(0, "clear_pan")
    a.msr_immediate("pan", 1)
    a.ret()
    a.label("clear_pan")
    a.msr_immediate("pan", 0)
    a.ret()
    for key, low, high in (
        ("a", sr.APIAKeyLo_EL1, sr.APIAKeyHi_EL1),
        ("b", sr.APIBKeyLo_EL1, sr.APIBKeyHi_EL1),
    ):
        pac_with_key(a, f"pac_with_key_{key}", low, high)


def pac_with_key(a: Assembler, label: str, low: type[Register], high: type[Register]) -> None:
    """Emit PACGA under another key: x0 = ComputePAC(x0, x1), in bits 63-32."""
    a.label(label)
    a.mrs(2, sr.APGAKeyLo_EL1)
    a.mrs(3, sr.APGAKeyHi_EL1)
    a.mrs(4, low)
    a.mrs(5, high)
    a.msr(sr.APGAKeyLo_EL1, 4)
    a.msr(sr.APGAKeyHi_EL1, 5)
    a.isb()
    a.pacga(0, 0, 1)
    a.msr(sr.APGAKeyLo_EL1, 2)
    a.msr(sr.APGAKeyHi_EL1, 3)
    a.isb()
    a.ret()


def fallible_calls(a: Assembler) -> None:
    """Emit the stubs of `fallible`: four instructions each, of which the first may abort."""
    a.align(STUB_BYTES)
    a.label("fallible_start")
    for name, instruction in fallible.STUBS:
        a.label(name)
        a.sys(instruction, 0)
        a.isb()
        succeed(a)
    a.label("try_load_entry")
    a.ldr(2, 1)
    a.str(2, 0, Walk.offset_of("entry"))
    succeed(a)
    a.label("try_exchange")
    a.casal(2, 3, 1)
    a.str(2, 0, Walk.offset_of("entry"))
    succeed(a)
    a.label("fallible_end")
    a.label("fallible_failed")
    a.movz(0, 0)
    a.ret()


def succeed(a: Assembler) -> None:
    """Emit the end of a stub whose first instruction has gone well."""
    a.movz(0, 1)
    a.ret()
