"""Probes that may do what no probe may: each is refused with its own sentence, and the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lang.snippets import load
from vel2.hyp.state import Vcpu
from vel2.lang import SubsetError
from vel2.probes.build import OPERATIONS_MAX, compile_probe
from vel2.probes.place import Place

HEADER = """\
from vel2.arch.insn import AT, IC, TLBI
from vel2.arch.sysregs import *
from vel2.hyp.fallible import try_at_s1e1r, try_load_entry
from vel2.hyp.lock import acquire
from vel2.hyp.records import Trap
from vel2.hyp.state import Vcpu, Vm, VncrPage, page_of, vcpu_at, vm_of
from vel2.lang import *
from vel2.probes import *

TABLE = (5, 6, 7, 8)
counts = Counters(8)
by_key = Hash(64)


class Own(Struct):
    words = array(u64, 8)
    last = scalar(u64)


"""
INSIDE = ": show that it is inside, by an if before it or with a mask"
READABLE = "a probe may read the vCPU and its maps"
END = (
    "nothing is known that bounds this loop: a probe must come to its end, so loop over range(...)"
    " of a number that a constant, an if or a mask keeps small"
)
HEAD = "def f(trap: Trap, vcpu: Vcpu) -> None:\n"

# What is wrong -> the body of the probe (its wrong line ends in #!), and the sentence.
BROKEN = {
    "a store to the trap": (
        "trap.pc = 0  #!",
        "this would write the vCPU, which a probe may only read: it may write its maps",
    ),
    "a store to a register of the guest": (
        "vcpu.x[3] = 1  #!",
        "this would write the vCPU, which a probe may only read: it may write its maps",
    ),
    "a store to the Vm": (
        "vm_of(vcpu).config.pool_base = 0  #!",
        "this would write the Vm, which a probe may only read: it may write its maps",
    ),
    "a store to the VNCR page": (
        "page_of(vcpu).slot[3] = 0  #!",
        "this would write the VNCR page, which a probe may only read: it may write its maps",
    ),
    "a store to an address out of a register": (
        "store_u64(PA(vcpu.x[0]), 1)  #!",
        "this would write memory at an address that is only a number: a probe may write its maps",
    ),
    "a store to a constant address": (
        "store_u32(PA(0x09000000), 1)  #!",
        "this would write memory at an address that is only a number: a probe may write its maps",
    ),
    "a load from an address out of a register": (
        "counts.add(load_u64(PA(trap.far)))  #!",
        f"this would read memory at an address that is only a number: {READABLE}",
    ),
    "a structure at an address out of a register": (
        "counts.add(at(Own, vcpu.x[1]).last)  #!",
        f"this would read memory at an address that is only a number: {READABLE}",
    ),
    "an address hidden in arithmetic": (
        "hidden = (address_of(vcpu) ^ 0x8000)\n    counts.add(load_u64(PA(hidden ^ 0x8000)))  #!",
        f"this would read memory at an address that is only a number: {READABLE}",
    ),
    "the vCPU of another pcpu": (
        "counts.add(vcpu_at(vm_of(vcpu), 1).pc)  #!",
        f"this would read memory at an address that is only a number: {READABLE}",
    ),
    "an atomic addition to the vCPU": (
        "fetch_add_u64(PA(address_of(vcpu)), 1)  #!",
        "this would write the vCPU, which a probe may only read: it may write its maps",
    ),
    "a swap at an address out of memory": (
        "swap_u64(PA(vm_of(vcpu).config.pcpus), 0)  #!",
        "this would write memory at an address that is only a number: a probe may write its maps",
    ),
    "an index that nothing bounds": (
        "counts.add(vcpu.x[trap.esr & 63])  #!",
        f"an index of up to 63 may be outside an array of 31{INSIDE}",
    ),
    "an index beyond a table": (
        "counts.add(TABLE[trap.esr & 7])  #!",
        f"an index of up to 7 may be outside an array of 4{INSIDE}",
    ),
    "an address beyond a structure": (
        "far = u64(address_of(vcpu) + (trap.pc & 0xFFFF8))\n    counts.add(load_u64(PA(far)))  #!",
        f"this may read the vCPU, of {Vcpu.size:,} bytes, at up to byte 1,048,568{INSIDE}",
    ),
    "an address that is not aligned": (
        "place = u64(address_of(vcpu) + 4)\n    counts.add(load_u64(PA(place)))  #!",
        "this may read 8 bytes of the vCPU at an address that is no multiple of 8: move by"
        " multiples of 8",
    ),
    "an address below a structure": (
        "counts.add(load_u64(PA(u64(address_of(vcpu) - 8))))  #!",
        f"this may read below the start of the vCPU{INSIDE}",
    ),
    "a system register written": (
        "msr(HCR_EL2, 0)  #!",
        "this writes HCR_EL2: a probe may not write system registers",
    ),
    "a register whose reading has an effect": (
        "counts.add(mrs(ICC_IAR1_EL1) & 7)  #!",
        "ICC_IAR1_EL1 is not among the registers that a probe may read: these are ",
    ),
    "a TLBI": (
        "sysop(TLBI.ALLE1)  #!",
        "this executes TLBI ALLE1: a probe may not execute system instructions",
    ),
    "an AT with an operand": (
        "sysop(AT.S1E1R, trap.far)  #!",
        "this executes AT S1E1R: a probe may not execute system instructions",
    ),
    "a barrier for all the world": (
        "dsb_sy()  #!",
        "this executes dsb sy: a probe may only order its own accesses, with dmb_ish()",
    ),
    "waiting": (
        "wfi()  #!",
        "this executes wfi: a probe may not wait, nor let others wait",
    ),
    "machine code": (
        "counts.add(try_at_s1e1r(trap.far))  #!",
        "try_at_s1e1r() is machine code, which nothing is known of: a probe calls functions of the"
        " subset only",
    ),
    "a lock of L0's": (
        "acquire(vm_of(vcpu).vncr_lock)  #!",
        "this would write the Vm, which a probe may only read: it may write its maps; it is"
        " acquire() at ",
    ),
    "a place of L0's": (
        'counts.add(symbol_address("vectors"))  #!',
        "vectors is a place of L0's: a probe has its maps only",
    ),
    "a loop for ever": (
        "while True:  #!\n        counts.add(1)",
        END,
    ),
    "a loop as long as the guest says": (
        "for i in range(vcpu.x[0]):  #!\n        counts.add(i)",
        "f() may execute ",
    ),
    "a loop that waits": (
        "while mrs(CNTPCT_EL0) < vcpu.x[0]:  #!\n        counts.add(1)",
        END,
    ),
    "a loop whose variable goes both ways": (
        "i = u64(8)\n    while i > 0:  #!\n        if trap.pc == i:\n            i = u64(i + 2)\n"
        "        i = u64(i - 1)",
        END,
    ),
    "a loop that jumps over its end": (
        "i = u64(0)\n    while i != 9:  #!\n        i = u64(i + 2)",
        END,
    ),
    "a loop that may leave its variable alone": (
        "i = u64(0)\n    while i < 9:  #!\n        if trap.pc == i:\n            i = u64(i + 1)",
        END,
    ),
    "a loop that wraps": (
        "i = vcpu.x[0]\n    while i >= 2:  #!\n        i = u64(i - 4)",
        END,
    ),
    "too many turns": (
        "for i in range(1000):\n        for j in range(1000):\n            counts.add(i ^ j)",
        "f() may execute ",
    ),
    "what cannot come to pass, but may": (
        "if trap.pc == 0:\n        unreachable()  #!",
        "control may come to unreachable() here: a probe must do something there",
    ),
    "another kind of method": (
        "counts.read(0)  #!",
        "`counts.read` is for CPython: resident code may call add",
    ),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_broken_probe_is_refused(what: str, tmp_path: Path) -> None:
    body, sentence = BROKEN[what]
    source = HEAD + "    " + body + "\n"
    module = load(tmp_path, source, HEADER)
    with pytest.raises(SubsetError) as caught:
        compile_probe(module.f, Place())
    assert caught.value.sentence.startswith(sentence), caught.value.sentence
    lines = (HEADER + source).splitlines()
    wrong = next((number for number, line in enumerate(lines, 1) if line.endswith("#!")), None)
    if sentence == "f() may execute ":  # it is about the function as a whole
        assert sentence_about_length(caught.value.sentence)
        wrong = HEADER.count("\n") + 1
    assert f"{module.__file__}:{wrong}, in f" in str(caught.value)


def sentence_about_length(sentence: str) -> bool:
    return f"operations, and a probe has {OPERATIONS_MAX:,}: let its loops" in sentence


def test_a_probe_that_calls_itself_is_refused(tmp_path: Path) -> None:
    source = (
        "def g(trap: Trap, n: u64) -> None:\n    if n > 0:\n        g(trap, u64(n - 1))\n"
        + HEAD
        + "    g(trap, 3)\n"
    )
    module = load(tmp_path, source, HEADER)
    with pytest.raises(SubsetError) as caught:
        compile_probe(module.f, Place())
    assert caught.value.sentence == (
        "g() calls itself: a probe must come to its end, so write a loop over range(...)"
    )


def test_calls_that_go_too_deep_are_refused(tmp_path: Path) -> None:
    source = "def g0(n: u64) -> u64:\n    return n\n"
    for depth in range(1, 40):
        source += f"def g{depth}(n: u64) -> u64:\n    return g{depth - 1}(u64(n * n))\n"
    module = load(tmp_path, source + HEAD + "    counts.add(g39(trap.pc))\n", HEADER)
    with pytest.raises(SubsetError, match=r"g\d+\(\) is called 16 calls deep: a probe has little"):
        compile_probe(module.f, Place())


def test_a_probe_that_takes_too_much_stack_is_refused(tmp_path: Path) -> None:
    """Show it with many values that are all needed at the end."""
    lines = [f"    v{n} = u64(trap.pc * {2 * n + 3}) ^ vcpu.x[{n % 31}]" for n in range(160)]
    lines += ["    by_key.add(v0)"]
    mixed = " ^ ".join(f"u64(v{n} * vcpu.x[{n % 31}])" for n in range(160))
    lines += [f"    counts.add({mixed})"]
    module = load(tmp_path, HEAD + "\n".join(lines) + "\n", HEADER)
    with pytest.raises(SubsetError) as caught:
        compile_probe(module.f, Place())
    assert "bytes of stack, and a probe has 1,024" in caught.value.sentence


def test_maps_of_one_name_are_told_apart(tmp_path: Path) -> None:
    source = "other = Counters(8, name='counts')\n" + HEAD + "    counts.add(1)\n    other.add(1)\n"
    module = load(tmp_path, source, HEADER)
    maps = compile_probe(module.f, Place()).maps
    assert [each.struct.size for each in maps.values()] == [72, 72]
    assert list(maps) == ["counts", f"counts.{module.other.symbol}"]


SIGNATURES = {
    "(vcpu: Vcpu) -> None": "f() takes Vcpu: a probe takes (trap: Trap, vcpu: Vcpu, what: u64), or"
    " the first of these",
    "() -> None": "f() takes nothing: a probe takes (trap: Trap, vcpu: Vcpu, what: u64), or the"
    " first of these",
    "(trap: Trap) -> u64": "f() returns u64: a probe returns nothing, so write -> None",
}


@pytest.mark.parametrize("head", list(SIGNATURES))
def test_what_a_probe_takes(head: str, tmp_path: Path) -> None:
    module = load(tmp_path, f"def f{head}:\n    return 0\n", HEADER)
    with pytest.raises(SubsetError) as caught:
        compile_probe(module.f, Place())
    assert caught.value.sentence == SIGNATURES[head]


# What may be done, each next to what may not.
SOUND = {
    "an index that an if bounds": (
        "i = vcpu.x[0]\n    if i < 31:\n        counts.add(vcpu.x[i] & 7)"
    ),
    "an index that a mask bounds": "counts.add(TABLE[trap.esr & 3])",
    "an index that a remainder bounds": "counts.add(vcpu.x[trap.pc % 31])",
    "an index of a loop": "for i in range(31):\n        counts.add(vcpu.x[i] & 7)",
    "an index of a loop downwards": (
        "for i in range(30, -1, -1):\n        if i < 31:\n            counts.add(vcpu.x[i] & 7)"
    ),
    "a loop over a number that an if bounds": (
        "n = vcpu.x[0]\n    if n > 16:\n        n = 16\n    for i in range(n):\n"
        "        counts.add(i)"
    ),
    "a while that counts down": (
        "i = vcpu.x[0] & 15\n    while i > 0:\n        i = u64(i - 1)\n        counts.add(i)"
    ),
    "a while with its test at the end": (
        "i = u64(0)\n    while True:\n        i = u64(i + 1)\n        if i >= 10:\n"
        "            break\n        counts.add(i)"
    ),
    "the Vm and vEL2's page": (
        "counts.add(vm_of(vcpu).config.cpu_count)\n    counts.add(page_of(vcpu).slot[15] & 7)"
    ),
    "a register that may be read": "by_key.add(mrs(CNTPCT_EL0) | mrs(ESR_EL2))",
    "a function of its own": "counts.add(helped(trap, 3))",
}


@pytest.mark.parametrize("what", list(SOUND))
def test_a_sound_probe_is_compiled(what: str, tmp_path: Path) -> None:
    helped = "def helped(trap: Trap, n: u64) -> u64:\n    return trap.pc >> n & 7\n"
    module = load(tmp_path, helped + HEAD + "    " + SOUND[what] + "\n", HEADER)
    compiled = compile_probe(module.f, Place())
    assert compiled.name == "f"
    assert set(compiled.maps) <= {"counts", "by_key"}
    assert 0 < compiled.operations <= OPERATIONS_MAX
