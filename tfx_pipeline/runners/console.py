"""Prints a line a component on the terminal; everything else that is logged goes to a file."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from absl import logging as absl_logging

# What the Trainer logs is worth seeing as it happens: what it chose, and how it goes.
TRAINING = ("models/trainer.py", "models/training/callbacks.py")


class Console(logging.Handler):
    """Sends the log to a file and shows components as they start and finish.

    TFX's local runner reports through its log only, so this handler reads the
    log records: "Component X is running", "A cached execution ... is used".

    Attributes:
        running: Id of the component that runs now.
        cached: Ids of the components that were answered from the cache.
        done: Ids of the components that have finished, these among them.
    """

    def __init__(
        self, log_file: Path, components: list[str], finished: Callable[[], None] = lambda: None
    ):
        """Makes a console for the components of one run, in any order.

        Args:
            log_file: Where the log goes.
            components: Ids of the components.
            finished: Called after each component, before the next one starts.
        """
        super().__init__(level=logging.INFO)
        self.running = ""
        self.cached: list[str] = []
        self.done: list[str] = []
        self._count = len(components)
        self._started = 0.0
        self._log_file = log_file
        self._finished = finished

    def __enter__(self) -> Console:
        """Redirects the log for the length of a run."""
        # TensorFlow's C++ and child processes write to the descriptor, past any handler.
        sys.stderr.flush()
        self._screen = os.fdopen(os.dup(2), "w", encoding="utf-8")
        with self._log_file.open("ab") as log:
            os.dup2(log.fileno(), 2)
        self._file = logging.FileHandler(self._log_file, mode="a", encoding="utf-8")
        self._file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        self._root = logging.getLogger()
        self._absl = absl_logging.get_absl_logger()
        others = [logging.getLogger(name) for name in ("tensorflow", "apache_beam")]
        logs = [self._root, self._absl, *others]
        self._before = [(log, log.handlers[:], log.level) for log in logs]
        absl_logging.set_verbosity(absl_logging.INFO)
        self._root.handlers[:] = [self._file, self]
        for log in logs[1:]:
            log.handlers[:] = []  # they pass their records on to the root
        self._root.setLevel(logging.INFO)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restores the log."""
        self._file.close()
        sys.stderr.flush()
        os.dup2(self._screen.fileno(), 2)
        self._screen.close()
        for log, handlers, level in self._before:
            log.handlers[:] = handlers
            log.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Shows a record if it tells of a component or of progress within one."""
        message = record.getMessage()
        if record.pathname.endswith(TRAINING):
            self._write(f"        {message}", transient=", step " in message)
        elif message.startswith("Component ") and message.endswith(" is running."):
            self.running = message.split()[1]
            self._started = time.time()
            self._write(
                f"[{len(self.done) + 1:>2}/{self._count}] {self.running} ...", transient=True
            )
        elif message.startswith("A cached execution ") and self.running:
            self.cached.append(self.running)
        elif message.startswith("Component ") and message.endswith(" is finished."):
            self.done.append(self.running)
            cached = self.running in self.cached
            how = "from cache" if cached else f"{time.time() - self._started:.0f} s"
            self._write(f"[{len(self.done):>2}/{self._count}] {self.running:<24} {how}")
            self._finished()

    def _write(self, text: str, transient: bool = False) -> None:
        """Writes a line; a transient one is overwritten by the next on a terminal."""
        if self._screen.isatty():
            self._screen.write(f"\r\033[K{text}" + ("" if transient else "\n"))
        elif not transient:
            self._screen.write(f"{text}\n")
        self._screen.flush()
