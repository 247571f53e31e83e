"""System calls of Linux on arm64, and the few functions that a C library would add.

Numbers are those of `include/uapi/asm-generic/unistd.h`. An error is returned as -errno, in 64
bits.
"""

from vel2.lang import PA, extern, load_u64, resident, u64

FCNTL = 25
IOCTL = 29
OPENAT = 56
CLOSE = 57
PIPE2 = 59
READ = 63
WRITE = 64
PREAD64 = 67
EXIT = 93
EXIT_GROUP = 94
FUTEX = 98
NANOSLEEP = 101
PTRACE = 117
SCHED_SETAFFINITY = 122
SCHED_GETAFFINITY = 123
KILL = 129
RT_SIGPROCMASK = 135
RT_SIGTIMEDWAIT = 137
REBOOT = 142
GETCPU = 168
GETPID = 172
GETPPID = 173
MUNMAP = 215
CLONE = 220
EXECVE = 221
MMAP = 222
MADVISE = 233
PERF_EVENT_OPEN = 241
WAIT4 = 260
"""System calls."""

STDIN, STDOUT, STDERR = 0, 1, 2
AT_FDCWD = (1 << 64) - 100
NO_FD = (1 << 64) - 1
O_RDONLY = 0
O_RDWR_CLOEXEC = 0o2000002
PROT_READ_WRITE = 3
MAP_SHARED = 1
MAP_FIXED = 0x10
MAP_ANONYMOUS = 0x4022
"""MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE."""
MADV_DONTNEED = 4
MADV_MERGEABLE = 12
MADV_HUGEPAGE = 14
MADV_NOHUGEPAGE = 15
MADV_COLD = 20
MADV_POPULATE_WRITE = 23
MADV_COLLAPSE = 25
F_SETFL, F_SETOWN = 4, 8
O_NONBLOCK, O_ASYNC = 0o4000, 0o20000
SIG_BLOCK = 0
SIGTRAP, SIGCHLD, SIGSTOP, SIGIO = 5, 17, 19, 29
SIGSET_BYTES = 8
EINTR = 4
EAGAIN = 11
MAX_ERRNO = 4095
REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_POWER_OFF = 0xFEE1_DEAD, 672274793, 0x4321_FEDC


@extern("syscall")
def syscall(number: u64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u64:
    """Make a system call; an error is -errno."""
    raise NotImplementedError("system calls need Linux on arm64")


@resident
def failed(result: u64) -> bool:
    """Whether a system call's result is an error."""
    return result > u64(0 - MAX_ERRNO - 1)


@resident
def argument_count(stack: u64) -> u64:
    """Give argc, from what the kernel put on the stack."""
    return load_u64(PA(stack))


@resident
def argument(stack: u64, n: u64) -> u64:
    """Give the address of argument number `n`; 0 is the program's name."""
    return load_u64(PA(stack + 8 + 8 * n))


@resident
def write_all(fd: u64, start: u64, count: u64) -> None:
    """Write all bytes, even if the file takes them in parts; give up at an error."""
    done = u64(0)
    while done < count:
        written = syscall(WRITE, fd, u64(start + done), u64(count - done), 0, 0, 0)
        if written == 0:
            return
        if not failed(written):
            done = u64(done + written)
        elif written != u64(0 - EINTR) and written != u64(0 - EAGAIN):
            return


@resident
def exit_with(status: u64) -> None:
    """End the program."""
    syscall(EXIT_GROUP, status, 0, 0, 0, 0, 0)


@resident
def power_off() -> None:
    """Power the machine off. Only process 1 should call this."""
    syscall(REBOOT, REBOOT_MAGIC1, REBOOT_MAGIC2, REBOOT_POWER_OFF, 0, 0, 0)


@resident
def ioctl(fd: u64, request: u64, operand: u64) -> u64:
    """Make an ioctl."""
    return syscall(IOCTL, fd, request, operand, 0, 0, 0)


@resident
def map_anonymous(size: u64) -> u64:
    """Map cleared memory."""
    return syscall(MMAP, 0, size, PROT_READ_WRITE, MAP_ANONYMOUS, NO_FD, 0)


@resident
def read_file(path: u64, destination: u64, limit: u64) -> u64:
    """Read a whole file of at most `limit` bytes; return its size or an error."""
    fd = syscall(OPENAT, AT_FDCWD, path, O_RDONLY, 0, 0, 0)
    if failed(fd):
        return fd
    total = u64(0)
    while total < limit:
        count = syscall(READ, fd, u64(destination + total), u64(limit - total), 0, 0, 0)
        if failed(count):
            return count
        if count == 0:
            break
        total = u64(total + count)
    syscall(CLOSE, fd, 0, 0, 0, 0, 0)
    return total
