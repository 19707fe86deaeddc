"""Physics-informed neural networks: one training loop for every problem and optimizer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from opifex_tutorials.losses import jax_system
from opifex_tutorials.losses.jax_system import Formulate, Operator, Program, System, compile_program
from opifex_tutorials.losses.sharded import Layout, ShardedSystem, compile_sharded
from opifex_tutorials.training import gradient
from opifex_tutorials.training.history import History, Stopwatch
from opifex_tutorials.training.loop import Advance, Schedule, levenberg_marquardt, train
from opifex_tutorials.validation import FloatArray, refuse, require_inside, require_integer


@dataclass(frozen=True)
class PinnSolution:
    """A trained network as a function of the coordinates.

    Attributes:
        problem: what was solved.
        formulate: the formulation it was solved in.
        hidden: widths of the hidden layers.
        points: number of collocation points.
        parameters: of the network, shape (P,).
        history: of the training.
    """

    problem: Any
    formulate: Formulate
    hidden: tuple[int, ...]
    points: int
    parameters: FloatArray
    history: History = field(default_factory=History)

    def __call__(self, *coordinates: ArrayLike) -> FloatArray:
        """Evaluate the solution, time first; coordinates broadcast.

        Raises:
            ValueError: for coordinates that do not, or lie outside of the domain.
        """
        return self.apply(jax_system.identity, *coordinates)

    def apply(self, operator: Operator, *coordinates: ArrayLike) -> FloatArray:
        """Evaluate what an operator makes of the solution, such as its residual or its slope.

        Args:
            operator: (problem, candidate) -> field. It is compiled once for the same function.
            coordinates: as for the solution itself.
        """
        arrays = require_inside(self.problem.bounds, *coordinates)
        program = compile_program(self.formulate, self.problem, self.points, self.hidden)
        points = [a.ravel() for a in arrays]
        values = program.operated(operator)(self.problem, self.parameters, *points)
        # Of several unknowns the first axis counts them.
        return np.asarray(values).T.reshape(values.shape[1:] + arrays[0].shape)


@lru_cache(maxsize=32)
def _compile_optimizer(
    program: Program, name: str, block: int, steps: int
) -> tuple[gradient.Optimizer, gradient.Block]:
    optimizer = gradient.adam(steps) if name == "adam" else gradient.l_bfgs()
    return optimizer, gradient.compile_block(program.loss, optimizer, block)


def forget_compiled() -> None:
    """Forget all compiled programs of this process, so that a timed solve pays for its own."""
    jax_system.compile_kind.cache_clear()
    compile_sharded.cache_clear()
    _compile_optimizer.cache_clear()
    jax.clear_caches()


def train_pinn(
    problem: Any,
    formulate: Formulate,
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
    monitor: Callable[[PinnSolution], float] | None = None,
    layout: Layout | None = None,
) -> PinnSolution:
    """Train a network on a formulation of a problem.

    Args:
        problem: a frozen dataclass with ``bounds``; see :mod:`opifex_tutorials.problems`. Its real
            numbers can change without a new compilation.
        formulate: makes the formulation from the problem and the number of points; see
            :mod:`opifex_tutorials.losses.jax_system`.
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
        layout: spread the points of Levenberg-Marquardt over devices and processes, and hold no
            more than a block of the Jacobian at a time; by default it is held as a whole.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual on held-out points stays above the tolerance.
        TrainingInterrupted: on Ctrl-C, with the solution reached.
    """
    schedule = Schedule(seed, optimizer, steps, record_every, resample_every, tolerance)
    require_integer("points", points, 1, 2**20 if layout is None else 2**30)
    hidden = tuple(require_integer("hidden", width, 1, 1024) for width in hidden)
    clock = Stopwatch()
    program = compile_program(formulate, problem, points, hidden)
    parameters = program.initial_parameters(seed)
    if optimizer != "levenberg_marquardt":
        refuse(f": allowed is none with optimizer={optimizer!r}", layout=layout)

    def system(done: int) -> System | ShardedSystem:
        sample = program.sample(problem, (seed, done))
        if layout is None:
            return System(program, problem, sample)
        sharded = compile_sharded(program, layout)
        return ShardedSystem(sharded, problem, sharded.spread(sample))

    if optimizer == "levenberg_marquardt":
        advance = levenberg_marquardt(parameters, record_every, geodesic)
    else:
        advance = _optax(program, parameters, record_every, optimizer, steps)
    solution = PinnSolution(problem, formulate, hidden, points, parameters)
    options: dict[str, Any] = {"clock": clock, "monitor": monitor, "geodesic": geodesic}
    # A killed run may go on with more devices or fewer: the sums have the same order.
    options["sums"] = None if layout is None else (layout.block, layout.leaves)
    return train(schedule, solution, advance, system, **options)


def _optax(program: Program, start: FloatArray, block: int, name: str, steps: int) -> Advance:
    optimizer, advance_block = _compile_optimizer(program, name, block, steps)
    first = jnp.asarray(start)

    def advance(system: System, state: Any) -> tuple[Any, FloatArray, int]:
        state = advance_block(state[0], state[1], (system.problem, system.points))
        return state, np.asarray(state[0]), block

    return Advance(advance, (first, gradient.initial_state(optimizer, first)))
