"""`vel2 explain`: its three forms, and what it refuses."""

from __future__ import annotations

import re

import pytest

from tests.unit.cli.test_main import invoke


def test_a_register_with_a_value() -> None:
    lines = invoke("explain", "hcr_el2", "0x2000").stdout.splitlines()
    assert lines[0] == "HCR_EL2 = 0x2000"
    assert "         traps WFI, WFIT" in lines


def test_a_syndrome_register_is_explained_as_one() -> None:
    assert "HVC #0x0" in invoke("explain", "ESR_EL2", "0x5a000000").stdout
    assert invoke("explain", "esr", "1509949440").stdout.startswith("ESR = 0x5a000000: HVC #0x0")


def test_an_instruction() -> None:
    assert "MSR HCR_EL2, x3" in invoke("explain", "insn", "0xd51c1103").stdout


def test_all_names() -> None:
    some = invoke("explain", "HCR_EL2", "0x2000000").stdout
    assert re.search(r"traps accesses of TLBI VMALLE1 .* and \d+ more", some)
    assert "more" not in invoke("explain", "HCR_EL2", "0x2000000", "--all").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("insn",), "`vel2 explain insn` needs a value, such as 0x5a000000."),
        (("HCR_EL2", "12z"), "'12z' is no value; give a number, hexadecimal with 0x."),
        (("insn", "-1"), "No such option"),
    ],
)
def test_refusals(arguments: tuple[str, ...], sentence: str) -> None:
    result = invoke("explain", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
