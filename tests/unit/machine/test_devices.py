"""QEMU's options for disks and networks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from vel2.errors import UserError
from vel2.machine.devices import Disk, device_arguments


def test_nothing_asked_for_adds_nothing() -> None:
    assert device_arguments((), None) == ()


def test_the_format_is_read_from_the_file(tmp_path: Path) -> None:
    raw, qcow2 = tmp_path / "a,b.img", tmp_path / "c.img"
    raw.write_bytes(bytes(512))
    qcow2.write_bytes(b"QFI\xfb" + bytes(508))
    drives = [
        a
        for a in device_arguments((Disk(raw), Disk(qcow2, is_kept=True)), None)
        if a.startswith("if=none")
    ]
    assert drives == [
        f"if=none,id=disk0,format=raw,file={tmp_path}/a,,b.img,snapshot=on",
        f"if=none,id=disk1,format=qcow2,file={tmp_path}/c.img",
    ]


def test_each_disk_and_network_has_its_device() -> None:
    arguments = device_arguments((Disk(Path(__file__)),), "user")
    pairs = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert set(pairs) == {"-drive", "-device", "-netdev"}
    devices = [b for a, b in pairwise(arguments) if a == "-device"]
    assert devices == [
        "virtio-blk-pci,drive=disk0,disable-legacy=on,iommu_platform=on,romfile=",
        "virtio-net-pci,netdev=net0,disable-legacy=on,iommu_platform=on,romfile=",
    ]
    assert pairs["-netdev"] == "user,id=net0"


def test_a_disk_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        device_arguments((Disk(tmp_path / "none"),), None)
    assert str(caught.value) == (
        f"the disk {tmp_path}/none cannot be read (No such file or directory);"
        " give a raw or qcow2 image."
    )


def test_a_file_is_written_when_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    disk = tmp_path / "a,rw.img"
    disk.write_bytes(bytes(512))
    assert Disk.parse(str(disk)) == Disk(disk, is_kept=False)
    assert Disk.parse(f"{disk},rw") == Disk(disk, is_kept=True)
    # Root may write what nobody may.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError) as caught:
        device_arguments([Disk(disk, is_kept=True)], None)
    assert str(caught.value) == f"the disk {disk} cannot be written; give it without ,rw."
