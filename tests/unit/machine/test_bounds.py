"""What QEMU writes for its guest is bounded: the host's disk is not the guest's to fill."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from vel2.machine import qemu
from vel2.machine.qemu import Machine, MachineConfig

pytestmark = pytest.mark.qemu

MIB = 1 << 20


class Usage(NamedTuple):
    free: int


@pytest.mark.parametrize(
    ("options", "at", "refused"),
    [
        # A temporary file may take half of what is free.
        ("snapshot=on", 0, False),
        ("snapshot=on", 8 * MIB, True),
        # The user's own image is as large as it is.
        ("snapshot=off", 31 * MIB, False),
    ],
)
def test_a_file_does_not_outgrow_the_host(
    options: str, at: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(32 * MIB)
    monkeypatch.setattr(qemu.shutil, "disk_usage", lambda path: Usage(free=8 * MIB))
    drive = f"if=none,id=d,format=raw,{options},file={image}"
    config = MachineConfig(
        memory_bytes=64 * MIB,
        start_paused=True,
        extra_arguments=("-drive", drive, "-device", "virtio-blk-pci,drive=d,romfile="),
    )
    with Machine(config) as machine:
        for start in range(0, at + 1, 512 << 10):
            line = {"command-line": f'qemu-io d "write {start} 512k"'}
            machine.monitor.execute("human-monitor-command", line)
        assert machine.monitor.status() == "prelaunch", "QEMU lives on"
    # It says what became of a write on its standard output.
    assert ("File too large" in machine.stderr) == refused, machine.stderr
    assert "wrote 524288/524288 bytes" in machine.stderr
