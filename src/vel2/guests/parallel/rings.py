"""Threads that wait for each other: at the end of a part, and for a token that goes round.

Each hop of a token wakes a thread that sleeps on another CPU, which itself then has nothing to do
but to sleep: the kernel wakes it by an inter-processor interrupt.
"""

from vel2.guests.parallel.state import State, Worker
from vel2.guests.parallel.work import ROUNDS
from vel2.lang import PA, address_of, fetch_add_u64, load_acquire_u64, resident, u64
from vel2.runtime.linux import READ, WRITE, syscall
from vel2.runtime.thread import wait_on, wake

__all__ = ("futex_ring", "meet", "pipe_ring")

TOKEN_BYTES = 8
LOW_WORD = 0xFFFF_FFFF


@resident
def meet(state: State) -> None:
    """Wait until all threads have come here."""
    arrived = u64(address_of(state) + State.offset_of("arrived"))
    place = fetch_add_u64(PA(arrived), 1)
    needed = u64(u64(place // state.cpus + 1) * state.cpus)
    if u64(place + 1) == needed:
        wake(arrived)
        return
    while True:
        seen = load_acquire_u64(PA(arrived))
        if seen >= needed:
            return
        wait_on(arrived, seen & LOW_WORD)


@resident
def send(token: u64, following: Worker, value: u64) -> None:
    """Give the token to the thread after this one; `token` is the address of where it lies."""
    at_token = PA(token)
    fetch_add_u64(at_token, value)
    syscall(WRITE, u64(following.pipe[1]), token, TOKEN_BYTES, 0, 0, 0)


@resident
def pipe_ring(state: State, own: Worker, following: Worker) -> None:
    """Let the token go round by pipes; whoever has it adds one."""
    token = u64(address_of(own) + Worker.offset_of("token"))
    if own.number == 0:
        send(token, following, 1)
    for n in range(ROUNDS):
        syscall(READ, u64(own.pipe[0]), token, TOKEN_BYTES, 0, 0, 0)
        if own.number != 0 or n + 1 < ROUNDS:
            send(token, following, 1)
        else:
            state.token = own.token


@resident
def futex_ring(state: State, own: Worker) -> None:
    """Let the turn go round by futexes: it is the thread's whose number it has, modulo all."""
    turn = u64(address_of(state) + State.offset_of("turn"))
    for _ in range(ROUNDS):
        while True:
            seen = load_acquire_u64(PA(turn))
            if seen % state.cpus == own.number:
                break
            wait_on(turn, seen & LOW_WORD)
        fetch_add_u64(PA(turn), 1)
        wake(turn)
