"""The page that explains one operation: its steps, its figures, and the page in docs/."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.bench.explained import check_page
from vel2.bench.configuration import CONFIGURATIONS
from vel2.bench.execlog import Taken
from vel2.bench.explain import (
    CALL,
    ENTER,
    EXIT,
    INTERRUPT,
    L1_RUNS,
    L2_RUNS,
    LOCAL,
    OTHER,
    steps_of,
    why_it_traps,
)
from vel2.bench.explain_page import Explained, explain_page, moved
from vel2.bench.measure import Figures
from vel2.bench.places import Place
from vel2.bench.profile import Profile, Run
from vel2.cli.bench.explain import write_page
from vel2.cli.main import vel2
from vel2.cli.terminal import Terminal

HVC, ERET = Taken("HVC", esr=0x16 << 26), Taken("ERET", esr=0x1A << 26)
MRS_MDCR = Taken("MRS", esr=0x18 << 26 | 3 << 20 | 1 << 17 | 4 << 14 | 1 << 10 | 1 << 1 | 1)
DABT, IRQ = Taken("DABT", esr=0x24 << 26), Taken("IRQ")
PAGE = Path(__file__).parents[3] / "docs/hypercall.md"


def run(who: str, count: int, taken: Taken | None = None, **place: str) -> Run:
    return Run(who, taken, [0] * count, [Place(f"of {who}", **place)] * count)


NVHE = [
    run("L2", 5),
    run("L0", 300, HVC, system="MRS ESR_EL2"),
    run("L1 vEL2", 100),
    run("L0", 150, MRS_MDCR),
    run("L1 vEL2", 20),
    run("L0", 140, MRS_MDCR),
    run("L1 vEL2", 30),
    run("L0", 400, ERET),
    run("L1 vEL1", 700),
    run("L0", 310, HVC),
    run("L1 vEL2", 90),
    run("L0", 410, ERET),
    run("L2", 4),
]


def profile(runs: list[Run]) -> Profile:
    return Profile("hypercall", sum(len(each.pcs) for each in runs), 0, Figures(10, 90), runs)


def test_runs_become_steps() -> None:
    steps = steps_of(profile(NVHE))
    assert [step.kind for step in steps] == [
        L2_RUNS, EXIT, L1_RUNS, ENTER, L1_RUNS, CALL, L1_RUNS, ENTER, L2_RUNS
    ]  # fmt: skip
    inner = steps[2]
    assert (inner.instructions(of_l0=False), inner.instructions(of_l0=True)) == (150, 290)
    assert [(answer.kind, answer.each) for answer in inner.answers] == [
        ("MRS MDCR_EL2", [150, 140])
    ]
    assert inner.functions == {"of L1 vEL2": 150}
    assert inner.functions_of_answers == {"of L0": 290}
    assert not inner.system
    assert steps[1].system == {"MRS ESR_EL2": 300}
    assert sum(step.traps for step in steps) == 6


@pytest.mark.parametrize(
    ("before", "taken", "after", "kind"),
    [
        ("L2", IRQ, "L1 vEL2", INTERRUPT),
        ("L2", DABT, "L2", LOCAL),
        ("L1 EL0", DABT, "L1 vEL2", OTHER),
        ("L1 vEL2", ERET, "L1 EL0", ENTER),
    ],
)
def test_kinds_of_steps(before: str, taken: Taken, after: str, kind: object) -> None:
    steps = steps_of(profile([run(before, 1), run("L0", 1, taken), run(after, 1)]))
    assert steps[1].kind is kind


@pytest.mark.parametrize(
    ("configuration", "kind", "why"),
    [
        ("vhe-nv2", "MSR MDCR_EL2", "no slot in the VNCR page"),
        ("nvhe-nv2", "MSR CPTR_EL2", "hardware's CPACR_EL1 carries it"),
        ("nvhe-nv2", "MRS CNTHCTL_EL2", "no slot in the VNCR page"),
        ("nvhe-nv2", "MRS ID_AA64PFR0_EL1", "HCR_EL2.TID3"),
        ("nvhe-nv2", "MRS ICC_SRE_EL2", "a register of the GIC's EL2"),
        ("vhe-nv2", "MRS CNTHP_CTL_EL2", "hypervisor timer"),
        ("vhe-nv2", "TLBI ALLE1IS", "shadow state"),
        ("vhe-nv2", "IRQ", ""),
        ("vhe-nv", "MRS TPIDR_EL2", "its value is in the page"),
        ("vhe-nv", "MRS ESR_EL2", "hardware's ESR_EL1 carries it"),
        ("nvhe-nv", "MRS TCR_EL1", "HCR_EL2.NV1"),
        ("nvhe-nv", "MSR MDCR_EL2", "traps every EL2 register"),
    ],
)
def test_why_an_access_traps(configuration: str, kind: str, why: str) -> None:
    found = why_it_traps(kind, CONFIGURATIONS[configuration])
    assert why in found
    assert bool(why) == bool(found)


def test_what_moved() -> None:
    system = steps_of(profile([run("L0", 2, HVC, system="MRS ESR_EL2")]))[0].system
    system.update(["MSR VTTBR_EL2", "ISB"])
    assert moved(system) == [
        "1 register read in 2 accesses: ESR_EL2.",
        "1 register written: VTTBR_EL2.",
        "Barriers and maintenance: 1 ISB.",
    ]


# --- the page -----------------------------------------------------------------------------------


def test_a_page() -> None:
    nvhe = Explained(CONFIGURATIONS["nvhe-nv2"], profile(NVHE))
    native = [run("L2", 5), run("L1 EL2", 900), run("L2", 4)]
    found = [Explained(CONFIGURATIONS["native"], profile(native)), nvhe]
    about = {"l1": "Linux 6.12", "qemu": "QEMU 10.0.2"}
    text = explain_page(found, about, "vel2 bench explain hypercall")
    check_page(text)
    assert "| nvhe-nv2 | 2,659 (6) | 9 | 940 | 1,710 | 8,000 (16) | - |" in text
    assert "| 3 | L1 runs at vEL2 | 150 | 290 | 2 |" in text
    assert (
        "| MRS MDCR_EL2 | no slot in the VNCR page: L0 keeps it in the context | 2 | 290 |" in text
    )
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 116


def test_a_step_in_which_nothing_completes() -> None:
    runs = [run("L2", 5), run("L0", 90, DABT), run("L2", 0), run("L0", 80, DABT), run("L2", 4)]
    each = Explained(CONFIGURATIONS["vhe-nv2"], profile(runs))
    text = explain_page([each], {"l1": "Linux 6.12", "qemu": "QEMU 10.0.2"}, "vel2 bench explain x")
    check_page(text)
    assert "| 3 | L2 runs |  |  |  |" in text
    assert "nothing completes" in text


def test_the_page_in_docs_is_what_the_tool_writes() -> None:
    text = PAGE.read_text()
    check_page(text)
    assert "`vel2 bench explain hypercall --markdown docs/hypercall.md`" in text
    assert {"## vhe-nv2", "## nvhe-nv2", "## vhe-nv"} == set(re.findall(r"^## [\w-]+", text, re.M))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["hvc"], "there is no operation 'hvc'; give one of null, hypercall,"),
        (
            ["null", "--configs", "vhe-nv2,kvm-vhe"],
            "what is explained is what vel2 does as L0; leave the kvm configurations out, or look"
            " at them with `vel2 bench profile`.\n",
        ),
    ],
)
def test_bad_options(options: list[str], said: str) -> None:
    result = CliRunner().invoke(vel2, ["bench", "explain", *options])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"vel2: {said}")


def test_the_page_is_shown_or_written_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = "# One call\n\n`HCR_EL2` is **read**.\n\n| who | count |\n| --- | --: |\n| L0 | 5 |\n"
    shown = io.StringIO()
    terminal = Terminal()
    terminal.file = shown
    write_page(terminal, page, None)
    text = shown.getvalue()
    assert not {"#", "`", "*", "|"} & set(text), text
    assert "HCR_EL2 is read." in text and re.search(r"L0 +5", text)
    write_page(terminal, page, tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == page
    assert shown.getvalue() == text
