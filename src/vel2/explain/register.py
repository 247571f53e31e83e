"""A value of a register in words: its fields, what is wrong with it, what it makes trap."""

from dataclasses import dataclass

from vel2.arch import insn
from vel2.arch import sysregs as sr
from vel2.arch.bits import Field, Layout, Register, Res0, Res1, Reserved
from vel2.arch.features import feature_of
from vel2.arch.trap_rows import E2H1_LAYOUT
from vel2.arch.vncr import BY_NAME as VNCR_SLOTS
from vel2.errors import UserError
from vel2.explain.effects import effects_of

__all__ = (
    "FieldValue",
    "describe_register",
    "explain_value",
    "fields_of",
    "find_register",
    "key_named",
)

WIDTH = 64


@dataclass(frozen=True)
class FieldValue:
    """One field of a value.

    :ivar meaning: the value's name in the tables; empty where they have none.
    :ivar wrong: what software must not write there; empty when nothing is.
    """

    field: Field
    value: int
    meaning: str = ""
    wrong: str = ""


def find_register(name: str) -> type[Register]:
    """Find a register by its Arm name, in whatever case it is written.

    :raises UserError: when no register is called that.
    """
    for wanted in (name, name.upper()):
        try:
            return sr.by_name(wanted)
        except KeyError as error:
            why = str(error.args[0])
    for register in sr.ALL_REGISTERS:  # APIAKeyLo_EL1, SPSR_irq
        if register.name.upper() == name.upper():
            return register
    raise UserError(f"{why.rstrip('.')}; `vel2 explain` takes a name as Arm writes it.")


def key_named(name: str) -> int:
    """Give the trap key of a register, or of an instruction such as `TLBI VAE1IS`.

    :raises UserError: when nothing is called that.
    """
    try:
        return insn.by_name(name.upper()).trap_key
    except KeyError:
        return find_register(name).trap_key


def check_value(register: type[Register], value: int) -> None:
    """Refuse what no register can hold.

    :raises UserError: naming both.
    """
    if not 0 <= value < 1 << WIDTH:
        raise UserError(
            f"{value:#x} is no value of {register.name}, which has {WIDTH} bits;"
            f" give 0 to {(1 << WIDTH) - 1:#x}."
        )


def fields_of(register: type[Layout], value: int) -> list[FieldValue]:
    """Take a value apart, highest bits first; of the reserved ones only what is wrong."""
    found = []
    for field in register.fields:
        bits = field.get(value)
        if isinstance(field, Res0):
            if bits:
                found.append(FieldValue(field, bits, wrong="RES0 bits are set"))
        elif isinstance(field, Res1):
            if bits != field.ones:
                found.append(FieldValue(field, bits, wrong="RES1 bits are clear"))
        elif isinstance(field, Reserved):
            if bits:
                found.append(FieldValue(field, bits, meaning=type(field).__name__.upper()))
        elif field.enum is not None:
            known = bits in set(field.enum)
            meaning = field.enum(bits).name if known else ""
            found.append(FieldValue(field, bits, meaning, "" if known else "no allocated value"))
        else:
            found.append(FieldValue(field, bits))
    return found


def explain_value(register: type[Register], value: int, *, every_name: bool = False) -> list[str]:
    """Explain a value, in lines.

    :param every_name: list all that a control makes trap, instead of the first few.
    :raises UserError: when it does not fit.
    """
    check_value(register, value)
    lines = [f"{register.name} = {value:#x}"]
    parts = fields_of(register, value)
    widest = max((len(_name(part)) for part in parts), default=0)
    for part in parts:
        said = part.meaning or ""
        if part.wrong:
            said = f"{said} WRONG: {part.wrong}".strip()
        lines.append(f"  {part.field.bits:>5}  {_name(part):<{widest}}  {said}".rstrip())
        if isinstance(part.field, Reserved):
            continue
        limit = None if every_name else 8
        lines += [
            f"         traps {effect.text(limit)}"
            for effect in effects_of(part.field)
            if effect.acts(part.value)
        ]
    return lines


def _name(part: FieldValue) -> str:
    name = "-" if isinstance(part.field, Reserved) else part.field.name
    return f"{name} = {part.value:#x}" if part.field.width > 1 else f"{name} = {part.value}"


def describe_register(register: type[Register]) -> list[str]:
    """Say what a register is, in lines: encoding, access, where FEAT_NV2 has it, its fields."""
    access = {"RW": "read and written", "RO": "read only", "WO": "written only"}
    lines = [f"{register.name}: {register.encoding.generic_name}, {access[register.access]}"]
    if (feature := feature_of(register)) is not None:
        hidden = "" if feature.hidden is None else f" (hidden from L1: {feature.hidden.why})"
        lines.append(f"comes with {feature.name}{hidden}")
    if register.alias_of:
        lines.append(f"another name of {register.alias_of}, for EL2 with HCR_EL2.E2H=1")
    if register.e2h:
        lines.append(f"means {register.e2h} at EL2 with HCR_EL2.E2H=1")
    if register.name in VNCR_SLOTS:
        lines.append(f"in the VNCR page at {VNCR_SLOTS[register.name].offset:#x}")
    for layout, of in E2H1_LAYOUT.items():
        if register.name == of:
            lines.append(f"with HCR_EL2.E2H=1 its layout is that of {layout}")
    for field in register.fields:
        name = type(field).__name__.upper() if isinstance(field, Reserved) else field.name
        lines.append(f"  {field.bits:>5}  {name}")
        if not isinstance(field, Reserved):
            lines += [
                f"         at {effect.traps_when:#x} traps {effect.text()}"
                for effect in effects_of(field)
            ]
    return lines
