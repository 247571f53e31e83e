"""Explain one operation of L2 step by step, from its profile.

A step is what one party did until another took its turn: L2; L0, when who runs changes; or L1,
together with the traps that L0 answered for it before it went on. Steps have kinds. The text about
each kind is written here; all figures come from the run.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vel2.arch import sysregs as sr
from vel2.arch.nesting import Kind, Level
from vel2.arch.vncr import VNCR_PAGE
from vel2.bench.configuration import Configuration
from vel2.bench.profile import Profile, Run, trap_kind
from vel2.hyp.homes import CONTEXT_MEMORY, SWITCHED

__all__ = ("KINDS", "Answer", "Step", "StepKind", "steps_of", "why_it_traps")


@dataclass(frozen=True)
class StepKind:
    """A kind of step: its title and what it means."""

    title: str
    text: str


L2_RUNS = StepKind("L2 runs", "L2's own instructions, the reading of the counter included.")
EXIT = StepKind(
    "L0 takes L2's exit to L1",
    "L1 asked for this trap by its own controls, so L1 gets it as hardware would have delivered "
    "it. L0 reads vEL1's registers, its timers and its list registers back to where L1 looks for "
    "them, loads vEL2's registers, the canonical stage 2 and the controls of vEL2, sets ELR, SPSR "
    "and the syndrome, and returns to L1's vector.",
)
ENTER = StepKind(
    "L0 enters vEL1 for L1",
    "Every ERET of vEL2 traps (HCR_EL2.NV). L1's SPSR_EL2 asks for EL1, so the context changes: "
    "L0 reads vEL2's registers into the context, loads vEL1's, the controls of L0 and L1 "
    "together, L1's timers and list registers for its guest, selects the shadow stage 2, and "
    "returns to where L1's ELR_EL2 points.",
)
CALL = StepKind(
    "L0 takes a call of L1's kernel to its part at vEL2",
    "An L1 without VHE runs most of itself at EL1. An HVC there is meant for its vEL2: the "
    "context changes as it does at an exit of L2.",
)
INTERRUPT = StepKind(
    "L0 gives an interrupt to L1",
    "Physical interrupts are L1's. While vEL1 runs they trap, when L1's controls ask for it; L0 "
    "changes the context and enters L1's interrupt vector, where L1 acknowledges it itself.",
)
LOCAL = StepKind(
    "L0 answers a trap of vEL1 itself",
    "Nothing that L1 has to know of: L0 answers, and vEL1 goes on.",
)
L1_RUNS = StepKind(
    "L1 runs",
    "L1's own instructions. What traps on the way is answered by L0, which may execute some of "
    "L1's next instructions itself when more of them would trap (`hyp.ahead`), and L1 goes on.",
)
OTHER = StepKind("L0 handles a trap", "L0 handles it and decides who runs next.")

KINDS = (L2_RUNS, EXIT, ENTER, CALL, INTERRUPT, LOCAL, L1_RUNS, OTHER)


@dataclass
class Answer:
    """Traps of one kind within a step of L1.

    :ivar each: L0's instructions for each of them.
    """

    kind: str
    each: list[int] = field(default_factory=list)


@dataclass
class Step:
    """What one party did.

    :ivar who: whose turn it was: that of the first run.
    :ivar trap: the kind of trap that L0 was entered by; empty when it is not L0's turn.
    """

    kind: StepKind
    who: str
    trap: str
    syndrome: int | None
    runs: list[Run]

    def instructions(self, of_l0: bool) -> int:
        """Count the instructions of L0, or of the others."""
        return sum(len(run.pcs) for run in self.runs if (run.who == "L0") == of_l0)

    @property
    def answers(self) -> list[Answer]:
        """List the traps to L0 within a step of L1, by kind, most instructions first."""
        found: dict[str, Answer] = {}
        for run in self.runs:
            if run.who == "L0" and self.who != "L0":
                name = trap_kind(run.taken)
                found.setdefault(name, Answer(name)).each.append(len(run.pcs))
        return sorted(found.values(), key=lambda answer: -sum(answer.each))

    @property
    def functions(self) -> Counter[str]:
        """Count the instructions of whose turn it is, by function."""
        counted: Counter[str] = Counter()
        for run in self.runs:
            if run.who == self.who:
                counted.update(run.functions)
        return counted

    @property
    def functions_of_answers(self) -> Counter[str]:
        """Count L0's instructions within a step of L1, by function."""
        counted: Counter[str] = Counter()
        for run in self.runs:
            if run.who != self.who:
                counted.update(run.functions)
        return counted

    @property
    def traps(self) -> int:
        """How often L0 was entered."""
        return sum(run.who == "L0" for run in self.runs)

    @property
    def system(self) -> Counter[str]:
        """Count what L0 does to the system in its turn."""
        counted: Counter[str] = Counter()
        if self.who == "L0":
            for run in self.runs:
                counted.update(run.system)
        return counted


