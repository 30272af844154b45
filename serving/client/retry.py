"""Retries of failed calls."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.client.errors import DeadlineError
from serving.client.errors import ServingError
from serving.client.errors import Target


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter, on transient failures alone.

    Transient are `UNAVAILABLE` (the server is restarting or draining),
    `CANCELLED` (it stopped before it looked at the call) and
    `RESOURCE_EXHAUSTED` (its threads or queues are full; not a message that is
    too large). Recommending changes nothing on the server, so that a repeated
    call is harmless. All attempts share the one deadline of the call.

    Attributes:
        attempts: tries in all; 1 switches retries off.
        first_delay: seconds before the second try.
        multiplier: by how much each further delay grows.
        max_delay: bound of a delay in seconds.
        jitter: share of the delay that is drawn at random, so that clients
            which failed together do not come back together.
    """

    attempts: int = 4
    first_delay: float = 0.05
    multiplier: float = 2.0
    max_delay: float = 2.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        if (
            self.attempts < 1
            or not (self.first_delay >= 0 and self.max_delay >= 0 and self.multiplier >= 1)
            or not 0 <= self.jitter <= 1
        ):
            raise ValueError(
                "Expected `attempts` >= 1, `first_delay` and `max_delay` >= 0, `multiplier` >= 1 "
                f"and `jitter` between 0 and 1. Received: {self}."
            )

    def delay(self, failures: int, draw: float) -> float:
        """Returns the seconds to wait after the given number of failures.

        Args:
            failures: tries that failed so far, at least 1.
            draw: a random number in [0, 1).
        """
        try:
            full = min(self.first_delay * self.multiplier ** (failures - 1), self.max_delay)
        except OverflowError:
            full = self.max_delay
        return full * (1 - self.jitter * draw)


class Deadline:
    """The end of the time for a call, which all of its requests share.

    Args:
        timeout: seconds from now on.
        clock: says what time it is, in seconds.
    """

    def __init__(self, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout = timeout
        self._clock = clock
        self._end = clock() + timeout

    @property
    def left(self) -> float:
        """Seconds that are left; 0 or less when it has passed."""
        return self._end - self._clock()

    def remaining(self, target: Target) -> float:
        """Returns the seconds that are left for asking a target.

        Raises:
            DeadlineError: none are left.
        """
        left = self.left
        if left <= 0:
            raise DeadlineError(target, "DEADLINE_EXCEEDED", f"no answer within {self._timeout} s")
        return left


class Attempts:
    """The tries of one request against the deadline of its call."""

    def __init__(
        self,
        policy: RetryPolicy,
        deadline: Deadline,
        target: Target,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._deadline = deadline
        self._target = target
        self._draw = draw
        self._failures = 0

    def remaining(self) -> float:
        """Returns the seconds that are left for the next try.

        Raises:
            DeadlineError: none are left.
        """
        return self._deadline.remaining(self._target)

    def next_delay(self, failure: ServingError) -> float | None:
        """Returns the seconds to wait before the next try, `None` to give up."""
        self._failures += 1
        if not failure.transient or self._failures >= self._policy.attempts:
            return None
        delay = self._policy.delay(self._failures, self._draw())
        return delay if delay < self._deadline.left else None
