"""Packed files under plain QEMU: no Python, no vel2, only the command that `vel2 pack` prints."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.limits import LIMIT_S
from tests.processes import started
from tests.tiny_guests import POWER_OFF, say, write_image
from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Guest, Kernel
from vel2.guests.kernels import fetch
from vel2.guests.recipes import l1_with_l2
from vel2.guests.vmm import build_vmm
from vel2.machine.config import MachineConfig, kernel_command
from vel2.machine.dtb import qemu_device_tree
from vel2.machine.loader import load_kernel
from vel2.pack.file import Packing, pack
from vel2.pack.nested import nest

pytestmark = pytest.mark.qemu

MIB = 1 << 20
VEL2 = Path(sys.executable).parent / "vel2"
KINDS = [
    pytest.param(Kind.VHE, Level.NV2, id="vhe-nv2"),
    pytest.param(Kind.NVHE, Level.NV, id="nvhe-nv"),
    pytest.param(Kind.NVHE, Level.NV2, id="nvhe-nv2", marks=pytest.mark.slow),
    pytest.param(Kind.VHE, Level.NV, id="vhe-nv", marks=pytest.mark.slow),
]


def boot(command: list[str], folder: Path | None = None) -> str:
    """Run QEMU to its end, in a folder; give what came to its console."""
    with started(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        said, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    return str(said, "utf-8", "replace")


def packed_file(folder: Path, guest: Guest, config: MachineConfig, **given: object) -> Path:
    """Pack a guest for a machine."""
    packing = Packing(guest, config.memory_bytes, cpus=config.smp, **given)  # type: ignore[arg-type]
    path = folder / "vel2.img"
    path.write_bytes(pack(qemu_device_tree(config), packing).data)
    return path


@pytest.mark.network
@pytest.mark.parametrize(("el2", "nv"), KINDS)
def test_linux_whose_kvm_starts_linux(tmp_path: Path, el2: Kind, nv: Level) -> None:
    """Boot a stock kernel at virtual EL2, on two CPUs, and its guest, from one file."""
    found, _ = fetch(["6.12", "busybox"])
    kernel = load_kernel(found.path)
    initrd = l1_with_l2(build_vmm(), kernel.data, kernel.image_size, "console=ttyS0 panic=-1 quiet")
    guest = Kernel(kernel, initrd, "console=ttyAMA0 panic=-1 job=l2")
    config = MachineConfig(768 * MIB, smp=2)
    path = packed_file(tmp_path, guest, config, el2=el2, nv=nv)
    said = boot(kernel_command(config, path))
    for line in (
        "l1.el=EL2",
        f"l1.kvm_mode={'VHE' if el2 is Kind.VHE else 'Hyp nVHE'}",
        "l1.cpus=2",
    ):
        assert f"##vel2 {line}" in said, said
    for line in ("L2| ##vel2 l2.sum=500500", "##vel2 l1.vmm_status=0", "##vel2 l1.end="):
        assert line in said, said


def test_vel2_in_vel2(tmp_path: Path) -> None:
    """Show that one file holds both, and needs neither a host nor its Python."""
    write_image(tmp_path / "Image", say("at vEL2\n"), POWER_OFF)
    config = MachineConfig(160 * MIB)
    guest = Kernel(load_kernel(tmp_path / "Image"))
    path = tmp_path / "vel2.img"
    packed = pack(qemu_device_tree(config), nest(Packing(guest, config.memory_bytes), 2))
    path.write_bytes(packed.data)
    assert boot(kernel_command(config, path)) == "at vEL2\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pack a guest that says a word, for two CPUs and 128 MiB."""
    folder = tmp_path_factory.mktemp("tiny")
    write_image(folder / "Image", say("at vEL2\n"), POWER_OFF)
    guest = Kernel(load_kernel(folder / "Image"))
    return packed_file(folder, guest, MachineConfig(128 * MIB, smp=2))


def test_the_command_that_is_printed(tmp_path: Path) -> None:
    """Show that `vel2 pack` alone, and then QEMU alone, do."""
    write_image(tmp_path / "Image", say("at vEL2\n"), POWER_OFF)
    done = subprocess.run(
        [VEL2, "pack", "--kernel", "Image", "--memory", "128M", "a b.img"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    about, command = done.stdout.splitlines()
    assert re.fullmatch(r"a b\.img: [0-9.]+ KiB, gives L1 108 MiB of memory; start it with", about)
    assert boot(shlex.split(command), tmp_path) == "at vEL2\n"


def test_a_machine_may_have_more_than_the_file_was_made_for(tiny: Path) -> None:
    assert boot(kernel_command(MachineConfig(256 * MIB, smp=3), tiny)) == "at vEL2\n"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            ("-m", "127M"),
            "the file is for 128 MiB of memory at 0x40000000, and there are 127; give QEMU -m, or"
            " pack it with a smaller --memory.",
        ),
        (
            ("-smp", "1"),
            "the file is for 2 CPUs, and the machine has 1; give QEMU -smp, or pack it with a"
            " smaller --smp.",
        ),
        (("-cpu", "neoverse-n1"), "the CPU has no FEAT_NV2; give QEMU -cpu max."),
        (
            ("-M", "virtualization=off"),
            "this is EL1, and it needs EL2; give QEMU -machine virtualization=on.",
        ),
        (("-M", "gic-version=2"), "the CPU has no GICv3; give QEMU -machine gic-version=3."),
    ],
    ids=["memory", "cpus", "nv2", "el1", "gic"],
)
def test_the_wrong_machine_is_refused_in_a_sentence(
    tiny: Path, given: tuple[str, ...], sentence: str
) -> None:
    command = [*kernel_command(MachineConfig(128 * MIB, smp=2), tiny), *given]
    assert boot(command) == f"vel2 cannot start here: {sentence}\n"
