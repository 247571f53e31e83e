"""Threads of a freestanding Linux program, and the lock that keeps them apart.

A thread shares memory, files and signals with the process, as pthread_create makes it. It runs one
resident function, whose name the program gives when it is built (`thread_stub`), and the end of
that function is the end of the thread. Nothing joins it: what a thread has to say goes through
shared memory.

The lock is a word: 0 free, 1 held, 2 held while somebody may sleep. Who finds it held says so with
a 2 and sleeps in futex(2); who releases a 2 wakes one sleeper. So a lock without contention costs
no system call, and a sleeper never misses its wake-up: futex(2) compares the word again before it
sleeps (futex(7)).
"""

from collections.abc import Callable
from typing import Any

from vel2.lang import (
    PA,
    Assembler,
    compare_exchange_u64,
    extern,
    resident,
    swap_u64,
    u64,
)
from vel2.runtime.linux import CLONE, EXIT, FUTEX, failed, map_anonymous, syscall

__all__ = ("STACK_BYTES", "acquire", "release", "start_thread", "thread_stub", "wait_on", "wake")

CLONE_VM, CLONE_FS, CLONE_FILES, CLONE_SIGHAND = 0x100, 0x200, 0x400, 0x800
CLONE_THREAD, CLONE_SYSVSEM = 0x10000, 0x40000
THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM
FUTEX_WAIT, FUTEX_WAKE = 0, 1
STACK_BYTES = 64 << 10
FREE, HELD, AWAITED = 0, 1, 2
ALL = (1 << 31) - 1


@extern("clone_thread")
def clone_thread(stack_top: u64, argument: u64) -> u64:
    """Start the thread's function with an argument on a stack; an error is -errno."""
    raise NotImplementedError("threads need Linux on arm64")


@resident
def start_thread(argument: u64) -> u64:
    """Start the thread's function with an argument, on a new stack; an error is -errno."""
    stack = map_anonymous(STACK_BYTES)
    if failed(stack):
        return stack
    return clone_thread(u64(stack + STACK_BYTES), argument)


def thread_stub(function: Callable[..., Any]) -> Assembler:
    """Give `clone_thread`, whose threads run a resident function of one argument."""
    a = Assembler("thread")
    a.label("clone_thread")
    # The new thread has the registers of this one, but for x0 and the stack.
    a.mov(9, 1)
    a.mov(1, 0)
    a.mov_imm(0, THREAD)
    for unused in (2, 3, 4):
        a.movz(unused, 0)
    a.movz(8, CLONE)
    a.svc(0)
    a.cbz(0, ".thread")
    a.ret()
    a.label(".thread")
    a.mov(0, 9)
    a.movz(29, 0)
    a.bl(function.__name__)
    a.movz(0, 0)
    a.movz(8, EXIT)
    a.svc(0)
    return a


@resident
def wait_on(word: u64, value: u64) -> None:
    """Sleep while a word's low half is `value`, or for no reason at all: look again."""
    syscall(FUTEX, word, FUTEX_WAIT, value, 0, 0, 0)


@resident
def wake(word: u64) -> None:
    """Wake all who sleep on a word."""
    syscall(FUTEX, word, FUTEX_WAKE, ALL, 0, 0, 0)


@resident
def acquire(lock: u64) -> None:
    """Wait until the lock at an address is ours."""
    found = compare_exchange_u64(PA(lock), FREE, HELD)
    while found != FREE:
        # Only a 2 makes the holder wake somebody. It stays 2 once we hold it: others may sleep.
        if swap_u64(PA(lock), AWAITED) == FREE:
            return
        wait_on(lock, AWAITED)


@resident
def release(lock: u64) -> None:
    """Let the next one in."""
    if swap_u64(PA(lock), FREE) == AWAITED:
        syscall(FUTEX, lock, FUTEX_WAKE, 1, 0, 0, 0)
