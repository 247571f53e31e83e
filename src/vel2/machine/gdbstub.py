"""QEMU's own gdb server, as the way into a stopped machine.

QMP can stop a machine, and QEMU's gdb server shows what its CPUs hold then: general registers and
most system registers, by the names of its own source. It also writes general registers and guest
memory, steps single instructions, and breaks at addresses, whatever Exception level is there.

The server is not started before somebody asks for it (`attach`), on a socket that only we have. It
and QMP work on one run state: `stop` and `cont` go on to work as before.

The protocol is GDB's remote serial protocol (GDB manual, appendix E): packets `$data#checksum`,
each acknowledged by `+`. An answer to a command that lets CPUs run comes when they stop.
"""

import contextlib
import re
import socket
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from vel2.errors import UserError
from vel2.machine.qmp import Monitor, MonitorError

__all__ = ("PC", "PSTATE", "SP", "DebugError", "GdbStub", "General", "MachineGone", "attach")

TIMEOUT_S = 30.0
SP, PC, PSTATE = 31, 32, 33
"""Numbers of registers that are not x0 to x30."""
GENERAL = struct.Struct("<33QI")
CHUNK = 0x800
"""Bytes of memory, or of a description, asked for at once."""
ESCAPE, ESCAPED_BY = b"}", 0x20
INTERRUPT = b"\x03"
REGISTER = re.compile(r'<reg name="([^"]+)" bitsize="\d+"(?: regnum="(\d+)")?')
WATCHED = re.compile(r"[ar]?watch:([0-9a-f]+);")
STOPPED = re.compile(r"thread:p[0-9a-f]+\.([0-9a-f]+);")
INCLUDED = re.compile(r'<xi:include href="([^"]+)"')


class DebugError(UserError):
    """QEMU's gdb server did not do what it was asked for."""

    exit_code = 3


class MachineGone(DebugError):
    """The machine has ended."""


@dataclass(frozen=True)
class General:
    """One CPU's general registers.

    :ivar x: x0 to x30. :ivar sp: the stack pointer in use. :ivar pstate: NZCV, DAIF, EL and SP.
    """

    x: tuple[int, ...]
    sp: int
    pc: int
    pstate: int


def attach(monitor: Monitor, near: socket.socket, chardev: str) -> "GdbStub":
    """Have a stopped machine served, and speak with the server.

    :param near: our end of the character device `chardev`.
    :raises DebugError: when QEMU does not start it.
    """
    try:
        said = monitor.execute(
            "human-monitor-command", {"command-line": f"gdbserver chardev:{chardev}"}
        )
    except MonitorError as error:
        raise DebugError(f"QEMU's gdb server did not start ({error}).") from error
    if "Could not" in said:
        raise DebugError(f"QEMU's gdb server did not start ({' '.join(said.split())}).")
    return GdbStub(near)


