"""A trap that a hook is asked about, and the answers that there are.

The vCPU stands in L0, as it trapped: nothing has been done for it. `HookedTrap.vcpu` shows and
changes it, like one of a paused machine. An answer is made by one of the trap's methods, which
refuses what cannot be; the vCPU gets it when the hook returns it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from vel2.arch.a64 import ZR
from vel2.arch.esr import (
    EC,
    EC_ROWS,
    FSC,
    ISS_DABT,
    ISS_SERROR,
    ISS_SYS64,
    ESR_ELx,
)
from vel2.arch.pstate import PSTATE_EL, SPSR_ELx
from vel2.arch.sysregs import ESR_EL2, HCR_EL2, HPFAR_EL2
from vel2.control.counters import trap_name
from vel2.errors import UserError
from vel2.explain.syndrome import summary_of_esr
from vel2.hyp.answer import UNDEFINED_SYNDROME
from vel2.hyp.hcr import HCR_SLOT
from vel2.hyp.layout import PAGE_MASK, PAGE_SHIFT
from vel2.hyp.mailbox import Order
from vel2.hyp.records import FIQ, IRQ, SERROR, SYNC, TO_RUNNING_EL1, TO_VEL2
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2
from vel2.hyp.state import Vcpu as State
from vel2.hyp.syndrome import key_of
from vel2.inspect.mailbox import HPFAR, WORD, Box, Raised
from vel2.inspect.value import Value

if TYPE_CHECKING:
    from vel2.inspect.vcpu import Vcpu

__all__ = ("OWN", "PC", "PSTATE", "TRAP_ESR", "TRAP_FAR", "Answer", "HookedTrap", "X")


def place(path: str) -> int:
    """Give the number of a word of L0's `Vcpu`."""
    return State.offset_of(path) // WORD


X, PC, PSTATE = place("x"), place("pc"), place("pstate")
TRAP_KIND, TRAP_CONTEXT = place("trap.kind"), place("trap.context")
TRAP_ESR, TRAP_FAR = place("trap.esr"), place("trap.far")
KINDS = {SYNC: "sync", IRQ: "irq", FIQ: "fiq", SERROR: "serror"}
LEVELS = {CONTEXT_VEL2: "vel2", CONTEXT_VEL1: "vel1"}
GONE_PAST = (EC.HVC64, EC.SVC64)
"""Classes whose preferred return is the instruction behind."""
ABORTS = (EC.DABT_LOWER, EC.IABT_LOWER)
IPA_IS_VALID = (FSC.TRANSLATION, FSC.ACCESS_FLAG, FSC.ADDRESS_SIZE)
FSC_TYPE = 0b11_1100
WIDTH = 64


@dataclass(frozen=True)
class Answer:
    """What is to become of a trap. The methods of `HookedTrap` make them.

    :ivar reads: a general register that the instruction has written, and its value.
    """

    order: Order
    reads: tuple[int, int] | None = None
    raised: Raised | None = None


OWN = Answer(Order.OWN)


