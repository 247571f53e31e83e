"""Which QEMU is used, and the sentence when it will not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from vel2.errors import UserError
from vel2.machine.version import QemuVersion, find_qemu, qemu_version, require_qemu


def program(folder: Path, output: str, name: str = "qemu-system-aarch64") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)", QemuVersion(10, 0, 2)),
        ("QEMU emulator version 9.2.50 (v9.2.0-1-gabc)", QemuVersion(9, 2, 50)),
        ("QEMU emulator version 11.1", QemuVersion(11, 1, 0)),
    ],
)
def test_version_is_read_from_the_program(
    tmp_path: Path, output: str, version: QemuVersion
) -> None:
    assert qemu_version(program(tmp_path, output)) == version


@pytest.mark.parametrize(
    ("version", "nv2", "uart"),
    [((8, 2, 9), False, False), ((9, 0, 0), True, False), ((9, 1, 0), True, True)],
)
def test_features_by_version(version: tuple[int, int, int], nv2: bool, uart: bool) -> None:
    assert QemuVersion(*version).has_nv2 is nv2
    assert QemuVersion(*version).has_second_uart is uart


def test_environment_chooses_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = program(tmp_path, "QEMU emulator version 8.2.1")
    monkeypatch.setenv("VEL2_QEMU", str(old))
    assert find_qemu() == old
    with pytest.raises(UserError) as caught:
        require_qemu()
    assert str(caught.value) == (
        f"{old} is QEMU 8.2.1, but vel2 needs 9.1.0 or newer; install a newer qemu-system-arm "
        "(on Debian 12 from bookworm-backports) or set VEL2_QEMU to one."
    )
    program(tmp_path, "QEMU emulator version 10.1.0")
    assert require_qemu() == (old, QemuVersion(10, 1, 0)), "an upgrade is noticed"


def test_missing_and_foreign_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEL2_QEMU", "/nonexistent/qemu")
    with pytest.raises(UserError) as caught:
        find_qemu()
    assert str(caught.value) == (
        "VEL2_QEMU is set to '/nonexistent/qemu', which is not a program that can be run; "
        "set it to the path of qemu-system-aarch64 9.1.0 or newer, or unset it."
    )
    monkeypatch.delenv("VEL2_QEMU")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as caught:
        find_qemu()
    assert str(caught.value) == (
        "qemu-system-aarch64 was not found on PATH; install Debian's qemu-system-arm "
        "(9.1.0 or newer) or set VEL2_QEMU to its path."
    )
    other = program(tmp_path, "GNU tar 1.34", "tar")
    with pytest.raises(UserError) as caught:
        qemu_version(other)
    assert str(caught.value) == (
        f"{other} --version does not print a QEMU version; "
        "set VEL2_QEMU to the path of qemu-system-aarch64."
    )
    with pytest.raises(UserError, match=r"gone cannot be read \(No such file or directory\)"):
        qemu_version(tmp_path / "gone")
