"""Commands whose process ends with the one that started it, however that one ends.

    python -I -S serving/child_process.py PARENT COMMAND ...

asks Linux to kill this process when its parent is gone, by SIGKILL or out of memory too, and
becomes the command, which keeps the wish. Other systems have no such wish; there it is
only the command.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def ending_with_parent(command: Sequence[str]) -> list[str]:
    """Returns the command that runs `command` and ends when this thread does.

    The kernel watches the thread that starts the process: start it from one that
    stays for as long as the process is needed.

    Raises:
        FileNotFoundError: There is no such program.
    """
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(errno.ENOENT, "no such program", command[0])
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def main() -> None:
    """Becomes the command of the arguments."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the wish was known
            sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"Cannot run {command[0]}: {error}")


if __name__ == "__main__":
    main()
