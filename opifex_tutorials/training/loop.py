"""The training loop that all neural solvers share, whatever their framework."""

import ctypes
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from opifex_tutorials import validation
from opifex_tutorials.training import levenberg_marquardt as lm
from opifex_tutorials.training.checkpoints import resumable
from opifex_tutorials.training.history import ConvergenceError, History, Stopwatch
from opifex_tutorials.validation import FloatArray

OPTIMIZERS = ("levenberg_marquardt", "adam", "l_bfgs")
# Parameters of mallopt, from malloc.h of the GNU C library.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
HELD_OUT = 2**30  # a round of sampling that no training reaches


@dataclass(frozen=True)
class Schedule:
    """Budget of a training, as the solvers' arguments say; a bad entry raises ``ValueError``."""

    seed: int
    optimizer: str
    steps: int
    record_every: int
    resample_every: int | None
    tolerance: float

    def __post_init__(self) -> None:
        validation.require_integer("seed", self.seed, 0, 2**31)
        validation.require_choice("optimizer", self.optimizer, OPTIMIZERS)
        validation.require_integer("record_every", self.record_every, 1, 10**6)
        validation.require_multiple("steps", self.steps, self.record_every)
        if self.resample_every is not None:
            validation.require_multiple("resample_every", self.resample_every, self.record_every)
        validation.require_between("tolerance", self.tolerance, 0.0, np.inf)

    @property
    def stay(self) -> int:
        """For how many steps the points stay; L-BFGS remembers gradients and needs the same."""
        return self.steps if self.optimizer == "l_bfgs" else self.resample_every or self.steps


@dataclass
class Advance:
    """Blocks of steps of an optimizer on a sampled system.

    Attributes:
        block: (system, state) -> the next state, the parameters, the number of steps taken: fewer
            than asked for only if no further one lowers the loss.
        state: of the optimizer, its parameters included; a pytree as checkpoints save it.
    """

    block: Callable[[Any, Any], tuple[Any, FloatArray, int]]
    state: Any

    def __call__(self, system: Any) -> tuple[FloatArray, int]:
        """Do a block; return the parameters and the number of steps taken."""
        self.state, parameters, count = self.block(system, self.state)
        return parameters, count


class TrainingInterrupted(KeyboardInterrupt):
    """The user stopped a training; ``solution`` is what it had reached."""

    def __init__(self, solution: Any) -> None:
        super().__init__("training interrupted; what it had reached is in .solution")
        self.solution = solution


# The matrices of a small network are too small to share: threads of BLAS wait for each other, and
# where other work runs, for their turn as well.
@threadpool_limits.wrap(limits=1)
def train(
    schedule: Schedule,
    solution: Any,
    advance: Advance,
    sample: Callable[[int], Any],
    *,
    clock: Stopwatch,
    monitor: Callable[[Any], float] | None,
    keep_best: bool = False,
    **options: Any,
) -> Any:
    """Train until the budget is spent; return the last solution.

    Args:
        schedule: the budget.
        solution: the untrained one; its history is filled.
        advance: does ``record_every`` steps on a sampled system and returns the parameters.
        sample: number of steps done -> system at new points; of ``HELD_OUT``, at held-out points.
            If they follow the parameters, it has a ``state`` that tells what they were drawn from.
        clock: started when the user called.
        monitor: called with the solution at every recorded step, off the clock. The solution's
            history is that up to then, without the monitor's own answer.
        keep_best: return, of the solutions at recorded steps, that of the least residual on
            held-out points. Where points change, the last one may have fitted its own too well.
        options: whatever else shapes the training, by which checkpoints tell it from another.

    Raises:
        ConvergenceError: if the residual on held-out points stays above the tolerance.
        TrainingInterrupted: on Ctrl-C, with the solution reached.
    """
    _keep_freed_memory()
    every = schedule.stay
    history, held_out, start = solution.history, sample(HELD_OUT), solution.parameters
    state = {"parameters": start, "best": start, "misfit": np.inf, "drawn": 0, "points": None}
    state |= {"optimizer": advance.state, "history": vars(history)}
    rounds = range(0, schedule.steps, schedule.record_every)
    told = {**vars(schedule), **vars(solution), **options, "monitor": monitor is not None}
    told["tolerance"] = "any"  # it only judges the end

    def asked() -> dict[str, Any]:
        return told | {"residuals": np.array(_squares(held_out, start))}

    left = resumable(rounds, f"PINN, seed {schedule.seed}", asked, state)
    advance.state, system = state["optimizer"], sample(state["drawn"])
    if state["points"] is not None:
        system.draw_again(state["points"])
    taken, seconds = (history.steps or [0])[-1], (history.seconds or [0.0])[-1]
    try:
        for done in left:
            if done == state["drawn"] + every:
                state["drawn"], system = done, sample(done)
            parameters, count = advance(system)
            taken += count
            state |= {"parameters": parameters, "optimizer": advance.state}
            state["points"] = getattr(system, "state", None)
            with clock.paused():
                losses = (_squares(s, parameters) for s in (system, held_out))
                history.record(taken, seconds + clock.seconds, *losses)
                if not (keep_best and history.held_out_losses[-1] > min(history.held_out_losses)):
                    state |= {"best": parameters, "misfit": history.held_out_losses[-1] ** 0.5}
                if monitor is not None:
                    seen = replace(solution, parameters=parameters, history=deepcopy(history))
                    history.errors.append(float(monitor(seen)))
            if count < schedule.record_every and every == schedule.steps:
                break  # at a minimum of the loss on these points, and there will be no others
    except KeyboardInterrupt:
        raise TrainingInterrupted(replace(solution, parameters=state["parameters"])) from None
    if not state["misfit"] <= schedule.tolerance:
        raise _failure(schedule, history, state["misfit"])
    return replace(solution, parameters=state["best"])


def _failure(schedule: Schedule, history: History, misfit: float) -> ConvergenceError:
    full = np.diff([0, *history.steps])[-1] == schedule.record_every
    end = "" if full else ", after which none lowers the loss"
    spent = f"{history.steps[-1]} steps of {schedule.optimizer}{end}"
    allowed = f"tolerance={schedule.tolerance:g}"
    return ConvergenceError(f"held-out residual {misfit:.1e} after {spent}: {allowed}", history)


def _squares(system: lm.AnySystem, parameters: FloatArray) -> float:
    if isinstance(system, lm.Summed):
        return system.sum_of_squares(parameters)
    return float(np.sum(system.residuals(parameters) ** 2))


@cache
def _keep_freed_memory() -> None:
    """Let the process keep the memory of arrays that it frees, up to 256 MB.

    The C library of Linux maps large arrays anew for each use and has them filled with zeros, page
    by page: a quarter of the time of a step on the mixture game in ten dimensions.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, 2**25)
        mallopt(TRIM_THRESHOLD, 2**28)


def levenberg_marquardt(
    start: FloatArray, steps: int, geodesic: bool = True, damping: float | None = None
) -> Advance:
    """Return blocks of ``steps`` accepted steps of Levenberg and Marquardt."""

    def block(system: lm.AnySystem, state: dict[str, Any]) -> tuple[Any, FloatArray, int]:
        now = lm.LevenbergMarquardtState(**state)
        for count in range(steps):
            now = lm.levenberg_marquardt_step(system, now, geodesic=geodesic)
            if now.stalled:
                return vars(now), now.parameters, count
        return vars(now), now.parameters, steps

    return Advance(block, vars(lm.LevenbergMarquardtState(start, damping)))
