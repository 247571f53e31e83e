"""Become the program given, tied to the life of the parent.

Run as a script: `python -I -S supervisor.py PARENT-PID PROGRAM ARGUMENT...`. The kernel then sends
SIGKILL when the thread that started us ends, so no machine survives its owner, however that one
dies. A hook between fork and exec could do the same, but running Python code there is not safe in
a program with threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
EXEC_FAILED = 127


def main() -> None:
    """Ask for the signal, make sure the parent was still there, and exec."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    # A file that has grown too large (`Machine`) is then an error of that write, not QEMU's end.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if os.getppid() != parent:
        sys.exit(EXEC_FAILED)  # it died before the request; nobody would have killed us
    try:
        os.execv(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(EXEC_FAILED)


if __name__ == "__main__":
    main()
