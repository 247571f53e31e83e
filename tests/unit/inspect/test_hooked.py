"""What a trap says of itself to a hook, and which answers it takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, FSC, ISS_DABT, ISS_HVC, ISS_SYS64, ESR_ELx
from vel2.arch.pstate import M_EL1h, SPSR_ELx
from vel2.errors import UserError
from vel2.hyp.hcr import HCR_SLOT
from vel2.hyp.mailbox import Mailbox, Order
from vel2.hyp.records import IRQ, SERROR, SYNC, TO_RUNNING_EL1, TO_VEL2
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu, VncrPage
from vel2.inspect.hookable import context_of
from vel2.inspect.hooked import HookedTrap
from vel2.inspect.mailbox import Box

FAR, IPA = 0xFFFF_8000_0000_0123, 0xB00_0123
PC = 0xFFFF_8000_1234_5670


class Fake:
    """A vCPU and its mailbox without a machine."""

    def __init__(self, ec: EC, iss: int, *, context: int = CONTEXT_VEL1, kind: int = SYNC) -> None:
        self.state, self.mailbox, self.page = Vcpu(), Mailbox(), VncrPage()
        trap = self.state.trap
        trap.kind, trap.context, trap.far = kind, context, FAR
        trap.esr = ESR_ELx.compose(EC=ec, IL=1) | iss if kind != IRQ else 0
        self.state.pc, self.state.pstate = PC, M_EL1h
        self.mailbox.hpfar = sr.HPFAR_EL2.FIPA.put(IPA >> 12)

    def trap(self) -> HookedTrap:
        """Give the trap."""
        words: Any = SimpleNamespace(
            cpu=0,
            state=self.state._views[3],
            words=self.mailbox._views[3],
        )
        box: Box = words
        vcpu: Any = SimpleNamespace(
            named=context_of, page_of=lambda state: self.page, state=self.state, index=0
        )
        return HookedTrap(vcpu, box)


def access(register: type[sr.Register], *, is_read: bool, rt: int = 3) -> Fake:
    """Give the trap of an MRS or MSR."""
    e = register.encoding
    named = {"Op0": e.op0, "Op1": e.op1, "Op2": e.op2, "CRn": e.CRn, "CRm": e.CRm}
    return Fake(EC.SYS64, ISS_SYS64.compose(**named, Rt=rt, Direction=int(is_read)))


def data_abort(**fields: int) -> Fake:
    """Give the trap of a load or store where nothing is."""
    fields = {"ISV": 1, "SAS": 2, "SRT": 3, "DFSC": FSC.TRANSLATION + 3} | fields
    return Fake(EC.DABT_LOWER, ISS_DABT.compose(**fields))


def test_an_mrs_reads_what_it_is_told() -> None:
    trap = access(sr.CNTHCTL_EL2, is_read=True).trap()
    assert (trap.sysreg, trap.is_read, trap.register, trap.value) == ("CNTHCTL_EL2", True, 3, None)
    answer = trap.reads(1 << 63)
    assert (answer.order, answer.reads) == (Order.SKIP, (3, 1 << 63))
    with pytest.raises(UserError, match="is no value of 64 bits"):
        trap.reads(1 << 64)
    assert access(sr.CNTHCTL_EL2, is_read=True, rt=31).trap().reads(5).reads is None


def test_an_msr_reads_nothing() -> None:
    fake = access(sr.CNTHCTL_EL2, is_read=False)
    fake.state.x[3] = 0x77
    assert fake.trap().value == 0x77
    with pytest.raises(UserError, match="reads nothing, so it cannot be answered with 0x1"):
        fake.trap().reads(1)


# Arm ARM, ISS encoding for a Data Abort: SSE and SF.
@pytest.mark.parametrize(
    ("fields", "given", "loaded"),
    [
        ({"SAS": 0, "SSE": 1, "SF": 1}, 0x80, 0xFFFF_FFFF_FFFF_FF80),
        ({"SAS": 0, "SSE": 1, "SF": 0}, 0x80, 0xFFFF_FF80),
        ({"SAS": 1, "SSE": 0, "SF": 0}, 0x8000, 0x8000),
        ({"SAS": 2, "SSE": 1, "SF": 1}, 0x8000_0000, 0xFFFF_FFFF_8000_0000),
        ({"SAS": 2, "SSE": 1, "SF": 1}, 0x7000_0000, 0x7000_0000),
        ({"SAS": 3, "SSE": 0, "SF": 1}, 1 << 63, 1 << 63),
    ],
)
def test_a_load_is_extended(fields: dict[str, int], given: int, loaded: int) -> None:
    trap = data_abort(**fields).trap()
    assert trap.ipa == IPA
    assert trap.size == 1 << fields["SAS"]
    assert trap.reads(given).reads == (3, loaded)


def test_a_store_has_its_width() -> None:
    fake = data_abort(SAS=1, WnR=1)
    fake.state.x[3] = 0x1234_5678
    trap = fake.trap()
    assert (trap.is_read, trap.size, trap.value) == (False, 2, 0x5678)
    assert trap.skip().order == Order.SKIP


def test_what_the_syndrome_does_not_say_is_unknown() -> None:
    trap = data_abort(ISV=0).trap()
    assert (trap.size, trap.register, trap.value, trap.ipa) == (None, None, None, IPA)
    with pytest.raises(UserError, match="reads nothing"):
        trap.reads(0)
    assert data_abort(DFSC=FSC.PERMISSION + 3).trap().ipa is None
    assert data_abort(S1PTW=1).trap().ipa == IPA & ~0xFFF


def test_a_call_that_is_skipped_goes_on_behind_it() -> None:
    """ELR_EL2 is behind an HVC already, and on any other instruction."""
    trap = Fake(EC.HVC64, ISS_HVC.compose(imm16=1)).trap()
    assert trap.skip().order == Order.RESUME
    assert trap.inject("undefined").order == Order.UNDO
    assert Fake(EC.SMC64, 0).trap().skip().order == Order.SKIP
    with pytest.raises(UserError, match="is no instruction's, and nothing can be skipped"):
        Fake(EC.UNKNOWN, 0, kind=IRQ).trap().skip()


def test_a_trap_is_forwarded_as_hardware_reported_it() -> None:
    raised = data_abort().trap().forward().raised
    assert raised is not None
    assert (raised.target, raised.kind, raised.vaddress, raised.ipaddress) == (
        *(TO_VEL2, SYNC, FAR, IPA),
    )
    raised = Fake(EC.HVC64, 0).trap().forward().raised
    assert raised is not None
    assert (raised.vaddress, raised.ipaddress) == (None, None)
    interrupt = Fake(EC.UNKNOWN, 0, kind=IRQ).trap().forward().raised
    assert interrupt is not None
    assert interrupt.kind == IRQ
    with pytest.raises(UserError, match="cannot be forwarded: L1 itself runs"):
        Fake(EC.SYS64, 0, context=CONTEXT_VEL2).trap().forward()


@pytest.mark.parametrize(
    ("context", "level", "el0", "target", "ec"),
    [
        (CONTEXT_VEL1, None, False, TO_RUNNING_EL1, EC.DABT_SAME),
        (CONTEXT_VEL1, None, True, TO_RUNNING_EL1, EC.DABT_LOWER),
        (CONTEXT_VEL1, "vel2", False, TO_VEL2, EC.DABT_LOWER),
        (CONTEXT_VEL2, None, False, TO_RUNNING_EL1, EC.DABT_SAME),
        (CONTEXT_VEL2, "vel2", True, TO_RUNNING_EL1, EC.DABT_LOWER),
    ],
)
def test_an_abort_says_where_it_came_from(
    context: int, level: str | None, el0: bool, target: int, ec: EC
) -> None:
    fake = Fake(EC.SYS64, 0, context=context)
    fake.state.pstate = 0 if el0 else M_EL1h
    raised = fake.trap().inject("abort", level, far=0x1000).raised
    assert raised is not None
    assert (raised.target, raised.vaddress) == (target, 0x1000)
    assert ESR_ELx.EC.get(raised.syndrome) == ec
    assert ESR_ELx.ISS.get(raised.syndrome) == FSC.SYNC_EXTERNAL


@pytest.mark.parametrize("amo", [False, True])
def test_an_serror_goes_where_l1_has_them(amo: bool) -> None:
    fake = Fake(EC.SYS64, 0)
    fake.page.slot[HCR_SLOT] = sr.HCR_EL2.AMO.mask if amo else 0
    raised = fake.trap().inject("serror", iss=0x11).raised
    assert raised is not None
    assert (raised.kind, raised.target) == (SERROR, TO_VEL2 if amo else TO_RUNNING_EL1)
    assert raised.syndrome == ESR_ELx.compose(EC=EC.SERROR, IL=1) | 0x11
    fake.state.pstate = M_EL1h | SPSR_ELx.A.mask
    if amo:  # PSTATE.A of a lower level does not mask it
        assert fake.trap().inject("serror").raised is not None
    else:
        with pytest.raises(UserError, match="SErrors are masked there"):
            fake.trap().inject("serror")


def test_what_cannot_be_injected_is_refused() -> None:
    with pytest.raises(UserError, match="runs L1, so there is nobody at l2"):
        Fake(EC.SYS64, 0, context=CONTEXT_VEL2).trap().inject("undefined", "l2")
    trap = Fake(EC.SYS64, 0).trap()
    with pytest.raises(UserError, match="'fire' cannot be injected"):
        trap.inject("fire")
    with pytest.raises(UserError, match="L1 takes no SErrors of L2's"):
        trap.inject("serror", "vel2")
    with pytest.raises(UserError, match="ipa= is of a stage-2 fault"):
        trap.inject(0x9200_0046, "vel2", ipa=0x1000)
