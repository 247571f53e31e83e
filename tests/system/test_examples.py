"""The programs in `examples/` do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.limits import LIMIT_S
from vel2.guests.kernels import fetch

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(2 * LIMIT_S)]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module", autouse=True)
def guests() -> None:
    """Fetch what the examples boot."""
    fetch(["6.12", "busybox"])


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Record a demo."""
    return record(tmp_path_factory.mktemp("examples") / "demo.trace")


def record(path: Path, *options: str) -> str:
    """Record a demo into a file."""
    vel2 = Path(sys.executable).parent / "vel2"
    command = (vel2, "demo", "--memory", "512M", "--quiet", *options, "--trace", str(path))
    done = subprocess.run(command, capture_output=True, timeout=2 * LIMIT_S)
    assert done.returncode == 0, done.stderr
    return str(path)


def run(name: str, *arguments: str) -> str:
    """Run one to its end; give what it printed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_l2_hypercall() -> None:
    lines = run("l2_hypercall.py").splitlines()
    assert re.fullmatch(r"vCPU 0 at vel1, pc 0x[0-9a-f]+: HVC #0x0", lines[0])
    views = dict(re.findall(r"^(L1|L2): SCTLR_EL\d = (0x[0-9a-f]+)", "\n".join(lines), re.M))
    # L1 runs with its MMU on, and its stage 1 is not L2's.
    assert int(views["L1"], 16) & 1 == 1
    assert views["L1"] != views["L2"]
    # KVM has been given the call, so hardware holds vEL2's registers, which L1 sees as its own.
    assert f"hardware, which holds vel2 now: SCTLR_EL1 = {views['L1']}" in "\n".join(lines)
    assert lines[-1] == "L2 may not WFI without L1: True"


def test_walk_l2() -> None:
    text = run("walk_l2.py")
    assert re.search(r"va=0xffff[0-9a-f]+ -> ipa=0x[0-9a-f]+ -> l1_ipa=0x[0-9a-f]+ -> pa=", text)
    assert "L2 stage 1 level 3" in text or "L2 stage 1 level 2" in text
    assert "L1 stage 2 level" in text
    assert text.splitlines()[-1] == "hardware's shadow agrees"


def test_exits_per_guest(trace: str) -> None:
    head, *lines = run("exits_per_guest.py", trace).splitlines()
    assert head.split() == ["VMID", "exits", "ms", "L0", "cause"]
    causes = {line.split(maxsplit=4)[4] for line in lines if not line.startswith("note")}
    assert {"IRQ", "data abort", "hypercall"} <= causes


def test_hot_pages(trace: str) -> None:
    """The page of the UART, by which L2 talks, is the hottest: its VMM emulates it."""
    first = run("hot_pages.py", trace).splitlines()[0]
    assert re.fullmatch(r"ipa=0x9000000: [\d,]+ exits, [\d,]+ of them in mem_serial_out", first)


def test_exit_latency(trace: str) -> None:
    lines = run("exit_latency.py", trace).splitlines()
    starts = [int(line.split(" ns")[0].replace(",", "")) for line in lines]
    assert starts == [starts[0] << n for n in range(len(lines))]
    assert max(line.count("#") for line in lines) == 50


@pytest.mark.slow
def test_who_writes_hcr(tmp_path: Path) -> None:
    """With FEAT_NV alone L1's every access to EL2 traps: more than a million events."""
    text = run("who_writes_hcr.py", record(tmp_path / "nv.trace", "--nv", "nv"))
    assert re.search(r"^\w*activate_traps\w*: [\d,]+ times 0x[0-9a-f]+$", text, re.M)
    assert "HCR_EL2" in text and "TGE" in text


def test_device_for_l2() -> None:
    lines = run("device_for_l2.py").splitlines()
    assert lines == [
        "L2 reads 21 degrees",
        "L2 stores 1 at offset 0x0, 4 bytes",
        "L2 reads 70 degrees",
    ]


def test_serror_in_l2() -> None:
    lines = run("serror_in_l2.py").splitlines()
    assert re.fullmatch(r"an SError instead of: vCPU 0 at vel1, pc 0x[0-9a-f]+: .*", lines[0])
    # EC 0x2f, IL, IDS: what was injected is what L2's kernel names.
    assert lines[1] == "L2: SError Interrupt on CPU0, code 0x00000000bf000000"
    assert lines[2].startswith("L2: Kernel panic - not syncing: Asynchronous SError Interrupt")
    assert lines[3].startswith("L1 lives, 6.12")


def test_every_example_has_a_test() -> None:
    own = Path(__file__).read_text()
    missing = [path.name for path in EXAMPLES.glob("*.py") if f'run("{path.name}"' not in own]
    assert missing == []
