"""One QEMU process as an object.

A running machine owns nothing in the file system: its RAM is a memfd, and console, doorbell and QMP
are socket pairs whose far ends QEMU inherits. A service thread starts QEMU, reads everything it
sends and waits for its end. The supervisor script makes the kernel kill QEMU when that thread ends,
so that QEMU never outlives us, even if we are killed.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import resource
import shutil
import socket
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from qemu.qmp import EventListener, QMPClient, QMPError

from vel2 import supervisor
from vel2.errors import LaunchError
from vel2.machine.config import MachineConfig, board, machine_arguments, run_arguments
from vel2.machine.console import Console
from vel2.machine.memory import GuestMemory
from vel2.machine.outcome import (
    ExitReason,
    MachineExit,
    classify,
    find_panic,
)
from vel2.machine.panic import PanicWatch
from vel2.machine.qmp import Monitor, MonitorError
from vel2.machine.version import require_qemu

__all__ = ("DEBUG_CHARDEV", "Machine", "MachineConfig")

DEBUG_CHARDEV = "vel2-debug"
"""A socket that nobody listens on until somebody looks into the machine (`gdbstub`)."""

LAUNCH_TIMEOUT_S = 60.0
QUIT_TIMEOUT_S = 3.0
SHUTDOWN_TIMEOUT_S = 10.0
"""For QEMU to end once it has said that its guest powered off. QEMU 10.0.2 sometimes never does,
when the guest is so quick that `cont` is still at work: its main loop hangs, and QMP with it."""
STDERR_LIMIT = 64 << 10
READ_BYTES = 64 << 10
TEMPORARY = "/var/tmp"
"""Where QEMU puts temporary files unless TMPDIR says otherwise."""


class Machine:
    """Start QEMU on entry, end it on exit.

    :param config: the machine to build.
    :param memory: RAM to use, so that it can be filled before the start; made here when None.
        RAM given stays open, RAM made here is closed on exit.
    :param console_log: file that receives all console bytes.
    :raises LaunchError: on entry, when QEMU refuses to start.
    """

    def __init__(
        self,
        config: MachineConfig,
        memory: GuestMemory | None = None,
        console_log: Path | None = None,
    ) -> None:
        if memory is not None and memory.size != config.memory_bytes:
            raise ValueError("the memory given is not as large as the configuration says")
        self.config = config
        self._owns_memory = memory is None
        self.memory = GuestMemory(config.memory_bytes) if memory is None else memory
        self.console = Console(console_log)
        self.command: tuple[str, ...] = ()
        self._monitor: Monitor | None = None
        self._doorbell: socket.socket | None = None
        self._debug: socket.socket | None = None
        self._exit: MachineExit | None = None
        self._forced: ExitReason | None = None
        self._failure: Exception | None = None
        self._stderr = bytearray()
        self._process: asyncio.subprocess.Process | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._ended = threading.Event()
        self._attention = threading.Event()
        """Set when it has ended, and when who waits for that is to hear of something else."""
        self._interruption: Exception | None = None
        self._began = 0.0

    # What users call.

    @property
    def monitor(self) -> Monitor:
        """QMP of the running machine."""
        if self._monitor is None:
            raise MonitorError("the machine has not been started")
        return self._monitor

    @property
    def doorbell(self) -> socket.socket:
        """Host end of the second UART, a blocking stream socket; end of file when QEMU ends."""
        if self._doorbell is None:
            raise ValueError("this machine was configured without a doorbell, or is not started")
        return self._doorbell

    @property
    def debug(self) -> socket.socket:
        """Host end of QEMU's `DEBUG_CHARDEV`, which is silent until `gdbstub` has it served."""
        if self._debug is None:
            raise MonitorError("the machine has not been started")
        return self._debug

    @property
    def exit(self) -> MachineExit | None:
        """How the machine ended; None while it runs."""
        return self._exit

    @property
    def pid(self) -> int | None:
        """QEMU's process id; None before the start."""
        return self._process.pid if self._process else None

    @property
    def stderr(self) -> str:
        """What QEMU wrote to standard error and output (the last 64 KiB)."""
        return bytes(self._stderr).decode("utf-8", "replace")

    def start(self) -> None:
        """Launch QEMU and wait until it answers.

        :raises LaunchError: when it does not come up.
        """
        if self._thread is not None:
            raise ValueError("a machine is started once; make a new one")
        qemu, _ = require_qemu()
        self._began = time.monotonic()
        self._thread = threading.Thread(
            target=self._serve, args=(str(qemu),), name="vel2-machine", daemon=True
        )
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self.stop()
            raise

    def wait(self, timeout: float | None = None) -> MachineExit:
        """Wait for the end; when `timeout` seconds have passed, end the machine (TIMEOUT).

        :raises Exception: what a listener of the console or the monitor raised; that ended the
            machine.
        """
        woken = self._attention.wait(timeout)
        if self._interruption is not None and not self._ended.is_set():
            raise self._interruption
        if not woken:
            self.stop(ExitReason.TIMEOUT)
        if self._failure is not None:
            raise self._failure
        assert self._exit is not None
        return self._exit

    def interrupt(self, error: Exception | None) -> None:
        """Have who waits for the end get `error` instead, until this is called with None."""
        self._interruption = error
        if error is not None:
            self._attention.set()
        elif not self._ended.is_set():
            self._attention.clear()

    def poll(self, timeout: float = 0) -> MachineExit | None:
        """Wait at most `timeout` seconds for the end; None when the machine still runs."""
        self._ended.wait(timeout)
        return self._exit

    def stop(self, reason: ExitReason = ExitReason.STOPPED) -> None:
        """End the machine now and wait for QEMU's end; does nothing when it has ended.

        A listener, which runs on the service thread, may call it too: it then does not wait.

        :param reason: what `exit` will say, unless the guest ended first.
        """
        if self._thread is None:
            return
        if threading.current_thread() is self._thread:
            self._forced = self._forced or reason
            self._kill()
            return
        if not self._ended.is_set():
            self._forced = self._forced or reason
            # A quit lets QEMU finish its own logs. It may be unable to: then it is killed.
            try:
                self.monitor.execute("quit", timeout=QUIT_TIMEOUT_S)
                killing = not self._ended.wait(QUIT_TIMEOUT_S)
            except MonitorError:
                killing = True
            if killing:
                self._kill()
        self._thread.join()

    def close(self) -> None:
        """End the machine and release everything it holds."""
        self.stop()
        self.console.close()
        for near in (self._doorbell, self._debug):
            if near is not None:
                near.close()
        if self._owns_memory:
            self.memory.close()

    def __enter__(self) -> "Machine":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # The service thread.

    def _serve(self, qemu: str) -> None:
        try:
            asyncio.run(self._run(qemu))
        except Exception as error:
            if self._started.done():
                self._failure = error
            else:
                self._started.set_exception(error)
        finally:
            self.console.close()
            if self._exit is None:
                seconds = time.monotonic() - self._began
                detail = f"vel2 let go of it: {self._failure}"
                self._exit = MachineExit(ExitReason.DIED, detail, 0, seconds)
            self._ended.set()
            self._attention.set()

    async def _run(self, qemu: str) -> None:
        self._loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            console, console_far = _socket_pair(stack)
            control, control_far = _socket_pair(stack)
            self._debug, debug_far = socket.socketpair()
            far_ends = [console_far, control_far, stack.enter_context(debug_far)]
            if self.config.doorbell:
                self._doorbell, doorbell_far = socket.socketpair()
                # As few bytes as possible wait in it: beyond, the CPU that writes one does.
                doorbell_far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
                far_ends.append(stack.enter_context(doorbell_far))
            self.command = self._arguments(qemu, [far.fileno() for far in far_ends])
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", supervisor.__file__, str(os.getpid())),
                *self.command,
                pass_fds=[self.memory.fd, *(far.fileno() for far in far_ends)],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                # The terminal's Ctrl-C is for us; we decide what becomes of QEMU.
                start_new_session=True,
            )
            self._process = process
            for far in far_ends:
                far.close()
            try:
                await self._attend(process, console, control)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def _attend(
        self, process: asyncio.subprocess.Process, console: socket.socket, control: socket.socket
    ) -> None:
        """Read everything until the process has ended."""
        readers = [
            asyncio.create_task(self._read_console(console)),
            asyncio.create_task(self._read_stderr(process)),
        ]
        client = QMPClient("vel2")
        listener = EventListener()
        client.register_listener(listener)
        connecting = asyncio.create_task(client.connect(control))
        ending = asyncio.create_task(process.wait())
        await asyncio.wait(
            (connecting, ending),
            timeout=LAUNCH_TIMEOUT_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not connecting.done() or connecting.exception() is not None:
            await self._fail(process, connecting, readers)
            return
        self._monitor = Monitor(client, asyncio.get_running_loop())
        PanicWatch(self.console, self._monitor, self._ended, self._end_after_panic)
        limit_files(process.pid, await client.execute("query-block"))
        collecting = asyncio.create_task(self._monitor.collect(listener))
        if not self.config.start_paused and not self.config.waits:
            with contextlib.suppress(QMPError, EOFError, OSError):  # its end is seen below
                await client.execute("cont")
        self._started.set_result(None)
        hurrying = asyncio.create_task(self._end_after_shutdown(self._monitor))
        await self._until(ending, {*readers, collecting, hurrying})
        hurrying.cancel()
        await asyncio.gather(hurrying, return_exceptions=True)
        results = await asyncio.gather(*readers, return_exceptions=True)
        results += await self._let_go(client, listener, collecting)
        self._exit = classify(
            self._monitor.events,
            find_panic(self.console.lines),
            self._forced,
            ending.result(),
            time.monotonic() - self._began,
        )
        self._failure = next((error for error in results if isinstance(error, Exception)), None)

    async def _let_go(
        self, client: QMPClient, listener: EventListener, collecting: asyncio.Task[None]
    ) -> list[BaseException | None]:
        """Take the last events of a QEMU that has ended, and close; give what went wrong."""
        assert self._monitor is not None
        # The other end is closed: the library reads what is left, then reports the end of file.
        with contextlib.suppress(QMPError, EOFError, OSError):
            await client.disconnect()
        collecting.cancel()
        results = [*await asyncio.gather(collecting, return_exceptions=True)]
        self._monitor.drain(listener)
        self._monitor.close()
        self.console.close()
        return results

    async def _until(self, ending: asyncio.Task[int], helpers: set[asyncio.Task[None]]) -> None:
        """Wait for QEMU's end; end it when a helper fails, so that nobody waits in vain."""
        pending: set[asyncio.Task[Any]] = {ending, *helpers}
        while not ending.done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if any(task.exception() is not None for task in done):
                self._kill()

    async def _fail(
        self,
        process: asyncio.subprocess.Process,
        connecting: asyncio.Task[None],
        readers: list[asyncio.Task[None]],
    ) -> None:
        """End a launch that did not come up, and say why."""
        # QMP lost means that QEMU is ending: let it, or its exit status is that of our kill.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), QUIT_TIMEOUT_S if connecting.done() else 0)
        exit_status = process.returncode
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        connecting.cancel()
        await asyncio.gather(connecting, *readers, return_exceptions=True)
        if exit_status is None and not connecting.cancelled():
            exit_status = process.returncode
        summary = "QEMU did not start"
        if exit_status is None:
            summary = f"QEMU did not answer within {LAUNCH_TIMEOUT_S:g} s of its start"
        tail = "\n".join(part for part in (self.stderr.rstrip(), self.console.tail(10)) if part)
        self._exit = MachineExit(
            ExitReason.DIED,
            summary,
            process.returncode or 0,
            time.monotonic() - self._began,
        )
        self._started.set_exception(LaunchError(summary, self.command, exit_status, tail))

    async def _read_console(self, near: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=near)
        loop = asyncio.get_running_loop()

        def send(data: bytes) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the machine ended
                loop.call_soon_threadsafe(writer.write, data)

        self.console.connect(send)
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(READ_BYTES):
                    self.console.feed(data)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while data := await process.stdout.read(READ_BYTES):
            self._stderr += data
            del self._stderr[:-STDERR_LIMIT]

    async def _end_after_shutdown(self, monitor: Monitor) -> None:
        """End a QEMU that reports its guest's power-off and then does not end by itself."""
        await monitor.shutdown()
        await asyncio.sleep(SHUTDOWN_TIMEOUT_S)
        self._kill()

    def _end_after_panic(self) -> None:
        """End the machine of a kernel that has panicked and hangs, because nobody else will."""
        self.stop(ExitReason.PANIC)

    def _kill(self) -> None:
        process, loop = self._process, self._loop
        if process is None or loop is None:
            return

        def kill() -> None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(kill)

    def _arguments(self, qemu: str, descriptors: list[int]) -> tuple[str, ...]:
        console, control, debug, *doorbell = descriptors
        arguments = [
            qemu,
            "-M",
            f"{board(self.config)},memory-backend=ram",
            *machine_arguments(self.config),
        ]
        arguments += [
            "-object",
            f"memory-backend-file,id=ram,share=on,size={self.memory.size},"
            f"mem-path=/proc/self/fd/{self.memory.fd}",
        ]
        arguments += ["-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console"]
        for fd in doorbell:
            arguments += ["-chardev", f"socket,id=doorbell,fd={fd}", "-serial", "chardev:doorbell"]
        arguments += ["-chardev", f"socket,id=control,fd={control}"]
        arguments += ["-mon", "chardev=control,mode=control"]
        arguments += ["-chardev", f"socket,id={DEBUG_CHARDEV},fd={debug}"]
        arguments += run_arguments(self.config)
        return (*arguments, *self.config.extra_arguments)


def limit_files(pid: int, blocks: Any) -> None:
    """Bound every file that QEMU writes, whatever its guest writes to a device.

    A file may take half of what is free where temporary files go, or be as large as the largest
    image there is now. Beyond, a write is an I/O error of the guest's device.

    :param blocks: what QMP `query-block` returned.
    """
    largest = shutil.disk_usage(os.environ.get("TMPDIR", TEMPORARY)).free // 2
    for block in blocks:
        with contextlib.suppress(KeyError, OSError, ValueError):
            largest = max(largest, os.stat(block["inserted"]["image"]["filename"]).st_size)
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    if hard != resource.RLIM_INFINITY:
        largest = min(largest, hard)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, hard))


def _socket_pair(stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    near, far = socket.socketpair()
    return stack.enter_context(near), stack.enter_context(far)
