"""Names and encodings against tables vel2 did not write: LLVM's and Capstone's.

LLVM (through llvmlite) turns a register name into an MRS or MSR; Capstone and llvm-mc turn an
encoding into a name. What a source does not know is listed, so a misspelt name cannot hide.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import capstone
import pytest

from tests.limits import LIMIT_S
from vel2.arch import insn, sysregs
from vel2.arch.bits import Register

MRS = 0xD5200000
MSR = 0xD5000000
SYS = 0xD5080000
SYSL = 0xD5280000

# LLVM has these for MSR as PSTATE fields, which take a constant only.
PSTATE_FIELDS = {"SPSel", "PAN", "UAO", "DIT", "SSBS", "TCO", "ALLINT", "PM"}

# Newer than Capstone's tables; LLVM knows each of them.
NOT_IN_CAPSTONE_NAMES = """
    ID_DFR1_EL1 ID_AA64PFR2_EL1 ID_AA64FPFR0_EL1 ID_AA64DFR2_EL1 ID_AA64ISAR3_EL1
    ID_AA64MMFR3_EL1 ID_AA64MMFR4_EL1 SCTLR2_EL1 TCR2_EL1 MAIR2_EL1 AMAIR2_EL1 PIRE0_EL1
    PIR_EL1 POR_EL0 POR_EL1 S2POR_EL1 PFAR_EL1 ALLINT PM FPMR NVHCR_EL2 SCTLR2_EL2 TCR2_EL2
    MAIR2_EL2 AMAIR2_EL2 PIRE0_EL2 PIR_EL2 POR_EL2 S2PIR_EL2 PFAR_EL2 HACDBSBR_EL2 HACDBSCONS_EL2
    HDBSSBR_EL2 HDBSSPROD_EL2
    MECIDR_EL2 MECID_P0_EL2 MECID_A0_EL2 MECID_P1_EL2 MECID_A1_EL2 VMECID_P_EL2 VMECID_A_EL2
    SCTLR2_EL12 TCR2_EL12 PFAR_EL12 MAIR2_EL12 AMAIR2_EL12 PIRE0_EL12 PIR_EL12 POR_EL12
    TRCITECR_EL12 GCSCR_EL12 GCSPR_EL12 HAFGRTR_EL2 HFGRTR2_EL2 HFGWTR2_EL2 HFGITR2_EL2
    HDFGRTR2_EL2 HDFGWTR2_EL2 ICH_HFGRTR_EL2 ICH_HFGWTR_EL2 ICH_HFGITR_EL2 ERXGSR_EL1 GCSCR_EL1
    GCSPR_EL1 GCSCRE0_EL1 GCSPR_EL0 GCSCR_EL2 GCSPR_EL2 AMCG1IDR_EL0 RCWMASK_EL1 RCWSMASK_EL1
    ICC_NMIAR1_EL1 MDSELR_EL1 MDSTEPOP_EL1 PMZR_EL0 PMUACR_EL1 PMECR_EL1 PMIAR_EL1 PMICNTR_EL0
    PMICFILTR_EL0 PMSSCR_EL1 PMCCNTSVR_EL1 PMICNTSVR_EL1 PMSDSFR_EL1 PMBMAR_EL1 TRBMPAM_EL1
    TRCITECR_EL1 TRCITECR_EL2 TRCITEEDCR
"""
NOT_IN_CAPSTONE = frozenset(NOT_IN_CAPSTONE_NAMES.split())
NOT_IN_CAPSTONE_FAMILIES = ("PMEVCNTSVR", "SPM")
NOT_IN_CAPSTONE_ENDINGS = ("MASK_EL1", "ALIAS_EL1")

# Run apart: LLVM ends the process at the first name it does not know.
ASK_LLVM = """
import io, json, sys
import llvmlite.binding as llvm
from elftools.elf.elffile import ELFFile

read, names = json.load(sys.stdin)
llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
target = llvm.Target.from_triple("aarch64-none-elf")
machine = target.create_target_machine(features="+all", opt=0)
if read:
    ir = ["declare i64 @llvm.read_volatile_register.i64(metadata)"]
    body = "define i64 @f{}() {{"
    body += " %v = call i64 @llvm.read_volatile_register.i64(metadata !{}) ret i64 %v }}"
else:
    ir = ["declare void @llvm.write_register.i64(metadata, i64)"]
    body = "define void @f{}(i64 %x) {{"
    body += " call void @llvm.write_register.i64(metadata !{}, i64 %x) ret void }}"
for n, name in enumerate(names):
    ir.append(body.format(n, n))
    ir.append('!{} = !{{!"{}"}}'.format(n, name))
