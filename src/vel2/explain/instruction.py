"""An instruction in words, and what becomes of it at virtual EL2, in each of the four kinds.

Whether it traps is asked of the trap-control tables, with the values that L0 gives hardware's
controls while vEL2 runs. L0 itself says which those are: `controls.load_for_vel2` and its like run
here, in a simulated machine. Who answers is what the record of the register says (`el2regs`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from vel2.arch import insn
from vel2.arch import sysregs as sr
from vel2.arch.a64 import ZR, SystemInstruction, SystemRegisterMove
from vel2.arch.bits import Encoding, Register
from vel2.arch.controls import BY_NAME as CONTROLS
from vel2.arch.controls import COARSE, controls_of, fine_traps, traps
from vel2.arch.features import HIDDEN_REGISTERS
from vel2.arch.nesting import Kind, Level
from vel2.arch.trap_rows import Combination, Control
from vel2.arch.vncr import BY_NAME, REDIRECTED_TO_EL1, redirected
from vel2.errors import UserError
from vel2.explain.effects import conditions_of
from vel2.explain.syndrome import name_of_key
from vel2.explain.words import INSTRUCTIONS
from vel2.hyp import controls, finegrained, hcrx, idregs
from vel2.hyp.el2regs import TABLE, Home, Reader, Stored, Writer
from vel2.hyp.el2regs import Kind as HomeKind
from vel2.hyp.hcr import NESTED
from vel2.hyp.homes import SWITCHED
from vel2.hyp.state import GUEST_NVHE, GUEST_VHE, LEVEL_NV, LEVEL_NV2, Vcpu, Vm
from vel2.hyp.timer import TRAPS_WITHOUT_E2H
from vel2.hyp.translate import cnthctl_el2_to_e2h, cptr_el2_to_e2h
from vel2.lang import Simulation

__all__ = ("Access", "decode", "explain_insn", "fate_at_vel2")

KINDS = tuple((kind, level) for kind in Kind for level in Level)
BASE, STATE, PAGE_OFFSET, VM_OFFSET, VCPU_OFFSET = 0x4000_0000, 1 << 20, 0, 0x1000, 0x1_0000
RECORDS = {record.name.trap_key: record for record in TABLE}
HIDDEN = {register.trap_key: register for register in HIDDEN_REGISTERS}
ASKED = (
    *(sr.HCR_EL2, sr.HCRX_EL2, sr.MDCR_EL2, sr.ICH_HCR_EL2),
    *(sr.HFGRTR_EL2, sr.HFGWTR_EL2, sr.HFGITR_EL2, sr.HDFGRTR_EL2, sr.HDFGWTR_EL2),
)
OP0_SYS, READ_OP = 1, 1
ALL_OF_EL2 = "HCR_NV"
"""The control over names of EL2."""


@dataclass(frozen=True)
class Access:
    """One instruction that names an encoding of the system space.

    :ivar is_read: MRS; of a system instruction it is False.
    """

    key: int
    is_read: bool
    rt: int

    @property
    def text(self) -> str:
        """Write it as assemblers do."""
        register = "xzr" if self.rt == ZR else f"x{self.rt}"
        known = insn.by_key(self.key)
        if known is not None:
            return f"{known.name}, {register}" if known.takes_register else known.name
        name = name_of_key(self.key)
        return f"MRS {register}, {name}" if self.is_read else f"MSR {name}, {register}"


def decode(word: int) -> Access | None:
    """Decode MRS, MSR (register) and SYS; None for other instructions."""
    for layout, op0_of in ((SystemRegisterMove, _op0_of_move), (SystemInstruction, _op0_of_sys)):
        if word & layout.fixed == layout.match:
            encoding = Encoding(
                op0_of(word),
                layout.field("op1").get(word),
                layout.field("CRn").get(word),
                layout.field("CRm").get(word),
                layout.field("op2").get(word),
            )
            is_read = layout is SystemRegisterMove and SystemRegisterMove.L.get(word) == READ_OP
            return Access(encoding.trap_key, is_read, layout.field("Rt").get(word))
    return None


def _op0_of_move(word: int) -> int:
    return 2 | SystemRegisterMove.o0.get(word)


def _op0_of_sys(word: int) -> int:
    return OP0_SYS


def explain_insn(word: int) -> list[str]:
    """Explain an instruction, in lines.

    :raises UserError: when it has more than 32 bits.
    """
    if not 0 <= word < 1 << 32:
        raise UserError(f"{word:#x} is no instruction: an instruction of A64 has 32 bits.")
    access = decode(word)
    if access is None:
        return [f"{word:#010x}  {_other(word)}"]
    lines = [f"{word:#010x}  {access.text}", "at vEL2:"]
    for kind, level in KINDS:
        lines.append(f"  {kind.value:>4} {level.value:<3}  {fate_at_vel2(access, kind, level)}")
    lines.append(f"at vEL1:    {fate_at_vel1(access)}")
    return lines


def _other(word: int) -> str:
    """Say what an instruction is that names no register."""
    for fixed, match, text in INSTRUCTIONS:
        if word & fixed == match:
            return text
    return "no system instruction: virtual EL2 executes it as EL1 does"


@cache
def hardware_at_vel2(kind: Kind, level: Level) -> Mapping[str, int]:
    """Give hardware's trap controls while vEL2 runs, as L0 sets them, by name.

    The machine has every feature that L0 knows: a register that another lacks is UNDEFINED there
    and asks no control. What L0 does at times only is left out: its traps of timers, of MDSCR_EL1,
    of a live GIC.
    """
    simulation = Simulation(BASE, STATE)
    vm, vcpu = simulation.at(Vm, BASE + VM_OFFSET), simulation.at(Vcpu, BASE + VCPU_OFFSET)
    vm.config.guest_kind = GUEST_VHE if kind is Kind.VHE else GUEST_NVHE
    vm.config.nv_level = LEVEL_NV2 if level is Level.NV2 else LEVEL_NV
    vm.probed.cpacr_holds_cptr = vm.probed.cntkctl_holds_cnthctl = vm.probed.has_fgt = 1
    vm.probed.has_sve = int((kind, level) == (Kind.VHE, Level.NV2))
    vm.probed.hcrx_vel2 = hcrx.ENABLES
    vcpu.vm = BASE + VM_OFFSET
    vcpu.e2h = int(kind is Kind.VHE)
    vcpu.vel2.vncr_page = BASE + PAGE_OFFSET
    vcpu.pcpu.mdcr_vel2 = controls.MDCR_ALWAYS
    if kind is Kind.NVHE:
        vcpu.pcpu.timer_traps = TRAPS_WITHOUT_E2H
    with simulation:
        controls.load_for_vel2(vcpu)
        hcrx.load_for_vel2(vcpu)
        finegrained.reset()
    values = {register.name: simulation[register] for register in ASKED}
    values["CPTR_EL2_E2H"] = cptr_el2_to_e2h(simulation[sr.CPTR_EL2])
    values["CNTHCTL_EL2_E2H"] = cnthctl_el2_to_e2h(simulation[sr.CNTHCTL_EL2])
    return values


def fate_at_vel2(access: Access, kind: Kind, level: Level) -> str:
    """Say what becomes of an access at vEL2: whether it traps, and who answers."""
    register = sr.by_key(access.key)
    slots = redirected(NV1=kind is Kind.NVHE) if level is Level.NV2 else {}
    is_trapped = _traps(access, hardware_at_vel2(kind, level))
    # A name of EL1 is memory unless a control of its own traps it; one of EL2 whatever NV says.
    if access.key in slots and (COARSE.get(access.key) == ALL_OF_EL2 or not is_trapped):
        verb = "load from" if access.is_read else "store to"
        return f"no trap: FEAT_NV2 makes it a {verb} the VNCR page, at {slots[access.key]:#x}"
    if level is Level.NV2 and register is not None:
        for el2, el1 in REDIRECTED_TO_EL1:
            if register.name == el2:
                return f"no trap: FEAT_NV2 makes it an access to hardware's {el1}"
    if not is_trapped:
        return _without_trap(register, kind)
    return f"traps: {_answer(access, register, kind)}"


def _traps(access: Access, values: Mapping[str, int]) -> bool:
    found = controls_of(access.key)
    if found.coarse is not None and traps(found.coarse, values, is_read=access.is_read):
        return True
    fine = found.read if access.is_read else found.write
    return fine is not None and fine.register in values and fine_traps(fine, values)


def _without_trap(register: type[Register] | None, kind: Kind) -> str:
    if register is None:
        return "no trap"
    for row in SWITCHED:
        if row.hardware is register:
            if kind is Kind.VHE:
                return f"no trap: hardware's {register.name} holds vEL2's {row.vel2.name}"
            if row.common_nvhe:
                return f"no trap: hardware's {register.name}, which vEL2 and vEL1 share"
    return f"no trap: hardware's {register.name}"


def _answer(access: Access, register: type[Register] | None, kind: Kind) -> str:
    """Say who answers an access that traps."""
    if register is None:
        known = insn.by_key(access.key)
        return "L0 gives UNDEFINED" if known is None else f"L0 does it ({_doer(known)})"
    if access.is_read and idregs.is_in_space(access.key):
        return "L0 gives the identification register as L1 sees it (hyp.idregs)"
    record = RECORDS.get(access.key)
    if record is None:
        if access.key in HIDDEN:
            return "L0 gives UNDEFINED: its feature is hidden from L1"
        return "L0 does it (hyp.monitors), or gives UNDEFINED"
    home = record.with_e2h if kind is Kind.VHE else record.without_e2h
    return _home(home, access.is_read)


def _doer(known: insn.SysInsn) -> str:
    return {"TLBI": "hyp.tlbi", "AT": "hyp.at"}.get(known.name.split()[0], "hyp.prediction")


def _home(home: Home | None, is_read: bool) -> str:
    """Say what a record tells of one direction of access."""
    part: Stored | Reader | Writer | None = None
    if home is not None:
        part = home.read if is_read else home.write
    if part is None:
        return "L0 gives UNDEFINED: there is no such access"
    if not isinstance(part, Stored):
        return f"L0 does it ({_function(part)})"
    verb = "reads" if is_read else "writes"
    where = {
        HomeKind.PAGE: f"the VNCR page at {_offset(part.register)}",
        HomeKind.HARDWARE: f"hardware's {part.register.name}",
        HomeKind.VEL1_TIMER: f"hardware's {part.register.name}, which is vEL1's",
        HomeKind.SHADOW: "the context; hardware's EL1 register gets its translation",
        HomeKind.MEMORY: "the context",
    }[part.kind]
    return f"L0 {verb} {where}"


def _offset(register: type[Register]) -> str:
    return f"{BY_NAME[register.name].offset:#x}" if register.name in BY_NAME else "its slot"


def _function(function: Callable[..., object]) -> str:
    module = function.__module__.removeprefix("vel2.")
    return f"{module}.{function.__name__}"


def fate_at_vel1(access: Access) -> str:
    """Say which controls of L1 send an access of its guest to it."""
    if access.key in HIDDEN:
        return "UNDEFINED where it traps: its feature is hidden from L1"
    asked = list(_asked(access))
    if not asked:
        return "no control of L1's makes it trap"
    powerless = ", ".join(_powerless(controls_of(access.key).coarse))
    note = f"; L1 has {powerless} with --recursion only, else it is UNDEFINED" if powerless else ""
    return f"forwarded to L1 if {', or '.join(asked)}{note}"


def _powerless(control: str | None) -> Iterator[str]:
    """Name the bits of HCR_EL2 that a control needs to be 1 and that a plain L1 does not have."""
    row = CONTROLS.get(control or "")
    if isinstance(row, Combination) and row.need_all:
        for part in row.parts:
            yield from _powerless(part)
    elif isinstance(row, Control) and row.register == sr.HCR_EL2.name and row.traps_when:
        field = sr.HCR_EL2.field(row.field)
        if field.mask & NESTED:
            yield field.full_name


def _asked(access: Access) -> Iterator[str]:
    found = controls_of(access.key)
    if found.coarse is not None:
        yield conditions_of(found.coarse)
    fine = found.read if access.is_read else found.write
    if fine is not None:
        yield f"{fine.register}.{fine.field} is {fine.polarity}"
