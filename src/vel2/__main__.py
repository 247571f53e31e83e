"""The first lines of `vel2` and `python -m vel2`: be ready for Ctrl-C and for closed streams.

Loading the rest takes a third of a second, in which Ctrl-C would be a traceback. And a standard
stream that is closed (`vel2 run <&-`) leaves its number to the next file that is opened: the
program would then read a machine's socket as if it were the user's keyboard.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130


def leave(number: int, frame: FrameType | None) -> NoReturn:
    """End at once: nothing has been started yet."""
    os.write(2, b"\nvel2: interrupted\n")
    os._exit(INTERRUPTED)


def claim_streams() -> None:
    """Open what is closed of the standard streams.

    Input has ended then, messages are lost, and output fails as it does on a closed stream.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            # It gets the lowest number that is free, which is this one.
            os.open(os.devnull, mode)
    # Python has set those to None, whatever their types say.
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def main() -> None:
    """Be the console script."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, leave)
    claim_streams()
    from vel2.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