class HookedTrap:
    """One trap, before L0 has done anything about it.

    :ivar vcpu: whose it is; all of it can be looked at and changed. :ivar kind: `sync`, `irq`,
        `fiq` or `serror`. :ivar level: who trapped, `vel2` or `vel1`.
    """

    def __init__(self, vcpu: Vcpu, box: Box) -> None:
        self._box = box
        self._state = box.state
        self._vcpu = vcpu
        self._kind = int(box.state[TRAP_KIND])
        self._context = int(box.state[TRAP_CONTEXT])
        self._esr = int(box.state[TRAP_ESR])

    # What it is.

    @cached_property
    def vcpu(self) -> Vcpu:
        """The vCPU that waits for the answer."""
        self._vcpu.changed()
        return self._vcpu

    @property
    def kind(self) -> str:
        """Give `sync`, `irq`, `fiq` or `serror`."""
        return KINDS[self._kind]

    @property
    def level(self) -> str:
        """Who trapped: `vel2` or `vel1`."""
        return LEVELS[self._context]

    @property
    def context(self) -> int:
        """The same, as L0 has it."""
        return self._context

    @property
    def kind_of_vector(self) -> int:
        """`kind`, as L0 has it."""
        return self._kind

    @property
    def esr(self) -> Value:
        """ESR_EL2; 0 of an interrupt."""
        return Value(ESR_EL2, self._esr)

    @property
    def ec(self) -> int | None:
        """The exception class (`vel2.EC`); None of an interrupt."""
        return ESR_ELx.EC.get(self._esr) if self._kind == SYNC else None

    @property
    def pc(self) -> int:
        """ELR_EL2: the instruction, or the one behind it where the architecture says so (HVC)."""
        return int(self._state[PC])

    @property
    def far(self) -> int:
        """FAR_EL2; UNKNOWN but for the classes that have it."""
        return int(self._state[TRAP_FAR])

    @property
    def ipa(self) -> int | None:
        """The physical address, as the level sees them, of an abort that stage 2 made; or None."""
        if self.ec not in ABORTS or self._esr & FSC_TYPE not in IPA_IS_VALID:
            return None
        page = HPFAR_EL2.FIPA.get(int(self._box.words[HPFAR])) << PAGE_SHIFT
        return page if ISS_DABT.S1PTW.get(self._esr) else page | self.far & PAGE_MASK

    @property
    def sysreg(self) -> str | None:
        """The system register or instruction that was named, or None."""
        return trap_name(self.key) if self.ec == EC.SYS64 else None

    @property
    def key(self) -> int:
        """The trap key of that."""
        return int(key_of(self._esr))

    @property
    def is_read(self) -> bool:
        """Whether it reads: an MRS, or a load."""
        if self.ec == EC.SYS64:
            return ISS_SYS64.Direction.get(self._esr) == 1
        return self.ec == EC.DABT_LOWER and ISS_DABT.WnR.get(self._esr) == 0

    @property
    def size(self) -> int | None:
        """How many bytes a load or store is of; None if the syndrome does not say (ISV)."""
        if self.ec != EC.DABT_LOWER or not ISS_DABT.ISV.get(self._esr):
            return None
        return 1 << ISS_DABT.SAS.get(self._esr)

    @property
    def register(self) -> int | None:
        """The general register that is read or written, 31 for XZR; None if there is none known."""
        if self.ec == EC.SYS64:
            return ISS_SYS64.Rt.get(self._esr)
        return None if self.size is None else ISS_DABT.SRT.get(self._esr)

    @property
    def value(self) -> int | None:
        """What is written, by an MSR or a store; None of anything else."""
        if self.register is None or self.is_read:
            return None
        value = 0 if self.register == ZR else int(self._state[X + self.register])
        return value if self.size is None else value & (1 << 8 * self.size) - 1

    def __str__(self) -> str:
        what = summary_of_esr(self._esr) if self._kind == SYNC else self.kind
        return f"vCPU {self._box.cpu} at {self.level}, pc {self.pc:#x}: {what}"

    def pend(self, intid: int) -> None:
        """Make an interrupt of the machine's pending, as a device would: an SPI, or one of its own.

        Whether it is taken, and by whom, is the GIC's affair, which L1 has programmed. This is no
        answer: what becomes of the trap is another question.

        :raises UserError: for an INTID that is no SGI, PPI or SPI.
        """
        self._vcpu.machine.hooks.pend(self._box, intid)

    # Answers.

    def resume(self) -> Answer:
        """Run on at `vcpu.pc`: unless that was changed, at the instruction that trapped.

        Behind an HVC it is the next one.
        """
        return Answer(Order.RESUME)

    def skip(self) -> Answer:
        """Run on behind the instruction, as if it had done nothing.

        :raises UserError: when no instruction trapped.
        """
        self._require_instruction("skipped")
        return Answer(Order.RESUME if self.ec in GONE_PAST else Order.SKIP)

    def reads(self, value: int) -> Answer:
        """Let the MRS or load have read a value, and run on behind it.

        :raises UserError: when the trap reads nothing, or the value does not fit.
        """
        register = self.register
        if not self.is_read or register is None:
            raise UserError(f"{self} reads nothing, so it cannot be answered with {value:#x}.")
        width = WIDTH if self.size is None else 8 * self.size
        if not 0 <= value < 1 << width:
            raise UserError(f"{value:#x} is no value of {width} bits, which {self} reads.")
        if self.size is not None:
            value = self._extended(value, width)
        return Answer(Order.SKIP, None if register == ZR else (register, value))

    def _extended(self, value: int, width: int) -> int:
        """Extend what was loaded to the register's width, as ISS.SSE and SF say."""
        if ISS_DABT.SSE.get(self._esr) and value >> width - 1:
            value |= (1 << WIDTH) - (1 << width)
        return value & ((1 << WIDTH) - 1 if ISS_DABT.SF.get(self._esr) else (1 << WIDTH // 2) - 1)

    def forward(self) -> Answer:
        """Give the trap to vEL2, with the syndrome that hardware gave, whatever L1 has asked for.

        :raises UserError: when vEL2 itself trapped: what is its own and what L0's, L0 decides.
        """
        if self._context != CONTEXT_VEL1:
            raise UserError(
                f"{self} cannot be forwarded: L1 itself runs; inject an exception, or return"
                " nothing, and L0 does what is right."
            )
        has_far = self._kind == SYNC and EC_ROWS[ESR_ELx.EC.get(self._esr)].far
        raised = Raised(
            *(TO_VEL2, self._kind, self._esr),
            self.far if has_far else None,
            self.ipa,
        )
        return Answer(Order.EXCEPTION, None, raised)

    def inject(
        self,
        what: str | int,
        level: str | None = None,
        *,
        far: int | None = None,
        ipa: int | None = None,
        iss: int | None = None,
    ) -> Answer:
        """Have the vCPU take an exception in place of what trapped.

        :param what: `undefined`, `abort` (a synchronous External abort of a load or store),
            `serror`, or a whole ESR_ELx.
        :param level: who takes it, `vel2`, or `l2` (also `vel1`). Unless given, the EL1 that runs;
            an SError goes where L1's HCR_EL2.AMO says.
        :param far: FAR_ELx, of an abort the address that trapped unless given.
        :param ipa: HPFAR_EL2's, of a stage-2 fault for vEL2.
        :param iss: other bits of the syndrome than those.
        :raises UserError: when that level cannot take it now.
        """
        target = self._target(what, level)
        if what == "serror":
            self._require_unmasked(target)
            syndrome = _esr(EC.SERROR, ISS_SERROR.IDS.mask if iss is None else iss)
            return Answer(Order.EXCEPTION, None, Raised(target, SERROR, syndrome))
        if what == "undefined":
            raised = Raised(target, SYNC, UNDEFINED_SYNDROME | (iss or 0))
        elif what == "abort":
            address = self.far if far is None else far
            status = int(FSC.SYNC_EXTERNAL) if iss is None else iss
            raised = Raised(target, SYNC, _esr(self._abort_class(target), status), address)
        elif isinstance(what, int) and 0 <= what < 1 << WIDTH:
            raised = Raised(target, SYNC, what, far, ipa)
        else:
            raise UserError(
                f"{what!r} cannot be injected; give 'undefined', 'abort', 'serror' or an ESR_ELx."
            )
        if ipa is not None and (far is None or target != TO_VEL2):
            raise UserError("ipa= is of a stage-2 fault, which vEL2 takes and which has a far=.")
        return Answer(Order.UNDO if self.ec in GONE_PAST else Order.EXCEPTION, None, raised)

    def _target(self, what: str | int, level: str | None) -> int:
        """Give who takes an exception.

        :raises UserError: when there is no such level now.
        """
        wanted = self._vcpu.named(level) if level is not None else self._context
        if wanted == CONTEXT_VEL1 and self._context == CONTEXT_VEL2:
            raise UserError(
                f"vCPU {self._box.cpu} runs L1, so there is nobody at {level} to take an"
                " exception; inject it at a trap of L2's, or for vel2."
            )
        if level is None and what == "serror" and self._l1_hcr & HCR_EL2.AMO.mask:
            return TO_VEL2
        # In the hyp context hardware's EL1 is vEL2.
        is_vel2 = wanted == CONTEXT_VEL2 and self._context == CONTEXT_VEL1
        return TO_VEL2 if is_vel2 else TO_RUNNING_EL1

    @property
    def _l1_hcr(self) -> int:
        return int(self._vcpu.page_of(self._vcpu.state).slot[HCR_SLOT])

    def _require_unmasked(self, target: int) -> None:
        """Refuse an SError that would stay pending, which none of L0's does."""
        is_higher = self._context == CONTEXT_VEL1 and target == TO_VEL2
        if is_higher and not self._l1_hcr & (HCR_EL2.AMO.mask | HCR_EL2.TGE.mask):
            raise UserError("L1 takes no SErrors of L2's (HCR_EL2.AMO=0); inject it for l2.")
        if not is_higher and SPSR_ELx.A.get(int(self._state[PSTATE])):
            raise UserError(
                f"{self}: SErrors are masked there (PSTATE.A); inject it at a trap where they are"
                " not."
            )

    def _abort_class(self, target: int) -> EC:
        """Give the class of a Data Abort from where the vCPU is to a target."""
        is_el0 = int(self._state[PSTATE]) & PSTATE_EL == 0
        is_higher = target == TO_VEL2 and self._context == CONTEXT_VEL1
        return EC.DABT_LOWER if is_el0 or is_higher else EC.DABT_SAME

    def _require_instruction(self, done: str) -> None:
        if self._kind != SYNC:
            raise UserError(f"{self} is no instruction's, and nothing can be {done}.")


def _esr(ec: EC, iss: int) -> int:
    return ESR_ELx.compose(EC=ec, IL=1) | iss & ESR_ELx.ISS.mask
