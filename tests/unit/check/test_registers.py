"""The payload `registers` leaves nothing of the register home table out without a reason."""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.check.payloads.registers.code import GUEST, LEFT_OUT, OWN, PAIRS, TIMER_VALUES
from vel2.hyp.homes import CONTEXT_MEMORY, HYP_TIMERS, IN_PAGE, SWITCHED


def base(register: type[Register]) -> str:
    """Name the register that an alias stands for."""
    return register.alias_of or register.name


WRITTEN = {base(row.register) for row in (*OWN, *GUEST, *TIMER_VALUES)}
HOMES = {
    *(row.hardware.name for row in SWITCHED),
    *(row.vel2.name for row in SWITCHED),
    *(row.register.name for row in CONTEXT_MEMORY),
    *(row.home.name for row in HYP_TIMERS),
    *(base(row.name) for row in IN_PAGE),
}


def test_every_register_is_written_or_left_out() -> None:
    assert HOMES - WRITTEN - set(LEFT_OUT) == set()


def test_what_is_left_out_is_not_written() -> None:
    assert not WRITTEN & set(LEFT_OUT)


def test_names_of_e2h_mean_the_timers_of_the_table() -> None:
    """Each name that E2H=1 turns into a timer of EL2 is held to be that one."""
    for row in HYP_TIMERS:
        if row.e2h_only and "TVAL" not in row.name.name:
            pair = next(pair for pair in PAIRS if pair.plain.register is row.name)
            assert pair.own.register is row.home


def test_written_bits_exist() -> None:
    for row in (*OWN, *GUEST):
        assert row.bits & ~(row.register.known | sr.HPFAR_EL2.FIPA.mask) == 0, row.register.name
