"""Which traps ask the host, and what becomes of the host's orders and errands.

Waiting itself needs a host: tests/system/test_hooks.py has that.
"""

from __future__ import annotations

import pytest

from tests.hyp.rig import Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, FSC, ISS_DABT, ISS_SYS64, ESR_ELx
from vel2.hyp import errand, hook, layout
from vel2.hyp.mailbox import Mailbox, Order, Wanted
from vel2.hyp.outcome import Outcome
from vel2.hyp.records import FIQ, IRQ, SERROR, SYNC, TO_RUNNING_EL1, TO_VEL2
from vel2.hyp.shown import SHOWN, WRITABLE
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2
from vel2.lang import address_of

FAR = 0xFFFF_0000_1234_5678
DEVICE = 0x2_0000_0000


def box_of(rig: Rig) -> Mailbox:
    """Give the vCPU's mailbox, which lies in free pages of the rig's pool."""
    with rig.sim:
        base = address_of(rig.vcpu)
    return rig.sim.at(Mailbox, base - layout.VCPU_IN_PCPU + layout.MAILBOX_IN_PCPU)


def wanted_of(rig: Rig) -> Wanted:
    """Give what hooks want."""
    return rig.sim.at(Wanted, rig.vcpu.vm + layout.WANTED_IN_VM)


def trapped(rig: Rig, ec: EC, iss: int = 0, context: int = CONTEXT_VEL1, kind: int = SYNC) -> None:
    """Have a trap begun."""
    rig.vcpu.trap.kind = kind
    rig.vcpu.trap.context = context
    rig.vcpu.trap.esr = ESR_ELx.compose(EC=ec, IL=1) | iss
    rig.vcpu.trap.far = FAR


@pytest.mark.parametrize("context", [CONTEXT_VEL2, CONTEXT_VEL1])
def test_a_class_asks_of_its_own_level_alone(context: int) -> None:
    rig = fresh_rig()
    wanted_of(rig).classes[context] = 1 << EC.HVC64
    asking = []
    for of in (CONTEXT_VEL2, CONTEXT_VEL1):
        for ec in EC:
            trapped(rig, ec, context=of)
            if rig.run(hook.wants, rig.vcpu):
                asking.append((of, ec))
    assert asking == [(context, EC.HVC64)]


def test_interrupts_ask_by_kind() -> None:
    rig = fresh_rig()
    wanted_of(rig).interrupts[CONTEXT_VEL1] = 1 << 1 | 1 << 3
    asking = []
    for kind in (IRQ, FIQ, SERROR):
        trapped(rig, EC.UNKNOWN, kind=kind)
        if rig.run(hook.wants, rig.vcpu):
            asking.append(kind)
    assert asking == [IRQ, SERROR]


def syndrome_of(register: type[sr.Register]) -> int:
    """Give the ISS of an MRS of a register."""
    e = register.encoding
    return ISS_SYS64.compose(
        Op0=e.op0, Op1=e.op1, Op2=e.op2, CRn=e.CRn, CRm=e.CRm, Rt=3, Direction=1
    )


def test_a_register_asks_and_its_neighbours_do_not() -> None:
    rig = fresh_rig()
    key = sr.CNTHCTL_EL2.trap_key
    wanted_of(rig).filtered[CONTEXT_VEL2] = 1 << EC.SYS64
    wanted_of(rig).registers[key >> 6] = 1 << (key & 63)
    asking = []
    for register in (sr.CNTHCTL_EL2, sr.CNTHP_CTL_EL2, sr.HCR_EL2, sr.CNTKCTL_EL1, sr.VBAR_EL2):
        trapped(rig, EC.SYS64, syndrome_of(register), CONTEXT_VEL2)
        if rig.run(hook.wants, rig.vcpu):
            asking.append(register)
    assert asking == [sr.CNTHCTL_EL2]


@pytest.mark.parametrize(
    ("page", "iss", "asks"),
    [
        (0, FSC.TRANSLATION + 3, True),
        (0x1000, FSC.TRANSLATION + 3, False),
        (-0x1000, FSC.TRANSLATION + 3, False),
        # HPFAR_EL2 is UNKNOWN for a permission fault, and on a walk it is the table's.
        (0, FSC.PERMISSION + 3, False),
        (0, FSC.TRANSLATION + 3 | ISS_DABT.S1PTW.mask, False),
    ],
)
def test_an_address_asks_where_nothing_is(page: int, iss: int, asks: bool) -> None:
    rig = fresh_rig()
    wanted = wanted_of(rig)
    wanted.filtered[CONTEXT_VEL1] = 1 << EC.DABT_LOWER
    wanted.range_count = 1
    # From the very byte that is accessed.
    wanted.ranges[0].first, wanted.ranges[0].last = DEVICE + (FAR & 0xFFF), DEVICE + 0xFFF
    rig[sr.HPFAR_EL2] = sr.HPFAR_EL2.FIPA.put((DEVICE + page) >> 12)
    trapped(rig, EC.DABT_LOWER, iss)
    assert bool(rig.run(hook.wants, rig.vcpu)) == asks
    if asks:
        wanted.ranges[0].first += 1
        assert not rig.run(hook.wants, rig.vcpu)


@pytest.mark.parametrize(
    ("order", "outcome"),
    [
        (Order.OWN, Outcome.NOBODY),
        (Order.RESUME, Outcome.RESUME),
        (Order.SKIP, Outcome.SKIP),
        (Order.EXCEPTION, Outcome.EXCEPTION),
        (Order.UNDO, Outcome.UNDO),
    ],
)
def test_an_order_is_an_outcome(order: Order, outcome: Outcome) -> None:
    rig = fresh_rig()
    assert rig.run(hook.ordered, rig.vcpu, box_of(rig), order) == outcome