module = llvm.parse_assembly("\\n".join(ir))
text = ELFFile(io.BytesIO(machine.emit_object(module))).get_section_by_name(".text").data()
words = [int.from_bytes(text[8 * n : 8 * n + 4], "little") for n in range(len(names))]
json.dump(words, sys.stdout)
"""


def llvm_words(names: list[str], *, read: bool) -> subprocess.CompletedProcess[str]:
    """Have LLVM assemble one MRS X0 or MSR X0 for each name."""
    return subprocess.run(
        [sys.executable, "-c", ASK_LLVM],
        input=json.dumps([read, names]),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def check_with_llvm(registers: list[type[Register]], *, read: bool) -> None:
    answer = llvm_words([r.name for r in registers], read=read)
    assert answer.returncode == 0, answer.stderr[-400:]
    base = MRS if read else MSR
    wrong = {
        r.name: (hex(word), r.encoding.generic_name)
        for r, word in zip(registers, json.loads(answer.stdout), strict=True)
        if word != base | r.encoding.mrs_field << 5
    }
    assert wrong == {}


def test_llvm_reads_every_readable_register_where_we_say_it_is() -> None:
    readable = [r for r in sysregs.ALL_REGISTERS if r.access != "WO"]
    assert len(readable) > 1000
    check_with_llvm(readable, read=True)


def test_llvm_writes_every_writable_register_where_we_say_it_is() -> None:
    writable = [
        r for r in sysregs.ALL_REGISTERS if r.access != "RO" and r.name not in PSTATE_FIELDS
    ]
    assert len(writable) > 700
    check_with_llvm(writable, read=False)


@pytest.mark.parametrize("name", ["NO_SUCH_EL2", "OSLAR_EL1", "ICC_EOIR1_EL1"])
def test_llvm_refuses_what_it_does_not_know_or_cannot_read(name: str) -> None:
    """The two tests above mean something: the source does say no."""
    answer = llvm_words(["HCR_EL2", name], read=True)
    assert answer.returncode != 0
    assert f'invalid register "{name}"' in answer.stderr


@pytest.fixture(scope="module")
def disassembler() -> Any:
    return capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)


def disassemble(disassembler: Any, word: int) -> str:
    (found,) = disassembler.disasm(word.to_bytes(4, "little"), 0)
    return f"{found.mnemonic} {found.op_str}".strip().lower()


def known_to_capstone(name: str) -> bool:
    return not (
        name in NOT_IN_CAPSTONE
        or name.startswith(NOT_IN_CAPSTONE_FAMILIES)
        or name.endswith(NOT_IN_CAPSTONE_ENDINGS)
    )


def test_capstone_names_every_encoding_as_we_do(disassembler: Any) -> None:
    wrong = {}
    for register in sysregs.ALL_REGISTERS:
        name = register.name if known_to_capstone(register.name) else register.encoding.generic_name
        word = register.encoding.mrs_field << 5
        if register.access == "WO":
            expected, text = f"msr {name}, x0", disassemble(disassembler, MSR | word)
        else:
            expected, text = f"mrs x0, {name}", disassemble(disassembler, MRS | word)
        if text != expected.lower():
            wrong[register.name] = text
    assert wrong == {}


def word_of(one: insn.SysInsn) -> int:
    base = SYSL if one.returns else SYS
    operands = one.encoding._replace(op0=0).mrs_field << 5
    return base | operands | (0 if one.takes_register else 31)


# Newer than Capstone's tables.
INSN_NOT_IN_CAPSTONE = {
    *(f"TLBI VMALLWS2E1{domain}" for domain in ("", "IS", "OS")),
    *("AT S1E1A", "AT S1E2A", "AT S1E3A"),
    *("DC CIVAPS", "DC CIGDVAPS", "DC CVAOC", "DC CGDVAOC", "DC CIVAOC", "DC CIGDVAOC"),
    *("DC CVADP", "DC CGVADP", "DC CGDVADP", "DC CIPAE", "DC CIGDPAE", "DC CIPAPA", "DC CIGDPAPA"),
    *("CFP RCTX", "DVP RCTX", "COSP RCTX", "CPP RCTX", "TRCIT TRCIT"),
    *(f"GCS {n}" for n in ("PUSHX", "POPCX", "POPX", "PUSHM", "POPM", "SS1", "SS2")),
}


def text_of(one: insn.SysInsn) -> str:
    return f"{one.name}, x0".lower() if one.takes_register else one.name.lower()


def test_capstone_names_every_system_instruction_as_we_do(disassembler: Any) -> None:
    known = [
        one
        for one in insn.ALL_INSNS
        if one.name not in INSN_NOT_IN_CAPSTONE and not one.name.endswith("NXS")
    ]
    assert len(known) > 120
    wrong = {
        one.name: text
        for one in known
        if (text := disassemble(disassembler, word_of(one))) != text_of(one)
    }
    assert wrong == {}


def test_what_capstone_is_said_not_to_know_it_does_not_know(disassembler: Any) -> None:
    """The exceptions do not outlive their reason."""
    for name in INSN_NOT_IN_CAPSTONE:
        assert disassemble(disassembler, word_of(insn.by_name(name))).startswith("sys")


# Newer than the oldest LLVM that may be installed (14).
INSN_NOT_IN_LLVM_14 = INSN_NOT_IN_CAPSTONE - {
    *("DC CVADP", "DC CGVADP", "DC CGDVADP", "CFP RCTX", "DVP RCTX", "CPP RCTX"),
}


def llvm_mc(words: Iterable[int]) -> list[str]:
    features = "+v9.3a,+sme,+rme,+mte,+tlb-rmi,+xs,+brbe,+ccdp,+predres"
    answer = subprocess.run(
        ["llvm-mc", "--disassemble", "--triple=aarch64", f"--mattr={features}"],
        input=" ".join(f"{byte:#x}" for word in words for byte in word.to_bytes(4, "little")),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    lines = (line.split("//")[0].split() for line in io.StringIO(answer.stdout))
    return [" ".join(line).lower() for line in lines if line and line[0] != ".text"]


@pytest.mark.skipif(
    shutil.which("llvm-mc") is None, reason="llvm-mc is not installed; install llvm to run this"
)
def test_llvm_mc_names_the_newer_system_instructions_as_we_do() -> None:
    known = [
        one for one in insn.ALL_INSNS if one.name.removesuffix("NXS") not in INSN_NOT_IN_LLVM_14
    ]
    assert len(known) > 205
    texts = llvm_mc(map(word_of, known))
    assert texts == [text_of(one) for one in known]
