"""The initramfs that finds the root file system on a disk."""

from __future__ import annotations

import lzma
from pathlib import Path

from vel2.guests.disk_root import MODULE, disk_root_tree
from vel2.guests.init_scripts import DISK_INIT
from vel2.guests.recipes import APPLETS


def test_it_holds_the_disks_driver_and_the_way_on(tmp_path: Path) -> None:
    driver = tmp_path / f"kernel/{MODULE}.ko.xz"
    driver.parent.mkdir(parents=True)
    driver.write_bytes(lzma.compress(b"driver"))
    (tmp_path / "busybox").write_bytes(b"busybox itself")
    tree = disk_root_tree(tmp_path, tmp_path / "busybox")
    assert tree["modules/virtio_blk.ko"].data == b"driver"
    assert tree["init"].data.decode() == DISK_INIT
    assert "insmod /modules/virtio_blk.ko" in DISK_INIT
    assert {"insmod", "mount", "switch_root", "poweroff"} <= set(APPLETS)
