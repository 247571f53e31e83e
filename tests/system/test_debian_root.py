"""A real Debian system as L1: it sets itself up under vel2, boots to a login, has a network."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import ShowConsole
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.machine.devices import Disk
from vel2.machine.loader import load_kernel

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("debootstrap") is None,
        reason="debootstrap needs to be installed, and to run as root",
    ),
]

TOOL = Path(__file__).resolve().parents[2] / "tools/debian-root"
WAIT_ONLINE = "/usr/lib/systemd/systemd-networkd-wait-online"
LIMIT_S = 600


def answer_once(listener: socket.socket) -> None:
    """Say hello to who connects first."""
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"hello from the host\n")


def test_debian_boots_to_its_login(tmp_path: Path, show_console: ShowConsole) -> None:
    made = subprocess.run([sys.executable, TOOL, tmp_path], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=answer_once, args=(listener,), daemon=True).start()
    port = listener.getsockname()[1]
    vm = Vm(
        Request(
            Kernel(
                load_kernel(tmp_path / "vmlinuz"),
                (tmp_path / "initrd").read_bytes(),
                "console=ttyAMA0 panic=-1 root=/dev/vda",
            ),
            1 << 30,
            disks=(Disk(tmp_path / "disk.img", is_kept=True),),
            net="user",
        )
    )
    show_console("Debian", vm.console)
    try:
        with vm, listener:
            vm.console.wait_for(r"debian login: ", LIMIT_S)
            for command, answer in (
                ("root", r"# "),
                # The answers are not to be found in the questions.
                ("stty -echo", r"# "),
                (f"{WAIT_ONLINE} && ip -c=never -4 address", r"inet 10\.0\.2\.15"),
                # QEMU's network has the host at this address.
                (f"cat < /dev/tcp/10.0.2.2/{port}", r"hello from the host"),
                ("dmesg | grep 'kvm \\['", r"VHE mode initialized successfully"),
                ("systemctl poweroff", r"reboot: Power down"),
            ):
                start = vm.console.position
                vm.console.write(f"{command}\r")
                vm.console.wait_for(answer, LIMIT_S, start)
            ended = vm.wait(LIMIT_S)
        assert str(ended) == "the guest powered off"
        assert vm.fatal is None
    finally:
        vm.close()
