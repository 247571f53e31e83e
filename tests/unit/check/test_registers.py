"""The payload `registers` leaves nothing of the register home table out without a reason."""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.vncr import VNCR_PAGE
from vel2.check.payloads.registers.code import GUEST, LEFT_OUT, OWN, PAIRS, TIMER_VALUES
from vel2.hyp import constant
from vel2.hyp.el2regs import TABLE
from vel2.hyp.homes import SWITCHED


def base(register: type[Register]) -> str:
    """Name the register that an alias stands for."""
    return register.alias_of or register.name


WRITTEN = {base(row.register) for row in (*OWN, *GUEST, *TIMER_VALUES)}
CHANGEABLE = {
    record
    for record in TABLE
    for home in (record.with_e2h, record.without_e2h)
    if home is not None and home.write not in (None, constant.ignore)
}
HOMES = {
    *(row.hardware.name for row in SWITCHED),
    *(base(record.name) for record in CHANGEABLE),
    *(row.name for row in VNCR_PAGE),
}


def test_every_register_is_written_or_left_out() -> None:
    assert HOMES - WRITTEN - set(LEFT_OUT) == set()


def test_what_is_left_out_is_not_written() -> None:
    assert not WRITTEN & set(LEFT_OUT)


def test_names_of_e2h_mean_the_timers_of_the_table() -> None:
    """Each name that E2H=1 turns into a timer of EL2 is held to be that one."""
    timers = {record.name: record for record in TABLE if record.name.name.startswith("CNT")}
    pairs = [pair for pair in PAIRS if pair.plain.register in timers]
    assert len(pairs) >= 4
    for pair in pairs:
        record = timers[pair.plain.register]
        assert record.with_e2h == timers[pair.own.register].with_e2h != record.without_e2h


def test_written_bits_exist() -> None:
    for row in (*OWN, *GUEST):
        assert row.bits & ~(row.register.known | sr.HPFAR_EL2.FIPA.mask) == 0, row.register.name
