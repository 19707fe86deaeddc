r"""Mean field games by grid and network together.

Two routes. *Distill*: a coarse grid, a network that imitates it, training on the equations.
*Correct*: a network :math:`u_\theta`, and a grid that solves for what is left. With the discrete
equations :math:`F_h` and the exact residual R of the network,

.. math:: F_h(U) = F_h(u_\theta) - R(u_\theta), \qquad u = u_\theta + (U - u_\theta)_\text{spline}.

On :math:`u_\theta` and on the exact u, :math:`F_h` errs by its truncation error :math:`\tau_h`;
what enters U is the difference :math:`\tau_h(u) - \tau_h(u_\theta)`, and the gain over the grid
alone is that of the derivatives of :math:`u` over those of :math:`u - u_\theta` that stand in the
truncation error (defect correction, Stetter 1978).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from opifex_tutorials.losses.games import FORMULATIONS, imitation
from opifex_tutorials.losses.torch_system import System
from opifex_tutorials.problems.game import MeanFieldGame, is_even
from opifex_tutorials.solvers.mfg_grid import MeanFieldGameGridSolution, solve_mfg_grid
from opifex_tutorials.solvers.mfg_pinn import MfgPinnSolution, solve_mfg_pinn, untrained
from opifex_tutorials.solvers.mfg_scheme import MeanFieldGameScheme
from opifex_tutorials.training.history import History, Stopwatch
from opifex_tutorials.training.loop import levenberg_marquardt
from opifex_tutorials.validation import FloatArray, by_name, require_choice, require_integer

ROUTES = ("distill", "correct", "both")
# Of Levenberg-Marquardt, where a network starts to imitate, and where one that imitates starts to
# be trained. On the periodic game, five seeds, it then took 8 to 12 steps to 1e-3 in u, against 23
# to 28 from random weights; with the default damping, three seeds, about 20.
IMITATION_DAMPING, TRAINING_DAMPING = 0.1, 1e-3


class Stage(NamedTuple):
    """What one stage of a hybrid cost and reached.

    Attributes:
        name: ``"grid"``, ``"distilled"``, ``"trained"`` or ``"corrected"``.
        seconds: since the call, at its end.
        error: what the monitor returned; NaN without a monitor.
    """

    name: str
    seconds: float
    error: float


@dataclass
class HybridHistory(History):
    """The history of the training, its clock started by the call, and the stages around it."""

    stages: list[Stage] = field(default_factory=list)


@dataclass(frozen=True)
class MfgHybridSolution:
    """A network, corrected by a grid or not.

    Coordinates broadcast, time first. The density is what network and grid make of it, so that its
    mass can be measured: with a correction it is one to rounding at the cells of the grid, and in
    between as far as the correction is smooth.

    Attributes:
        network: the trained network.
        correction: value: what to add to u; density: what to multiply m by. None for none.
        history: of training and stages.
    """

    network: MfgPinnSolution
    correction: MeanFieldGameGridSolution | None
    history: HybridHistory

    @property
    def game(self) -> MeanFieldGame:
        """What was solved."""
        return self.network.game

    def value(self, t: ArrayLike, x: ArrayLike) -> FloatArray:
        """Return u(t, x)."""
        u = self.network.value(t, x)
        return u if self.correction is None else u + self.correction.value(t, x)

    def density(self, t: ArrayLike, x: ArrayLike) -> FloatArray:
        """Return m(t, x)."""
        m = self.network.density(t, x)
        return m if self.correction is None else m * self.correction.density(t, x)

    def control(self, t: ArrayLike, x: ArrayLike) -> FloatArray:
        """Return -λ∇u(t, x)."""
        a = self.network.control(t, x)
        return a if self.correction is None else a - self.game.kinetic * self.correction.slope(t, x)


def solve_mfg_hybrid(
    game: MeanFieldGame,
    *,
    seed: int,
    route: str = "distill",
    cells: int = 20,
    order: int | None = None,
    network: MfgPinnSolution | None = None,
    imitation_steps: int = 20,
    monitor: Callable[[Any], float] | None = None,
    **options: Any,
) -> MfgHybridSolution:
    """Solve a mean field game in one dimension by a grid and a network together.

    Args:
        game: what to solve.
        seed: of the initial weights.
        route: ``"distill"`` (grid, imitation, training), ``"correct"`` (training, correction by
            the grid) or ``"both"``, one after the other.
        cells: of the grid, with as many steps of time.
        order: of the scheme; by default 1 for the grid that is imitated, which needs to be right
            to a tenth only, and 2 for the one that corrects.
        network: a solution to correct, instead of training one; only with ``"correct"``, and then
            no ``options``.
        imitation_steps: of Levenberg-Marquardt on the values of the grid. With 10 the training
            takes longer; 50 cost more than they save.
        monitor: called with the solution of every stage and of every recorded step of the
            training, off the clock.
        options: of the network, as in ``solve_mfg_pinn`` and with the same defaults; but if the
            grid corrects what it leaves, 100 ``steps`` and no ``tolerance``.

    Raises:
        ValueError: for a bad argument, or a game on all of space and a route that corrects: in the
            tail of the crowd a correction could be of either sign.
        ConvergenceError: if the training does not reach its tolerance, or the grid none.
        TrainingInterrupted: on Ctrl-C, with the network reached.
    """
    clock, stages = Stopwatch(), list[Stage]()
    coarse, fine = (1, 2) if order is None else (order, order)
    require_integer("imitation_steps", imitation_steps, 1, 10_000)
    MeanFieldGameScheme(game, cells, cells, fine)  # a bad grid is refused before the training
    _check_route(game, route, network, options)

    def watch(solution: Any) -> float:
        with clock.paused():
            return np.nan if monitor is None else float(monitor(solution))

    def close(name: str, solution: Any) -> None:
        stages.append(Stage(name, clock.seconds, watch(solution)))

    if route != "correct":
        grid = solve_mfg_grid(game, cells=cells, steps=cells, order=coarse)
        close("grid", grid)
        network = _imitate(grid, seed, imitation_steps, options)
        close("distilled", network)
        options = {"damping": TRAINING_DAMPING, **options, "start": network.parameters}
    before, history = clock.seconds, HybridHistory()
    if route != "correct" or network is None:
        if route != "distill":
            options = {"tolerance": np.inf, "steps": 100, **options}
        watched = None if monitor is None else watch
        network = solve_mfg_pinn(game, seed=seed, monitor=watched, **options)
        history = HybridHistory(**vars(network.history))
        history.seconds = [before + seconds for seconds in history.seconds]
        close("trained", network)
    history.stages, correction = stages, None
    if route != "distill":
        grid = solve_mfg_grid(game, cells=cells, steps=cells, order=fine, around=network)
        u, m = grid.scheme.sampled
        correction = replace(grid, values=grid.values - u, densities=grid.densities / m)
    solution = MfgHybridSolution(network, correction, history)
    if correction is not None:
        close("corrected", solution)
    return solution


def _check_route(
    game: MeanFieldGame, route: str, network: MfgPinnSolution | None, options: dict[str, Any]
) -> None:
    require_choice("route", route, ROUTES)
    by_name("formulation", options.get("formulation", "hard"), FORMULATIONS)
    if route != "distill":
        game.require_box(f"route={route!r} with boundary")
    if network is not None:
        is_own = getattr(network, "game", None) == game
        if not is_own or route != "correct" or options:
            allowed = "a solution of this game, with route='correct' and no options of a training"
            raise ValueError(f"network with route={route!r}, {options}: allowed is {allowed}")


def _imitate(
    grid: MeanFieldGameGridSolution, seed: int, steps: int, options: dict[str, Any]
) -> MfgPinnSolution:
    """Fit a network to every other time of the grid, by Levenberg and Marquardt."""
    game, scheme = grid.game, grid.scheme
    formulate = by_name("formulation", options.get("formulation", "hard"), FORMULATIONS)
    widths, start = untrained(game, formulate, options.get("hidden", (12, 12, 12)), seed)
    half = game.boundary == "periodic" and is_even(game)  # the other half is its mirror image
    pick = slice(None, None, 2), slice(scheme.J // 2 if half else None)
    t, x = np.meshgrid(scheme.t[pick[0]], scheme.x[pick[1]], indexing="ij")
    known = np.stack([grid.values[pick].ravel(), grid.densities[pick].ravel()])
    system = System([imitation(game, formulate, t.ravel(), x.ravel(), known)], widths)
    parameters, _ = levenberg_marquardt(start, steps, damping=IMITATION_DAMPING)(system)
    return MfgPinnSolution(game, formulate, widths, parameters)
