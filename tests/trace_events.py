"""A trace made by hand: two exits of L2 with all that belongs to them, its times known."""

from __future__ import annotations

from pathlib import Path

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ISS_SYS64, ESR_ELx
from vel2.trace.recording import About, End, Recorder
from vel2.trace.schema import Event, Flag, Kind, Place, Result, Vector

L1, L2, USER = Place.L1_EL2, Place.L2_EL1, Place.L2_EL0
VTTBR = sr.VTTBR_EL2.compose(VMID=5)
L1_PC, L2_PC = 0xFFFF_8000_0000_1000, 0xFFFF_C000_0000_2000


def esr(ec: EC, iss: int = 0) -> int:
    return ESR_ELx.compose(EC=ec, IL=1, ISS=iss)


def access(register: type, is_read: bool) -> int:
    e = register.encoding  # type: ignore[attr-defined]
    iss = ISS_SYS64.compose(
        Op0=e.op0, Op1=e.op1, CRn=e.CRn, CRm=e.CRm, Op2=e.op2, Rt=3, Direction=int(is_read)
    )
    return esr(EC.SYS64, iss)


def trap(
    began: int, ended: int, source: Place, target: Place, syndrome: int, result: Result, **more: int
) -> Event:
    pc = L1_PC if source == L1 else L2_PC
    given = {"pc": pc, "vttbr": VTTBR} | more
    return Event(
        kind=Kind.TRAP,
        source=source,
        target=target,
        began=began,
        ended=ended,
        esr=syndrome,
        result=result,
        **given,
    )


WRITE = {"flags": Flag.HAS_VALUE, "value": 0x80}
FILL = Event(
    kind=Kind.FILL,
    source=L2,
    began=4000,
    ended=4000,
    ipa=0x9000,
    value=0x4567000,
    detail=3,
    vttbr=VTTBR,
)
EVENTS = [
    trap(1000, 1100, L1, L1, access(sr.HCR_EL2, False), Result.HANDLED, **WRITE),
    trap(2000, 2050, L1, L2, esr(EC.ERET), Result.RETURNED),
    Event(kind=Kind.SWITCH, source=L1, target=L2, began=2000, ended=2050, vttbr=VTTBR),
    trap(3000, 3020, L2, L1, esr(EC.HVC64), Result.FORWARDED),
    trap(3200, 3230, L1, L1, access(sr.HCR_EL2, True), Result.HANDLED, value=0x80, flags=12),
    trap(3500, 3560, L1, L2, esr(EC.ERET), Result.RETURNED),
    FILL,
    trap(4000, 4040, USER, USER, esr(EC.DABT_LOWER), Result.RESUMED, ipa=0x9000, flags=2),
    trap(5000, 5010, USER, L1, 0, Result.FORWARDED, vector=Vector.IRQ),
    Event(kind=Kind.ERET, source=L1, target=L1, began=5400, ended=5405, pc=L1_PC, vttbr=VTTBR),
]
"""In ticks of 1 MHz. The second exit does not end."""


def numbered(events: list[Event]) -> list[bytes]:
    found = []
    for number, event in enumerate(events):
        values = {name: getattr(event, name) for name in event.__slots__}
        found.append(Event(**values | {"sequence": number}).encode())
    return found


def write_trace(
    path: Path,
    events: list[Event] | None = None,
    *,
    end: End | None = None,
    kernels: dict[str, str] | None = None,
) -> Path:
    """Write it."""
    with path.open("wb") as file:
        recorder = Recorder(file, About(1_000_000, 1, kernels or {}))
        recorder.write(b"".join(numbered(EVENTS if events is None else events)))
        recorder.end(End((0,)) if end is None else end)
    return path


class NoNames:
    """No kernel is known."""

    def function(self, place: int, pc: int) -> str:
        return ""

    def symbol(self, place: int, pc: int) -> str:
        return ""


class TwoNames(NoNames):
    """One function for each level."""

    def function(self, place: int, pc: int) -> str:
        return {L1_PC: "kvm_vcpu_run", L2_PC: "do_idle"}.get(pc, "")

    def symbol(self, place: int, pc: int) -> str:
        found = self.function(place, pc)
        return f"{found}+0x4" if found else ""