@pytest.mark.parametrize("target", [TO_RUNNING_EL1, TO_VEL2])
@pytest.mark.parametrize("form", ["plain", "far", "ipa", "serror", "irq"])
def test_an_exception_is_as_described(form: str, target: int) -> None:
    rig = fresh_rig()
    box = box_of(rig)
    box.target, box.syndrome, box.vaddress, box.ipaddress = target, 0x9600_0050, FAR, DEVICE
    box.kind = {"serror": SERROR, "irq": IRQ}.get(form, SYNC)
    box.has_vaddress = int(form in ("far", "ipa"))
    box.has_ipaddress = int(form == "ipa")
    rig.run(hook.ordered, rig.vcpu, box, Order.EXCEPTION)
    record = rig.vcpu.exception
    # A stage-2 fault and an interrupt are vEL2's.
    assert record.target == (TO_VEL2 if form in ("ipa", "irq") else target)
    assert record.kind == box.kind
    assert record.has_syndrome == (form != "irq")
    assert (record.has_vaddress, record.has_ipaddress) == (box.has_vaddress, box.has_ipaddress)
    if form != "irq":
        assert record.syndrome == 0x9600_0050
    if form == "ipa":
        assert (record.vaddress, record.ipaddress) == (FAR, DEVICE)


def test_registers_are_shown_in_their_order() -> None:
    rig = fresh_rig()
    rig.vm.probed.has_fgt = 1
    rig.vm.probed.list_registers = 16
    for index, register in enumerate(SHOWN):
        rig[register] = 0x1000 + index
    rig.run(errand.run, rig.vcpu, box_of(rig), Order.SHOW)
    assert [*box_of(rig).registers] == [0x1000 + index for index in range(len(SHOWN))]
    assert box_of(rig).result == 1


def test_what_the_machine_has_not_is_not_read() -> None:
    """MRS of a register that is not there would be an exception of EL2's own."""
    rig = fresh_rig()
    rig.vm.probed.list_registers = 4
    rig.vm.probed.has_fgt = rig.vm.probed.optional = 0
    for register in SHOWN:
        rig[register] = 1
    rig.run(errand.run, rig.vcpu, box_of(rig), Order.SHOW)
    shown = dict(zip(SHOWN, box_of(rig).registers, strict=True))
    assert [r.name for r, value in shown.items() if not value] == [
        *("TCR2_EL1", "SCTLR2_EL1"),
        *("HFGRTR_EL2", "HFGWTR_EL2", "HFGITR_EL2", "HDFGRTR_EL2", "HDFGWTR_EL2"),
        *(f"ICH_LR{n}_EL2" for n in range(4, 16)),
    ]


def done(rig: Rig, order: Order, address: int, value: int, size: int = 8) -> int:
    """Run one; give whether it could be done."""
    box = box_of(rig)
    box.address, box.value, box.width = address, value, size
    rig.run(errand.run, rig.vcpu, box, order)
    return int(box.result)


@pytest.mark.parametrize("register", WRITABLE, ids=lambda register: register.name)
def test_a_register_of_vel1_is_hardwares(register: type[sr.Register]) -> None:
    rig = fresh_rig()
    rig.vcpu.context = CONTEXT_VEL1
    assert done(rig, Order.WRITE, register.trap_key, 0x1230) == 1
    assert rig[register] == 0x1230


def test_a_register_of_vel2_is_written_by_its_record() -> None:
    rig = fresh_rig()
    rig.become("nvhe-nv")
    assert done(rig, Order.WRITE, sr.VTTBR_EL2.trap_key, 0x4567_0000) == 1
    assert rig.slot(sr.VTTBR_EL2) == 0x4567_0000
    # With E2H=0 hardware's SCTLR_EL1 is a translation of L1's SCTLR_EL2 (`translate`).
    assert done(rig, Order.WRITE, sr.SCTLR_EL2.trap_key, sr.SCTLR_EL2.M.mask) == 1
    assert rig[sr.SCTLR_EL1] & sr.SCTLR_EL1.M.mask


@pytest.mark.parametrize("register", [sr.HCR_EL2, sr.VTTBR_EL2, sr.VBAR_EL2, sr.CNTVOFF_EL2])
def test_l0s_own_registers_are_nobodys(register: type[sr.Register]) -> None:
    """While vEL1 runs a name of EL2 is hardware's own, which L0 has in its hand."""
    rig = fresh_rig()
    rig.vcpu.context = CONTEXT_VEL1
    rig[register] = 0x10
    assert done(rig, Order.WRITE, register.trap_key, 0x1230) == 0
    assert rig[register] == 0x10


@pytest.mark.parametrize("size", [1, 4, 8])
def test_a_store_is_as_wide_as_it_is_asked_for(size: int) -> None:
    rig = fresh_rig()
    with rig.sim:
        there = address_of(rig.vcpu.walk)
    rig.vcpu.walk.fsc = 0xFFFF_FFFF_FFFF_FFFF
    value = 0x1122_3344_5566_7788
    assert done(rig, Order.STORE, there, value, size) == 1
    mask = (1 << 8 * size) - 1
    assert rig.vcpu.walk.fsc == value & mask | ~mask & 0xFFFF_FFFF_FFFF_FFFF
