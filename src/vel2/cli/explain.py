"""`vel2 explain`: what a value of a register, a syndrome or an instruction means."""

import re

import click

from vel2.errors import UserError
from vel2.explain.register import describe_register, explain_value, find_register
from vel2.explain.syndrome import explain_esr

__all__ = ("explain",)

SYNDROME, INSTRUCTION = "esr", "insn"
NUMBER = re.compile(r"0x[0-9a-f](_?[0-9a-f])*|[0-9]+", re.IGNORECASE)


@click.command()
@click.argument("what", metavar="REGISTER|esr|insn")
@click.argument("value", required=False)
@click.option("--all", "every_name", is_flag=True, help="Name all that a control makes trap.")
def explain(what: str, value: str | None, every_name: bool) -> None:
    """Explain a value: the fields of a register, a syndrome, or an instruction at virtual EL2.

    Without VALUE: what the register is, its fields, and what they make trap. Values that must not
    be written are marked WRONG. QEMU does not run.

    \b
    Examples:
      vel2 explain HCR_EL2 0x80000001    fields, what is wrong, what traps
      vel2 explain esr 0x62240045        class and syndrome
      vel2 explain insn 0xd51c1100       MSR HCR_EL2, x0 at virtual EL2
      vel2 explain SCTLR_EL1             what the register is
    """  # noqa: D301
    kind = what.lower()
    if kind in (SYNDROME, INSTRUCTION):
        number = parse_value(value, kind)
        if kind == SYNDROME:
            lines = explain_esr(number)
        else:
            from vel2.explain.instruction import explain_insn  # it brings in the compiler

            lines = explain_insn(number)
    else:
        register = find_register(what)
        if value is None:
            lines = describe_register(register)
        else:
            number = parse_value(value, register.name)
            lines = explain_value(register, number, every_name=every_name)
            if register.name.startswith("ESR_"):
                lines += explain_esr(number)
    click.echo("\n".join(lines))


def parse_value(text: str | None, what: str) -> int:
    """Read a number, hexadecimal with 0x.

    :raises UserError: when it is none.
    """
    if text is None:
        raise UserError(f"`vel2 explain {what}` needs a value, such as 0x5a000000.")
    if NUMBER.fullmatch(text) is None:
        raise UserError(f"{text!r} is no value; give a number, hexadecimal with 0x.")
    return int(text, 16 if text[:2] in ("0x", "0X") else 10)
