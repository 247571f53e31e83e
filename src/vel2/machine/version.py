"""Find the QEMU to use, and check that it can do what vel2 needs."""

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from vel2.errors import UserError

__all__ = ("MINIMUM_QEMU", "QemuVersion", "find_qemu", "qemu_version", "require_qemu")

QEMU_NAME = "qemu-system-aarch64"
VERSION_TIMEOUT_S = 30


class QemuVersion(NamedTuple):
    """The version of a QEMU binary; compares as a tuple."""

    major: int
    minor: int
    micro: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.micro}"

    @property
    def has_nv2(self) -> bool:
        """True when `-cpu max` implements FEAT_NV and FEAT_NV2 (both came in 9.0)."""
        return self >= (9, 0)

    @property
    def has_second_uart(self) -> bool:
        """True when `virt` gives the Non-secure world a second PL011 (came in 9.1)."""
        return self >= (9, 1)


# FEAT_NV2 came in 9.0, the second Non-secure UART (our doorbell) in 9.1.
MINIMUM_QEMU = QemuVersion(9, 1)


def find_qemu() -> Path:
    """Return the QEMU to run: `VEL2_QEMU` if set, else the first one on PATH.

    :raises UserError: when there is none.
    """
    chosen = os.environ.get("VEL2_QEMU")
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise UserError(
                f"VEL2_QEMU is set to {chosen!r}, which is not a program that can be run; "
                f"set it to the path of {QEMU_NAME} {MINIMUM_QEMU} or newer, or unset it."
            )
        return Path(found)
    found = shutil.which(QEMU_NAME)
    if found is None:
        raise UserError(
            f"{QEMU_NAME} was not found on PATH; install Debian's qemu-system-arm "
            f"({MINIMUM_QEMU} or newer) or set VEL2_QEMU to its path."
        )
    return Path(found)


@functools.cache
def _version_of(path: Path, modified_ns: int) -> QemuVersion:
    """Ask the binary. `modified_ns` only keeps the cache from answering for an upgraded binary."""
    try:
        result = subprocess.run(
            [str(path), "--version"],
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(
            f"{path} could not be asked for its version ({error}); "
            f"set VEL2_QEMU to a working {QEMU_NAME}."
        ) from error
    match = re.search(r"QEMU emulator version (\d+)\.(\d+)(?:\.(\d+))?", result.stdout)
    if match is None:
        raise UserError(
            f"{path} --version does not print a QEMU version; "
            f"set VEL2_QEMU to the path of {QEMU_NAME}."
        )
    major, minor, micro = match.groups(default="0")
    return QemuVersion(int(major), int(minor), int(micro))


def qemu_version(path: Path) -> QemuVersion:
    """Return the version that `path --version` prints.

    :raises UserError: when the program does not run or is not QEMU.
    """
    try:
        modified_ns = path.stat().st_mtime_ns
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); set VEL2_QEMU to the path of {QEMU_NAME}."
        ) from error
    return _version_of(path, modified_ns)


def require_qemu() -> tuple[Path, QemuVersion]:
    """Return the QEMU to run and its version, once it is known to be new enough.

    :raises UserError: when there is none or it is too old.
    """
    path = find_qemu()
    version = qemu_version(path)
    if version < MINIMUM_QEMU:
        raise UserError(
            f"{path} is QEMU {version}, but vel2 needs {MINIMUM_QEMU} or newer; "
            "install a newer qemu-system-arm (on Debian 12 from bookworm-backports) "
            "or set VEL2_QEMU to one."
        )
    return path, version
