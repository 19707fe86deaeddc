"""Physics-informed neural networks: one training loop for every problem and optimizer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from opifex_tutorials.losses.collocation import Build, CollocationProblem, CollocationSystem, Points
from opifex_tutorials.progress import progress
from opifex_tutorials.training.gradient import Block, adam, compile_block, l_bfgs
from opifex_tutorials.training.history import ConvergenceError, History, Stopwatch
from opifex_tutorials.training.levenberg_marquardt import (
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)
from opifex_tutorials.validation import (
    FloatArray,
    require_between,
    require_choice,
    require_coordinates,
    require_integer,
    require_multiple,
)

Monitor = Callable[["PinnSolution"], float]
Advance = Callable[[Points], FloatArray]  # a block of training on these points
OPTIMIZERS = ("levenberg_marquardt", "adam", "l_bfgs")
HELD_OUT = 2**30  # a round of sampling that no training reaches


@dataclass(frozen=True)
class PinnSolution:
    """A trained network as a function of the coordinates.

    Attributes:
        problem: what was solved.
        build: the formulation it was solved in.
        hidden: widths of the hidden layers.
        points: number of collocation points.
        parameters: of the network, shape (P,).
        history: of the training.
    """

    problem: Any
    build: Build
    hidden: tuple[int, ...]
    points: int
    parameters: FloatArray
    history: History = field(default_factory=History)

    def __call__(self, *coordinates: ArrayLike) -> FloatArray:
        """Evaluate the solution, time first; the coordinates broadcast.

        Raises:
            ValueError: if a coordinate is not finite or outside of the domain, or the shapes do
                not broadcast.
        """
        arrays = require_coordinates(self.problem.bounds, *coordinates)
        compiled = compile_pinn(self.build, self.problem, self.points, self.hidden)
        flat = tuple(jnp.asarray(a.ravel()) for a in arrays)
        return np.asarray(compiled.evaluate(self.problem, self.parameters, flat)).reshape(
            arrays[0].shape
        )


class TrainingInterrupted(KeyboardInterrupt):
    """The user stopped a training; ``solution`` is what it had reached."""

    def __init__(self, solution: PinnSolution) -> None:
        super().__init__("training interrupted; what it had reached is in .solution")
        self.solution = solution


def compile_pinn(
    build: Build, problem: Any, points: int, hidden: tuple[int, ...]
) -> CollocationProblem:
    """Compile a formulation once per process: seeds and problems of the same kind share it."""
    return _compile(build, points, (build(problem, points).inputs, *hidden, 1))


@lru_cache(maxsize=32)
def _compile(build: Build, points: int, widths: tuple[int, ...]) -> CollocationProblem:
    return CollocationProblem(build, points, widths)


@lru_cache(maxsize=32)
def _compile_optimizer(
    compiled: CollocationProblem, name: str, block: int, steps: int
) -> tuple[optax.GradientTransformationExtraArgs, Block]:
    optimizer = adam(steps) if name == "adam" else l_bfgs()
    return optimizer, compile_block(compiled.loss, optimizer, block)


def forget_compiled() -> None:
    """Forget all compiled programs of this process, so that a timed solve pays for its own."""
    _compile.cache_clear()
    _compile_optimizer.cache_clear()
    jax.clear_caches()


def train_pinn(
    problem: Any,
    build: Build,
    *,
    seed: int,
    optimizer: str = "levenberg_marquardt",
    hidden: Sequence[int] = (16, 16),
    points: int = 2048,
    steps: int = 150,
    resample_every: int | None = 50,
    tolerance: float = 1e-3,
    geodesic: bool = True,
    record_every: int = 50,
    monitor: Monitor | None = None,
) -> PinnSolution:
    """Train a network on a formulation of a problem.

    Args:
        problem: any object with ``bounds``; see :mod:`opifex_tutorials.problems`.
        build: makes the formulation from the problem and the number of points.
        seed: of the initial weights and of the collocation points.
        optimizer: ``"levenberg_marquardt"``, ``"adam"`` or ``"l_bfgs"``.
        hidden: widths of the hidden layers. The default has about 350 parameters, a size at which
            a step of Levenberg-Marquardt costs some 20 ms.
        points: number of collocation points, a power of two; the default is six times the number
            of parameters, with fewer the network overfits its points.
        steps: budget, in steps of the optimizer.
        resample_every: draw new points after so many steps, or never (None): a multiple of
            ``record_every``. L-BFGS always keeps its points, on which its memory depends.
        tolerance: largest allowed root mean square of the residual on held-out points.
        geodesic: second-order correction of Levenberg-Marquardt; off only to see what it is worth.
        record_every: distance of entries of the history, in steps.
        monitor: called with the solution at every recorded step; its value goes to
            ``history.errors``, its time is not counted.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual on held-out points stays above the tolerance.
        TrainingInterrupted: on Ctrl-C, with the solution reached.
    """
    require_integer("seed", seed, 0, 2**31)
    require_choice("optimizer", optimizer, OPTIMIZERS)
    require_integer("points", points, 1, 2**20)
    require_integer("record_every", record_every, 1, 10**6)
    require_multiple("steps", steps, record_every)
    if resample_every is not None:
        require_multiple("resample_every", resample_every, record_every)
    require_between("tolerance", tolerance, 0.0, np.inf)
    hidden = tuple(require_integer("hidden", width, 1, 1024) for width in hidden)
    clock, history = Stopwatch(), History()
    compiled = compile_pinn(build, problem, points, hidden)
    parameters = compiled.initial_parameters(seed)
    if optimizer == "levenberg_marquardt":
        advance = _levenberg_marquardt(compiled, problem, parameters, record_every, geodesic)
    else:
        advance = _optax(compiled, problem, parameters, record_every, optimizer, steps)
    held_out = compiled.sample(problem, (seed, HELD_OUT))
    every = steps if resample_every is None or optimizer == "l_bfgs" else resample_every
    solution = PinnSolution(problem, build, hidden, points, parameters, history)
    try:
        for done in progress(range(0, steps, record_every), f"PINN, seed {seed}"):
            if done % every == 0:
                data = compiled.sample(problem, (seed, done))
            solution = replace(solution, parameters=advance(data))
            with clock.paused():
                losses = (
                    float(np.sum(compiled.residuals(problem, solution.parameters, sample) ** 2))
                    for sample in (data, held_out)
                )
                history.record(done + record_every, clock.seconds, *losses)
                if monitor is not None:
                    history.errors.append(float(monitor(solution)))
    except KeyboardInterrupt:
        raise TrainingInterrupted(solution) from None
    misfit = history.held_out_losses[-1] ** 0.5
    if not misfit <= tolerance:
        raise ConvergenceError(
            f"held-out residual {misfit:.1e} after {steps} steps of {optimizer}: "
            f"tolerance={tolerance:g}",
            history,
        )
    return solution


def _levenberg_marquardt(
    compiled: CollocationProblem, problem: Any, start: FloatArray, steps: int, geodesic: bool
) -> Advance:
    state = LevenbergMarquardtState(start)

    def advance(points: Points) -> FloatArray:
        nonlocal state
        system = CollocationSystem(compiled, problem, points)
        for _ in range(steps):
            state = levenberg_marquardt_step(system, state, geodesic=geodesic)
        return state.parameters

    return advance


def _optax(
    compiled: CollocationProblem, problem: Any, start: FloatArray, block: int, name: str, steps: int
) -> Advance:
    optimizer, advance_block = _compile_optimizer(compiled, name, block, steps)
    parameters = jnp.asarray(start)
    state = optimizer.init(parameters)

    def advance(points: Points) -> FloatArray:
        nonlocal parameters, state
        parameters, state = advance_block(parameters, state, (problem, points))
        return np.asarray(parameters)

    return advance
