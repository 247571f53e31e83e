"""System calls of Linux on arm64, and the few functions of a C library that we need."""

from vel2.lang import PA, bytes_address, extern, load_u8, resident, store_u8, u64

FCNTL = 25
OPENAT = 56
CLOSE = 57
READ = 63
WRITE = 64
PREAD64 = 67
IOCTL = 29
EXIT_GROUP = 94
RT_SIGPROCMASK = 135
RT_SIGTIMEDWAIT = 137
GETPID = 172
MMAP = 222
MADVISE = 233
AT_FDCWD = (1 << 64) - 100
O_RDONLY = 0
O_RDWR_CLOEXEC = 0o2000002
PROT_READ_WRITE = 3
MAP_SHARED = 1
MAP_ANONYMOUS = 0x4022
"""MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE."""
MADV_HUGEPAGE = 14
MADV_POPULATE_WRITE = 23
NO_FD = (1 << 64) - 1
MAX_ERRNO = 4095
F_SETFL, F_SETOWN = 4, 8
O_NONBLOCK, O_ASYNC = 0o4000, 0o20000
SIG_BLOCK = 0
SIGIO = 29
SIGSET_BYTES = 8
EINTR = 4
EAGAIN = 11
STDIN = 0
STDOUT = 1
STDERR = 2


@extern("syscall")
def syscall(number: u64, a: u64, b: u64, c: u64, d: u64, e: u64, f: u64) -> u64:
    """Make a system call; an error is -errno."""
    raise NotImplementedError("system calls need Linux on arm64")


@resident
def failed(result: u64) -> bool:
    """Whether a system call's result is an error."""
    return result > u64(0 - MAX_ERRNO - 1)


@resident
def length(text: u64) -> u64:
    """Give the length of a NUL-terminated string."""
    n = u64(0)
    while load_u8(PA(text + n)) != 0:
        n = u64(n + 1)
    return n


@resident
def equal(left: u64, right: u64) -> bool:
    """Whether two NUL-terminated strings are the same."""
    n = u64(0)
    while True:
        byte = load_u8(PA(left + n))
        if byte != load_u8(PA(right + n)):
            return False
        if byte == 0:
            return True
        n = u64(n + 1)
    return False


@resident
def put(fd: u64, text: u64) -> None:
    """Write a NUL-terminated string."""
    syscall(WRITE, fd, text, length(text), 0, 0, 0)


@resident
def put_number(fd: u64, value: u64, scratch: u64) -> None:
    """Write a number in decimal; `scratch` has room for 24 bytes."""
    at = u64(scratch + 23)
    store_u8(PA(at), 0)
    rest = value
    while True:
        at = u64(at - 1)
        store_u8(PA(at), u64(48 + rest % 10))
        rest = rest // 10
        if rest == 0:
            break
    put(fd, at)


@resident
def exit_with(status: u64) -> None:
    """End the program."""
    syscall(EXIT_GROUP, status, 0, 0, 0, 0, 0)


@resident
def die(what: u64, result: u64, scratch: u64) -> None:
    """Say what could not be done and why, and end with status 1."""
    put(STDERR, bytes_address(b"vmm: cannot \0"))
    put(STDERR, what)
    put(STDERR, bytes_address(b" (errno \0"))
    put_number(STDERR, u64(0 - result), scratch)
    put(STDERR, bytes_address(b")\n\0"))
    exit_with(1)


@resident
def ioctl(fd: u64, request: u64, argument: u64) -> u64:
    """Make an ioctl."""
    return syscall(IOCTL, fd, request, argument, 0, 0, 0)


@resident
def map_anonymous(size: u64) -> u64:
    """Map cleared memory."""
    return syscall(MMAP, 0, size, PROT_READ_WRITE, MAP_ANONYMOUS, NO_FD, 0)


@resident
def read_file(path: u64, destination: u64, limit: u64) -> u64:
    """Read a whole file; the result is its size or an error. `limit` is the room there is."""
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
