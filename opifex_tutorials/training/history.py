"""What a training leaves behind: its history, also when it fails or is interrupted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class History:
    """Loss and error of a training at the recorded steps, one entry per recorded step each.

    Attributes:
        steps: number of steps done.
        losses: mean square of the residuals on the training points.
        held_out_losses: mean square of the residuals on points the training never sees.
        errors: what the caller's monitor returned; empty without a monitor.
        seconds: wall time since the call, compilation included, the time of recording excluded.
    """

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    held_out_losses: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def record(self, step: int, seconds: float, loss: float, held_out_loss: float) -> None:
        """Append one entry; ``errors`` is left to the monitor."""
        self.steps.append(step)
        self.seconds.append(seconds)
        self.losses.append(loss)
        self.held_out_losses.append(held_out_loss)


class ConvergenceError(RuntimeError):
    """A solver did not reach its tolerance; ``history`` tells how far it came."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history

    def __reduce__(self) -> tuple[type, tuple[str, History]]:
        """Keep the history when the error crosses from a worker process."""
        return type(self), (str(self), self.history)


class Stopwatch:
    """Wall time since it was made, without the pauses, in seconds."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time spent inside."""
        before = self.seconds
        try:
            yield
        finally:
            self._start = time.perf_counter() - before
