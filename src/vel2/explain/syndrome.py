"""A syndrome in words: ESR_ELx by the layout of its class, the register or fault it names."""

from vel2.arch import insn
from vel2.arch import sysregs as sr
from vel2.arch.bits import Field, Layout, Reserved, Unknown, encoding_from_trap_key
from vel2.arch.bits import trap_key_from_iss as key_of
from vel2.arch.esr import (
    EC,
    EC_ROWS,
    FSC,
    FSC_ASYNC_SERROR,
    FSC_LEVEL,
    ISS_DABT,
    ISS_ERET,
    ISS_HVC,
    ISS_IABT,
    ISS_SERROR,
    ISS_SYS64,
    ISS_WFX,
    ESR_ELx,
    fault_level,
)
from vel2.errors import UserError
from vel2.explain.words import CLASSES, FAULTS

__all__ = ("explain_esr", "fault_words", "name_of_key", "summary_of_esr")

ZR = 31
SIZES = ("byte", "halfword", "word", "doubleword")
WFX = ("WFI", "WFE", "WFIT", "WFET")
ERETS = ("ERET", "ERET", "ERETAA", "ERETAB")


def name_of_key(key: int) -> str:
    """Name the register or instruction with a trap key."""
    known = sr.by_key(key) or insn.by_key(key)
    return encoding_from_trap_key(key).generic_name if known is None else known.name


def fault_words(fsc: int) -> str:
    """Say what a fault status code means, such as `Translation fault, level 2`."""
    level = fault_level(fsc)
    if level is None or level < 0:
        return FAULTS.get(fsc, f"reserved code {fsc:#x}")
    return f"{FAULTS[fsc & ~FSC_LEVEL]}, level {level}"


def explain_esr(esr: int) -> list[str]:
    """Explain a value of ESR_EL1 or ESR_EL2, in lines.

    :raises UserError: when it has more than 64 bits.
    """
    if not 0 <= esr < 1 << 64:
        raise UserError(f"{esr:#x} is no syndrome: ESR_ELx has 64 bits.")
    row = EC_ROWS[ESR_ELx.EC.get(esr)]
    lines = [f"ESR = {esr:#x}: {summary_of_esr(esr)}"]
    lines.append(f"  EC  = {row.value:#04x}  {row.name}: {CLASSES.get(row.value, 'unallocated')}")
    length = "32 bits, or the class has no length" if ESR_ELx.IL.get(esr) else "16 bits"
    lines.append(f"  IL  = {ESR_ELx.IL.get(esr)}     length of the instruction: {length}")
    iss = ESR_ELx.ISS.get(esr)
    lines.append(f"  ISS = {iss:#09x}  by {row.iss.__name__}")
    lines += [f"    {line}" for line in _iss_lines(row.value, row.iss, iss)]
    if iss2 := ESR_ELx.ISS2.get(esr):
        lines.append(f"  ISS2 = {iss2:#x}")
    if wrong := esr >> ESR_ELx._63.lsb:
        lines.append(f"  WRONG: RES0 bits {ESR_ELx._63.bits} are set ({wrong:#x})")
    return lines


def summary_of_esr(esr: int) -> str:
    """Say in a line what trapped or faulted."""
    ec, iss = ESR_ELx.EC.get(esr), ESR_ELx.ISS.get(esr)
    if ec == EC.SYS64:
        return _system_access(iss)
    if ec == EC.WFX:
        return f"{WFX[ISS_WFX.TI.get(iss)]} trapped"
    if ec == EC.ERET:
        return f"{ERETS[iss & (ISS_ERET.ERET.mask | ISS_ERET.ERETA.mask)]} trapped"
    if ec in (EC.HVC64, EC.SVC64, EC.SMC64):
        return f"{EC(ec).name[:3]} #{ISS_HVC.imm16.get(iss):#x}"
    if ec in (EC.DABT_LOWER, EC.DABT_SAME):
        return _data_abort(iss)
    if ec in (EC.IABT_LOWER, EC.IABT_SAME):
        where = "walk of stage 1 stopped by stage 2" if ISS_IABT.S1PTW.get(iss) else "fetch"
        return f"instruction {where}: {fault_words(ISS_IABT.IFSC.get(iss))}"
    if ec == EC.SERROR and ISS_SERROR.DFSC.get(iss) == FSC_ASYNC_SERROR:
        return "SError, asynchronous"
    return CLASSES.get(ec, "a class that the Arm ARM has not allocated")


def _system_access(iss: int) -> str:
    key, rt = key_of(iss), ISS_SYS64.Rt.get(iss)
    name = name_of_key(key)
    source = "xzr" if rt == ZR else f"x{rt}"
    if ISS_SYS64.Op0.get(iss) == 1:
        return f"{name}, {source}"
    if ISS_SYS64.Direction.get(iss):
        return f"MRS {source}, {name}: a read"
    return f"MSR {name}, {source}: a write"


def _data_abort(iss: int) -> str:
    what = "write" if ISS_DABT.WnR.get(iss) else "read"
    if ISS_DABT.CM.get(iss):
        what = "cache maintenance or address translation"
    elif ISS_DABT.VNCR.get(iss):
        what = f"{what} of the VNCR page"
    elif ISS_DABT.ISV.get(iss):
        register = f"{'x' if ISS_DABT.SF.get(iss) else 'w'}{ISS_DABT.SRT.get(iss)}"
        sign = "sign-extended " if ISS_DABT.SSE.get(iss) else ""
        what = f"{what} of a {sign}{SIZES[ISS_DABT.SAS.get(iss)]}, {register}"
    if ISS_DABT.S1PTW.get(iss):
        what = f"{what}, the walk of stage 1 stopped by stage 2"
    return f"{what}: {fault_words(ISS_DABT.DFSC.get(iss))}"


def _iss_lines(ec: int, layout: type[Layout], iss: int) -> list[str]:
    """Say what each field of the ISS holds; of reserved ones only what should not be."""
    lines = []
    for field in layout.fields:
        value = field.get(iss)
        if isinstance(field, Unknown):
            lines.append(f"{field.bits:>5}  IMPLEMENTATION DEFINED = {value:#x}")
        elif isinstance(field, Reserved):
            if value:
                lines.append(f"{field.bits:>5}  WRONG: RES0 bits are set ({value:#x})")
        else:
            lines.append(f"{field.bits:>5}  {field.name} = {value:#x}  {_said(ec, field, value)}")
    return [line.rstrip() for line in lines]


def _said(ec: int, field: Field, value: int) -> str:
    """Give what a field of the ISS says, where more than its number."""
    if field.enum is FSC or (ec == EC.WATCHPOINT_LOWER and field.name == "DFSC"):
        return fault_words(value)
    if field.register is ISS_WFX and field.name == "TI":
        return WFX[value]
    if field.register is ISS_SERROR:
        return ""
    return {
        "WnR": ("a read", "a write"),
        "Direction": ("a write", "a read"),
        "S1PTW": ("", "on the walk of stage 1"),
        "FnV": ("FAR_ELx is valid", "FAR_ELx is not valid"),
        "ISV": ("the fields for the access say nothing", "the fields for the access are valid"),
        "CM": ("", "by a maintenance instruction"),
        "VNCR": ("", "by an access that FEAT_NV2 made of a register's"),
    }.get(field.name, ("", ""))[value if value < 2 else 0]
