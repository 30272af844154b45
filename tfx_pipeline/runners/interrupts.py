"""Notes Ctrl-C, which Python loses where it falls into a callback of the interpreter's own."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """Whether somebody pressed Ctrl-C.

    An exception that is raised in the callback of a weak reference, in `__del__` or in code
    that C calls is printed as ignored and forgotten, `KeyboardInterrupt` too; and libraries
    take it for an error of theirs. The note stays.

    Attributes:
        noted: Whether the signal came.
    """

    def __init__(self) -> None:
        """Makes it with nothing noted."""
        self.noted = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handles the signal: notes it and raises `KeyboardInterrupt`, as Python does."""
        self.noted = True
        signal.default_int_handler(number, frame)

    def check(self) -> None:
        """Raises `KeyboardInterrupt` when the signal came, though it was lost then."""
        if self.noted:
            raise KeyboardInterrupt


@contextlib.contextmanager
def noted_interrupts() -> Iterator[Interrupts]:
    """Notes Ctrl-C for the length of a block, and puts back the handler that was there.

    Nothing is noted outside the main thread, which alone may handle signals, and where the
    signal is ignored (jobs of a shell in the background) or handled by somebody else.
    """
    interrupts = Interrupts()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupts
        return
    signal.signal(signal.SIGINT, interrupts.note)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
