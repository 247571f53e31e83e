"""The exception table of EL2: an abort is L0's own bug everywhere but where it is expected."""

from __future__ import annotations

import pytest

from vel2.check.payloads import build_payload, run_at_virtual_el2
from vel2.control.vm import Vm
from vel2.hyp.outcome import Fatal

pytestmark = pytest.mark.qemu

LDR_X0_X0 = 0xF940_0000
BRK = 0xD420_0000
EC_SHIFT, DABT_SAME, BRK64 = 26, 0x25, 0x3C


@pytest.mark.parametrize(
    ("offset", "instruction", "ec"),
    [(0, BRK, BRK64), (4, LDR_X0_X0, DABT_SAME), (8, LDR_X0_X0, DABT_SAME)],
    ids=["another-exception", "second-instruction", "third-instruction"],
)
def test_an_exception_that_is_not_expected_stops_l0(offset: int, instruction: int, ec: int) -> None:
    """Show that L0 stops and says where, when another instruction of a stub of AT is at fault.

    The payload translates an address of the upper half, which EL2 does not have.
    """
    place: list[int] = []
    stops: list[tuple[int, int, int, int]] = []

    def break_stub(vm: Vm) -> None:
        place.append(vm.image.symbols["try_at_s1e1r"] + offset)
        vm.memory.write(place[0], instruction.to_bytes(4, "little"))

    def examine(vm: Vm) -> None:
        ended = vm.state.post_mortem
        stops.append(
            (ended.fatal_code, ended.fatal_detail, ended.fatal_elr, ended.fatal_esr >> EC_SHIFT)
        )

    run_at_virtual_el2(build_payload("survival"), prepare=break_stub, examine=examine)
    assert stops == [(Fatal.VECTOR_SAME_EL, 4, place[0], ec)]
