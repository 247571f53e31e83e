"""The payload's marks: moments at which the host looks at L0's counters.

Neither L1 nor L0 may see a mark, it may take no time, and the host must be sure of what it reads.
Semihosting gives all this: QEMU itself executes `HLT #0xF000` at any EL, as one instruction, and
does file operations while the vCPU stands in that instruction. The payload writes the mark to a
FIFO of the host, then reads a byte from another, which the host writes when it has seen enough.
Nothing moves meanwhile: with icount, the guest's clock is the count of instructions executed.

(A debugger's breakpoint would not do: a vCPU that stops at one counts as idle for a moment, and
icount skips idle time, up to the next timer.)
"""

from vel2.bench.layout import PATH_BYTES, Mark, Parameters, State
from vel2.lang import address_of, resident, u64
from vel2.runtime.semihosting import (
    MODE_RB,
    MODE_WB,
    SYS_GET_CMDLINE,
    SYS_OPEN,
    SYS_READ,
    SYS_WRITE,
    semihosting_call,
)

FIRST_FILE, SECOND_FILE = "mark0", "mark1"
"""The host's files: to the host, and from it. They differ in the last character."""
SECOND_FILE_LAST = ord(SECOND_FILE[-1])
PATH = State.offset_of("path")
BLOCK = State.offset_of("block")
ANSWER = State.offset_of("answer")


@resident
def call(state: State, operation: u64, a: u64, b: u64, c: u64) -> u64:
    """Make a semihosting call with three arguments."""
    state.block[0] = a
    state.block[1] = b
    state.block[2] = c
    return semihosting_call(operation, u64(address_of(state) + BLOCK))


@resident
def open_files(state: State) -> None:
    """Open the host's files. The machine's semihosting command line is the path of the first."""
    path = u64(address_of(state) + PATH)
    call(state, SYS_GET_CMDLINE, path, PATH_BYTES, 0)
    length = state.block[1]
    state.to_host = call(state, SYS_OPEN, path, MODE_WB, length)
    state.path[u64(length - 1) % PATH_BYTES] = SECOND_FILE_LAST
    state.from_host = call(state, SYS_OPEN, path, MODE_RB, length)


@resident
def pass_mark(state: State, parameters: Parameters) -> None:
    """Tell the host where the program is, and wait until it has seen that."""
    state.mark.sequence = u64(state.mark.sequence + 1)
    if parameters.has_marks != 0:
        call(state, SYS_WRITE, state.to_host, address_of(state.mark), Mark.size)
        call(state, SYS_READ, state.from_host, u64(address_of(state) + ANSWER), 1)
