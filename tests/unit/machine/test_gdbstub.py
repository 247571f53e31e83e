"""The client of QEMU's gdb server, against a server that plays a part of the protocol."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from vel2.machine.gdbstub import PC, PSTATE, DebugError, GdbStub, MachineGone

TARGET = '<target><xi:include href="core.xml"/><xi:include href="system-registers.xml"/></target>'
CORE = "".join(f'<reg name="x{n}" bitsize="64"/>' for n in range(31)) + (
    '<reg name="sp" bitsize="64"/><reg name="pc" bitsize="64"/><reg name="cpsr" bitsize="32"/>'
)
SYSTEM = (
    '<reg name="SCTLR" bitsize="64" regnum="90" type="int"/>'
    '<reg name="HCR_EL2" bitsize="64" regnum="95" type="int"/>'
)
DOCUMENTS = {"target.xml": TARGET, "core.xml": CORE, "system-registers.xml": SYSTEM}


class Server(threading.Thread):
    """Answer packets by a table of functions; what is not in it gets the empty answer.

    :ivar asked: every command, in order.
    """

    def __init__(self, near: socket.socket) -> None:
        super().__init__(daemon=True)
        self._socket = near
        self.asked: list[str] = []
        self.answers: dict[str, Callable[[str], str | None]] = {
            "qSupported": lambda text: "PacketSize=1000",
            "?": lambda text: "T05thread:p01.01;",
            "Hg": lambda text: "OK",
            "Qqemu.PhyMemMode": lambda text: "OK",
            "qXfer": self._document,
        }

    @staticmethod
    def _document(text: str) -> str:
        _, _, _, name, span = text.split(":")
        start, length = (int(x, 16) for x in span.split(","))
        part = DOCUMENTS[name][start : start + min(length, 0x100)]
        return ("l" if start + len(part) == len(DOCUMENTS[name]) else "m") + part

    def run(self) -> None:
        """Serve until the other end is closed."""
        with self._socket.makefile("rb") as stream:
            while byte := stream.read(1):
                if byte == b"\x03":
                    self.asked.append("interrupt")
                    self._send("T02thread:p01.02;")
                if byte != b"$":
                    continue
                text = b"".join(iter(lambda: stream.read(1), b"#")).decode()
                stream.read(2)
                self.asked.append(text)
                names = [name for name in self.answers if text.startswith(name)]
                answer = self.answers[names[0]](text) if names else ""
                if answer is not None:
                    self._send(answer)

    def _send(self, text: str) -> None:
        data = text.encode("latin-1")
        self._socket.sendall(b"+$%s#%02x" % (data, sum(data) & 0xFF))


@pytest.fixture
def pair() -> Iterator[tuple[GdbStub, Server]]:
    near, far = socket.socketpair()
    with near, far:
        server = Server(far)
        server.start()
        yield GdbStub(near), server
        near.shutdown(socket.SHUT_RDWR)
        server.join()


def test_registers_are_found_by_name(pair: tuple[GdbStub, Server]) -> None:
    stub, server = pair
    server.answers["p5f"] = lambda text: struct.pack("<Q", 0x8000_0001).hex()
    assert set(stub.names) == {"SCTLR", "HCR_EL2"}
    assert stub.system(1, "HCR_EL2") == 0x8000_0001
    assert server.asked[-2:] == ["Hgp1.2", "p5f"]
    with pytest.raises(KeyError):
        stub.system(1, "ICH_HCR_EL2")


def test_general_registers(pair: tuple[GdbStub, Server]) -> None:
    stub, server = pair
    packed = struct.pack("<33QI", *range(100, 133), 0x3C5).hex()
    server.answers["g"] = lambda text: packed + "00" * 64
    general = stub.general(0)
    assert general.x == tuple(range(100, 131))
    assert (general.sp, general.pc, general.pstate) == (131, 132, 0x3C5)


def test_registers_are_written_in_the_machines_order(pair: tuple[GdbStub, Server]) -> None:
    stub, server = pair
    server.answers["P"] = lambda text: "OK"
    stub.write_general(0, PC, 0x1234)
    stub.write_general(0, PSTATE, 0x3C5)
    assert server.asked[-2:] == ["P20=3412000000000000", "P21=c5030000"]


def test_memory_is_physical_or_a_cpus(pair: tuple[GdbStub, Server]) -> None:
    stub, server = pair
    server.answers["m"] = lambda text: "00ff"
    server.answers["M"] = lambda text: "OK"
    assert stub.read(0x4000_0000, 2) == b"\x00\xff"
    stub.write(0x1000, b"ab", cpu=0)
    assert server.asked[-5:] == [
        "Qqemu.PhyMemMode:1",
        "m40000000,2",
        "Hgp1.1",
        "Qqemu.PhyMemMode:0",
        "M1000,2:6162",
    ]


def test_a_refusal_is_an_error(pair: tuple[GdbStub, Server]) -> None:
    stub, server = pair
    server.answers["m"] = lambda text: "E14"
    with pytest.raises(DebugError) as refused:
        stub.read(0, 4)
    assert str(refused.value) == "QEMU's gdb server refuses 'm0,4' (E14)."


def test_a_run_ends_at_a_breakpoint(pair: tuple[GdbStub, Server]) -> None:
    stub, server = pair
    server.answers["vCont"] = lambda text: "T05thread:p01.03;"
    assert stub.run([0, 2], 60) == 2
    assert server.asked[-1] == "vCont;c:p1.1;c:p1.3"
    assert stub.run(None, 60) == 2
    assert server.asked[-1] == "vCont;c"


def test_a_run_that_takes_too_long_is_stopped(pair: tuple[GdbStub, Server]) -> None:
    stub, server = pair
    server.answers["vCont"] = lambda text: None
    assert stub.run(None, 0.01) is None
    assert server.asked[-2:] == ["vCont;c", "interrupt"]


def test_the_end_of_the_machine_is_told(pair: tuple[GdbStub, Server]) -> None:
    stub, server = pair
    server.answers["vCont"] = lambda text: "W00"
    with pytest.raises(MachineGone) as gone:
        stub.run(None, 60)
    assert str(gone.value) == "the machine ended while it ran (W00)."
    assert stub.is_gone
