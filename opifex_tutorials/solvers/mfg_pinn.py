"""Mean field games by a physics-informed neural network, in PyTorch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from opifex_tutorials.losses.games import FORMULATIONS, Fields, fokker_planck_residual, hjb_residual
from opifex_tutorials.losses.torch_system import Formulate, System, gauss, sobol
from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.problems.game import MeanFieldGame, PathTerms
from opifex_tutorials.training.history import History, Stopwatch
from opifex_tutorials.training.loop import HELD_OUT, Advance, Schedule, levenberg_marquardt, train
from opifex_tutorials.validation import (
    FloatArray,
    by_name,
    require_choice,
    require_coordinates,
    require_integer,
)

BLOCK = 2**14  # points evaluated at a time, which bounds the memory


@dataclass(frozen=True)
class MfgPinnSolution:
    """A trained network as a solution of a game.

    Coordinates broadcast, time first; ``ValueError`` for those that do not or lie outside.

    Attributes:
        game: what was solved.
        formulate: the formulation it was solved in.
        widths: of all layers.
        parameters: of the network, shape (P,).
        history: of the training.
    """

    game: MeanFieldGame
    formulate: Formulate
    widths: tuple[int, ...]
    parameters: FloatArray
    history: History = field(default_factory=History)

    def value(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return u(t, x)."""
        return self._evaluate(lambda fields: fields.value[:1], t, *x)[0]

    def density(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return m(t, x)."""
        return self._evaluate(lambda fields: torch.exp(fields.log_density[:1]), t, *x)[0]

    def control(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return -λ∇u, in d > 1 dimensions with a leading axis of length d."""
        found = self._evaluate(lambda fields: -self.game.kinetic * fields.value[2:-1], t, *x)
        return found if self.game.dimension > 1 else found[0]

    def residuals(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return the residuals of HJB and Fokker-Planck equation, with a leading axis of length 2.

        In units of the equations themselves, not of the loss.
        """
        game, zero = self.game, torch.zeros(1, dtype=torch.float64)

        def both(fields: Fields) -> Tensor:
            hjb = 2 * game.viscosity / game.kinetic * hjb_residual(game, zero, fields)
            m = torch.exp(fields.log_density[0])
            return torch.stack([hjb, m * fokker_planck_residual(game, fields)])

        found = self._evaluate(both, t, *x)
        found[0] -= game.potential(t, *x)
        return found

    def path_terms(self, t: ArrayLike, *x: ArrayLike) -> PathTerms:
        """Return all that paths through N points gather; outside of the game's box as well."""
        game, zero = self.game, torch.zeros(1, dtype=torch.float64)
        d, points = game.dimension, np.stack(np.broadcast_arrays(t, *x))

        def terms(fields: Fields) -> Tensor:
            u, log_m = fields
            m = torch.exp(log_m[0])
            hjb = 2 * game.viscosity / game.kinetic * hjb_residual(game, zero, fields)
            crowding = m * game.coupling.derivative(m)
            rows = [hjb, fokker_planck_residual(game, fields), crowding, u[0], log_m[0]]
            return torch.cat([-game.kinetic * u[2:-1], log_m[2:-1], torch.stack(rows)])

        control, score, rest = np.split(self._at(terms, points), [d, 2 * d])
        time, *space = torch.from_numpy(points)
        rest[0] -= game.potential(time, *space, xp=torch).numpy()
        rest[3] -= game.terminal_cost(*space, xp=torch).numpy()
        rest[4] -= game.initial_density(*space, xp=torch).log().numpy()
        return PathTerms(control, score, *rest)

    def _evaluate(self, part: Callable[[Fields], Tensor], *coordinates: ArrayLike) -> FloatArray:
        arrays = require_coordinates(self.game.bounds, *coordinates)
        found = self._at(part, np.stack([a.ravel() for a in arrays]))
        return found.reshape(-1, *arrays[0].shape)

    def _at(self, part: Callable[[Fields], Tensor], points: FloatArray) -> FloatArray:
        """Return a part of the fields at points, shape (1 + d, N), wherever they are."""
        parameters, found = torch.from_numpy(self.parameters), []
        formulation = self.formulate(self.game)
        with torch.no_grad():
            for block in torch.from_numpy(points).split(BLOCK, 1):
                trial = formulation.trial(*block)
                outputs = jets.network(parameters, self.widths, trial.features)
                found.append(part(trial(outputs)).numpy())
        return np.concatenate(found, 1)


def solve_mfg_pinn(
    game: MeanFieldGame,
    *,
    seed: int,
    formulation: str | Formulate = "hard",
    optimizer: str = "levenberg_marquardt",
    sampling: str | None = None,
    hidden: Sequence[int] = (12, 12, 12),
    points: tuple[int, int] = (32, 24),
    steps: int = 400,
    resample_every: int = 50,
    tolerance: float = 1e-2,
    record_every: int = 50,
    monitor: Callable[[MfgPinnSolution], float] | None = None,
    start: FloatArray | None = None,
    damping: float | None = None,
) -> MfgPinnSolution:
    """Solve a mean field game by a PINN.

    Args:
        game: the game.
        seed: of the initial weights and of random points.
        formulation: ``"hard"`` (initial and terminal data, periodicity or walls built in),
            ``"soft"`` (all of these in the loss), or a function that makes one from the game; see
            :mod:`opifex_tutorials.losses.torch_system`.
        optimizer: ``"levenberg_marquardt"``, ``"adam"`` or ``"l_bfgs"``.
        sampling: ``"gauss"`` (default in one dimension: fixed Gauss-Legendre nodes, 32 x 24 by
            default) or ``"sobol"`` (default in more: random points, 1024 by default, drawn anew).
            On the periodic game the errors with random points are as small, but scatter more.
        hidden: widths of the hidden layers. The default has about 370 parameters; on the periodic
            game it was better than (16, 16) in the same time.
        points: numbers of points in time and in space. Keep their product at twice the number of
            parameters, since each point gives two residuals; with fewer the network overfits.
        steps: budget, in steps of the optimizer.
        resample_every: new Sobol points after so many steps, a multiple of ``record_every``;
            L-BFGS keeps its points.
        tolerance: largest allowed root mean square of the residuals on held-out points.
        record_every: distance of entries of the history, in steps.
        monitor: called with the solution at every recorded step; its value goes to
            ``history.errors``, its time is not counted.
        start: parameters to start from, such as those of another solution; by default random.
        damping: of the first step of Levenberg-Marquardt; by default a short one. A start that is
            nearly right can take longer steps.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual on held-out points stays above the tolerance.
        TrainingInterrupted: on Ctrl-C, with the solution reached.
    """
    formulate = by_name("formulation", formulation, FORMULATIONS)
    sampling = sampling or ("gauss" if game.dimension == 1 else "sobol")
    require_choice("sampling", sampling, ("gauss", "sobol"))
    every = None if sampling == "gauss" else resample_every
    schedule = Schedule(seed, optimizer, steps, record_every, every, tolerance)
    if not isinstance(points, tuple) or len(points) != 2:
        raise ValueError(f"points={points!r}: allowed are two integers, in time and in space")
    n_time, n_space = (require_integer("points", count, 1, 2**16) for count in points)
    clock = Stopwatch()

    def system(done: int) -> System:
        sample = sobol((seed, done)) if sampling == "sobol" or done == HELD_OUT else gauss
        counts = (32, 32) if done == HELD_OUT else (n_time, n_space)
        return System(formulate(game).conditions(sample, counts), widths)

    widths, drawn = untrained(game, formulate, hidden, seed)
    start = drawn if start is None else np.array(start, dtype=np.float64)
    if start.shape != drawn.shape or not np.isfinite(start).all():
        raise ValueError(f"start of shape {start.shape}: allowed are {drawn.size} finite numbers")
    advance = levenberg_marquardt(start, record_every, damping=damping)
    if optimizer != "levenberg_marquardt":
        advance = _gradient_method(start, record_every, optimizer, steps)
    solution = MfgPinnSolution(game, formulate, widths, start)
    return train(schedule, solution, advance, system, clock=clock, monitor=monitor)


def untrained(
    game: MeanFieldGame, formulate: Formulate, hidden: Sequence[int], seed: int
) -> tuple[tuple[int, ...], FloatArray]:
    """Return the widths of all layers of a network for the game, and random parameters."""
    corner = [torch.tensor([low], dtype=torch.float64) for low, _ in game.bounds.values()]
    inputs = formulate(game).trial(*corner).features.shape[-1]
    widths = (inputs, *(require_integer("hidden", width, 1, 1024) for width in hidden), 2)
    weights = MLP(widths, seed=seed).parameters()
    return widths, torch.nn.utils.parameters_to_vector(weights).detach().numpy()


def _gradient_method(start: FloatArray, block: int, name: str, steps: int) -> Advance:
    """Return blocks of Adam with a cosine decay to zero, or of L-BFGS, as PyTorch has them."""
    parameters = torch.from_numpy(start.copy()).requires_grad_()
    adam = torch.optim.Adam([parameters], lr=5e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    # The line search may try, the budget counts steps, and alone ends the training.
    budget = {"max_iter": block, "max_eval": 25 * block, "history_size": 50}
    never = {"tolerance_grad": 0, "tolerance_change": 0}
    l_bfgs = torch.optim.LBFGS([parameters], line_search_fn="strong_wolfe", **budget, **never)

    def advance(system: System) -> tuple[FloatArray, int]:
        def loss() -> float:
            parameters.grad = None
            value = system.loss(parameters)
            value.backward()
            return float(value.detach())

        if name == "l_bfgs":
            l_bfgs.step(loss)
        else:
            for _ in range(block):
                adam.step(loss)
                decay.step()
        return parameters.detach().numpy().copy(), block

    return advance
