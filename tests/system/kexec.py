"""A Linux program that starts another kernel in the place of the one that runs (kexec).

Arguments: a kernel's Image, an initrd, a command line. It comes back only with an error, as its
exit status.
"""

from __future__ import annotations

from vel2.lang import PA, load_u8, resident, u64
from vel2.runtime.linux import (
    AT_FDCWD,
    O_RDONLY,
    OPENAT,
    REBOOT,
    REBOOT_MAGIC1,
    REBOOT_MAGIC2,
    argument,
    failed,
    syscall,
)
from vel2.runtime.process import build_process

KEXEC_FILE_LOAD = 294
REBOOT_KEXEC = 0x4558_4543
"""LINUX_REBOOT_CMD_KEXEC."""
MAX_LENGTH = 4096


@resident
def length(text: u64) -> u64:
    """Count the bytes of a text, its end included."""
    count = u64(1)
    while count < MAX_LENGTH and load_u8(PA(text + count - 1)) != 0:
        count = u64(count + 1)
    return count


@resident
def open_file(path: u64) -> u64:
    """Open a file to read it."""
    return syscall(OPENAT, AT_FDCWD, path, O_RDONLY, 0, 0, 0)


@resident
def kexec_main(stack: u64, started: u64) -> u64:
    """Load the kernel and start it; give errno."""
    kernel = open_file(argument(stack, 1))
    initrd = open_file(argument(stack, 2))
    line = argument(stack, 3)
    result = syscall(KEXEC_FILE_LOAD, kernel, initrd, length(line), line, 0, 0)
    if not failed(result):
        result = syscall(REBOOT, REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_KEXEC, 0, 0, 0)
    return u64(0 - result) & 0xFF


def build_kexec() -> bytes:
    """Compile the program."""
    return build_process(kexec_main)