def steps_of(profile: Profile) -> list[Step]:
    """Put the runs of a profile together to steps."""
    return list(make_steps(profile.runs))


def make_steps(runs: Sequence[Run]) -> Iterator[Step]:
    """Put runs together: a trap that goes back to the L1 it came from belongs to L1's step."""
    current: Step | None = None
    for index, run in enumerate(runs):
        before = runs[index - 1].who if index else ""
        after = runs[index + 1].who if index + 1 < len(runs) else ""
        inside = run.who == "L0" and before == after and before.startswith("L1")
        if current is not None and (inside or run.who == current.who):
            current.runs.append(run)
            continue
        if current is not None:
            yield current
        syndrome = None if run.taken is None else run.taken.esr
        trap = trap_kind(run.taken) if run.who == "L0" else ""
        current = Step(kind_of(run, before, after, trap), run.who, trap, syndrome, [run])
    if current is not None:
        yield current


def kind_of(run: Run, before: str, after: str, trap: str) -> StepKind:
    """Say what kind of step begins with a run, from who ran before and who runs after it."""
    if run.who == "L2":
        return L2_RUNS
    if run.who != "L0":
        return L1_RUNS
    to_vel2 = after == "L1 vEL2"
    if run.taken is not None and run.taken.esr is None and to_vel2:
        return INTERRUPT
    if before == "L2" and after == "L2":
        return LOCAL
    if before == "L2" and to_vel2:
        return EXIT
    if before == "L1 vEL1" and to_vel2:
        return CALL
    if trap == "ERET" and after in ("L2", "L1 vEL1", "L1 EL0"):
        return ENTER
    return OTHER


def why_it_traps(kind: str, configuration: Configuration) -> str:
    """Say why an access of vEL2 traps, from the register home table."""
    verb, _, name = kind.partition(" ")
    if verb in ("TLBI", "AT"):
        return "vEL2's maintenance is about shadow state: HCR_EL2.AT and TTLB"
    if verb not in ("MRS", "MSR"):
        return ""
    if name.startswith("ID_") or name in ("CTR_EL0", "MIDR_EL1"):
        return "HCR_EL2.TID3: L1 reads the features that L0 offers"
    if configuration.nv is Level.NV:
        return why_without_nv2(name)
    for row in SWITCHED:
        is_carried = configuration.el2 is Kind.NVHE and not row.common_nvhe
        if name == row.vel2.name and is_carried:
            return f"hardware's {row.hardware.name} carries it, and NV2 does not redirect the name"
    if any(register.name == name for register in CONTEXT_MEMORY):
        return "no slot in the VNCR page: L0 keeps it in the context"
    if name.startswith(("ICC_", "ICH_")):
        return "a register of the GIC's EL2 without a slot in the VNCR page"
    if name.startswith("CNT"):
        return "a timer of vEL2: hardware's hypervisor timer stands for it"
    return "FEAT_NV2 gives it neither a slot nor another register"


def why_without_nv2(name: str) -> str:
    """Say why an access traps with FEAT_NV alone."""
    if name.endswith("_EL1") and name != sr.SP_EL1.name:
        return "HCR_EL2.NV1, TVM, TRVM: at this vEL2 the name is vEL1's, which is in the page"
    if any(name in (row.plain, row.el12) for row in VNCR_PAGE):
        return "FEAT_NV traps it; its value is in the page, which NV2 would have read"
    for row in SWITCHED:
        if name == row.vel2.name:
            return f"FEAT_NV traps it; hardware's {row.hardware.name} carries it"
    return "FEAT_NV traps every EL2 register"