class GdbStub:
    """One connection. All of it is for a stopped machine; `step` and `run` stop it again.

    :ivar is_gone: the machine has ended. :ivar watched: the address whose access ended the last
        `run`, None when it was no watchpoint.
    """

    def __init__(self, near: socket.socket) -> None:
        self._socket = near
        self._socket.settimeout(TIMEOUT_S)
        self._received = b""
        self._thread = -1
        self._physical = False
        self.is_gone = False
        self.watched: int | None = None
        self.ask("qSupported:multiprocess+;vContSupported+")
        self.ask("?")
        self._numbers = self._describe()

    # What CPUs hold.

    @property
    def names(self) -> Collection[str]:
        """The names of QEMU's for system registers that can be read."""
        return self._numbers.keys()

    def general(self, cpu: int) -> General:
        """Read a CPU's general registers."""
        self._select(cpu)
        data = bytes.fromhex(self.ask("g")[: 2 * GENERAL.size])
        *values, pstate = GENERAL.unpack(data)
        return General(tuple(values[:SP]), values[SP], values[PC], pstate)

    def system(self, cpu: int, name: str) -> int:
        """Read a system register by QEMU's name.

        :raises KeyError: when QEMU does not show it.
        """
        number = self._numbers[name]
        self._select(cpu)
        return int.from_bytes(bytes.fromhex(self._good(f"p{number:x}")), "little")

    def write_general(self, cpu: int, number: int, value: int) -> None:
        """Write x0 to x30 or one of `SP`, `PC`, `PSTATE`, by number."""
        self._select(cpu)
        size = 4 if number == PSTATE else 8
        self._good(f"P{number:x}={value.to_bytes(size, 'little').hex()}", "OK")

    # Memory.

    def read(self, address: int, length: int, cpu: int | None = None) -> bytes:
        """Read memory: physical, or as `cpu` translates now.

        :raises DebugError: when nothing is there.
        """
        self._address_with(cpu)
        data = b""
        while len(data) < length:
            count = min(CHUNK, length - len(data))
            data += bytes.fromhex(self._good(f"m{address + len(data):x},{count:x}"))
        return data

    def write(self, address: int, data: bytes, cpu: int | None = None) -> None:
        """Write memory, as `read`; what QEMU has translated of it is forgotten.

        :raises DebugError: when nothing is there.
        """
        self._address_with(cpu)
        for start in range(0, len(data), CHUNK):
            part = data[start : start + CHUNK]
            self._good(f"M{address + start:x},{len(part):x}:{part.hex()}", "OK")

    def _address_with(self, cpu: int | None) -> None:
        if cpu is not None:
            self._select(cpu)
        if self._physical != (cpu is None):
            self._physical = cpu is None
            self._good(f"Qqemu.PhyMemMode:{int(self._physical)}", "OK")

    # Running.

    def step(self, cpu: int) -> None:
        """Let one CPU execute one instruction, the others none; no interrupt is taken."""
        self.ask(f"vCont;s:p1.{cpu + 1:x}")
        self._thread = -1

    def run(self, cpus: Iterable[int] | None, timeout: float) -> int | None:
        """Let CPUs run until one meets a breakpoint; give which, None when there was no time left.

        :param cpus: all when None.
        :raises MachineGone: when the machine ends meanwhile.
        """
        which = ";c" if cpus is None else "".join(f";c:p1.{cpu + 1:x}" for cpu in cpus)
        self._send(f"vCont{which}")
        in_time = True
        try:
            answer = self._answer(timeout)
        except TimeoutError:
            in_time = False
            answer = self._interrupt()
        except KeyboardInterrupt:
            self._interrupt()
            raise
        self._thread = -1  # QEMU has chosen the CPU that stopped
        watched = WATCHED.search(answer)
        self.watched = int(watched[1], 16) if watched else None
        found = STOPPED.search(answer)
        if found is None:
            self.is_gone = True
            raise MachineGone(f"the machine ended while it ran ({answer}).")
        return int(found[1], 16) - 1 if in_time else None

    def _interrupt(self) -> str:
        """Stop what runs, and give why it stopped: perhaps just before."""
        self._socket.sendall(INTERRUPT)
        return self._answer(TIMEOUT_S)

    def insert(self, address: int) -> None:
        """Set a breakpoint at a virtual address of every Exception level."""
        self._good(f"Z1,{address:x},4", "OK")

    def remove(self, address: int) -> None:
        """Take a breakpoint away."""
        self._good(f"z1,{address:x},4", "OK")

    def watch(self, address: int, length: int) -> None:
        """Stop behind each store to a virtual address of every Exception level."""
        self._good(f"Z2,{address:x},{length:x}", "OK")

    def unwatch(self, address: int, length: int) -> None:
        """Take a watchpoint away."""
        self._good(f"z2,{address:x},{length:x}", "OK")

    # The protocol.

    def ask(self, text: str) -> str:
        """Send a command and give what is answered.

        :raises DebugError: when nothing is.
        """
        self._send(text)
        try:
            return self._answer(TIMEOUT_S)
        except TimeoutError as error:
            raise DebugError(
                f"QEMU's gdb server does not answer within {TIMEOUT_S:g} s."
            ) from error

    def _send(self, text: str) -> None:
        data = text.encode()
        try:
            self._socket.sendall(b"$%s#%02x" % (data, sum(data) & 0xFF))
        except OSError as error:
            raise self._gone(error) from error

    def _answer(self, timeout: float) -> str:
        self._socket.settimeout(timeout)
        try:
            return self._packet()
        except TimeoutError:
            raise
        except (OSError, EOFError) as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> "MachineGone":
        self.is_gone = True
        return MachineGone(f"the machine has ended, or its gdb server has ({error}).")

    def _good(self, text: str, wanted: str | None = None) -> str:
        """Ask for what can be refused.

        :raises DebugError: when it is.
        """
        answer = self.ask(text)
        if re.fullmatch(r"E[0-9a-f]{2}|", answer) or wanted not in (None, answer):
            raise DebugError(f"QEMU's gdb server refuses {text[:40]!r} ({answer or 'unknown'}).")
        return answer

    def _select(self, cpu: int) -> None:
        if self._thread != cpu:
            self._good(f"Hgp1.{cpu + 1:x}", "OK")
            self._thread = cpu

    def _byte(self) -> bytes:
        if not self._received:
            self._received = self._socket.recv(1 << 16)
            if not self._received:
                raise EOFError("the machine has ended")
        byte, self._received = self._received[:1], self._received[1:]
        return byte

    def _packet(self) -> str:
        while self._byte() != b"$":
            pass
        data = bytearray()
        while (byte := self._byte()) != b"#":
            data += bytes([self._byte()[0] ^ ESCAPED_BY]) if byte == ESCAPE else byte
        self._byte(), self._byte()
        with contextlib.suppress(BrokenPipeError):  # its last word: that the machine has ended
            self._socket.sendall(b"+")
        return data.decode("latin-1")

    def _document(self, name: str) -> str:
        text = ""
        while True:
            part = self.ask(f"qXfer:features:read:{name}:{len(text):x},{CHUNK:x}")
            text += part[1:]
            if part[:1] != "m":
                return text

    def _describe(self) -> Mapping[str, int]:
        """Read which system registers there are: numbers by name."""
        numbers: dict[str, int] = {}
        follows = 0
        for name in INCLUDED.findall(self._document("target.xml")):
            for register, number in REGISTER.findall(self._document(name)):
                follows = int(number) if number else follows
                if name.startswith("system"):
                    numbers[register] = follows
                follows += 1
        return numbers
