"""The launcher: makes the machine that a request describes.

    request = Request(Kernel(load_kernel(path), append="console=ttyAMA0"))
    with closing(launch(request)) as session:
        with session:
            session.console.wait_for("login: ", 60)
            ended = session.wait()
        print(ended, session.traps())

Leaving the session ends the machine; what L0 counted and all of memory can still be read. `close`
gives the memory back.
"""

from vel2.control.guest import Start
from vel2.control.request import Request
from vel2.control.session import Session
from vel2.machine.boot import entry_stub

__all__ = ("NativeVm", "launch")


class NativeVm(Session):
    """A guest at the machine's real EL2, where nobody counts traps.

    QEMU's own loader knows fewer kinds of kernel than ours, and no domains: ours is used.
    """

    def _examine(self, tree: bytes) -> None:
        """Take any machine: there is nothing to be kept from its guest."""

    def _admit(self) -> None:
        """Take any device."""

    def _enter_at(self, start: Start) -> int | None:
        if self.request.guest.flash is not None:
            return None
        return entry_stub(self.memory, start.pc, start.x0, start.stub) if start.x0 else start.pc


def launch(request: Request) -> Session:
    """Make the machine that was asked for, not started yet.

    :raises UserError: when it cannot be made of what was given.
    """
    if request.native:
        return NativeVm(request)
    from vel2.control.vm import Vm  # it brings in the compiler

    return Vm(request)
