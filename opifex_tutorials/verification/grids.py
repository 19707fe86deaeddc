"""Mass and exploitability of a solution in one dimension, by quadrature and on a grid."""

from typing import Any

import numpy as np

from opifex_tutorials.problems.mean_field_games import MeanFieldGame
from opifex_tutorials.solvers.mfg_scheme import Boundary, MeanFieldGameScheme
from opifex_tutorials.validation import require_integer


def mass_drift(solution: Any, *, points: int = 1000) -> float:
    r"""Return :math:`\max_t |\int m(t, x) dx - 1|` of a density that should stay a probability.

    The distance from one counts, at every time, not that from the mass at the start. A population
    on a part of the domain has another mass, and nothing to do here.

    Args:
        solution: masses over time; or a solution with ``mass``, as the grid solver returns: the sum
            over its cells at the times of its steps; or one with a ``game`` and ``density(t, x)``,
            or a game itself, in one dimension (``sampled_mass_drift`` takes any number): the
            density is integrated at 101 times by the midpoint rule, which converges spectrally for
            one that is periodic, or even at its walls, or vanishes there. (A Gaussian game lacks
            its tails, beyond six deviations.)
        points: of the midpoint rule.

    Raises:
        ValueError: for a bad argument or a mass that is not finite.
    """
    if hasattr(solution, "density") and not hasattr(solution, "mass"):
        require_integer("points", points, 8, 10**6)
        game = getattr(solution, "game", solution)
        _require_one_dimension(game, "sampled_mass_drift")
        low, high = game.bounds["x"]
        x = low + (high - low) * (np.arange(points) + 0.5) / points
        t = np.linspace(0, game.horizon, 101)[:, None]
        masses = (high - low) * np.mean(np.asarray(solution.density(t, x)), axis=1)
    else:
        masses = np.asarray(getattr(solution, "mass", solution), dtype=float)
    if not np.isfinite(masses).all():
        raise ValueError("solution with a mass that is not finite: allowed are finite masses")
    return float(np.abs(masses - 1).max())


def exploitability(
    game: MeanFieldGame,
    solution: Any,
    *,
    cells: int | None = None,
    steps: int | None = None,
    order: int | None = None,
    boundary: Boundary | None = None,
    interval: tuple[float, float] | None = None,
) -> float:
    r"""Return what one agent could gain by leaving the computed control for the best response.

    .. math::

        E = J(\alpha; m^\alpha) - \int W(0) m_0 = \iint \tfrac{1}{2\lambda}
        |\alpha + \lambda\nabla W|^2 m^\alpha \ge 0,

    where the population :math:`m^\alpha` follows the computed control α, and W is the value of an
    agent to whom this population is given, both computed on a grid from α alone: a good density
    of the solution hides nothing (Carmona & Laurière 2021). E is zero only at the equilibrium, and
    quadratic in an error of the control. The control is asked for between the cells, and at walls,
    where W has the slope that the game says, for the outer half of the last cell.

    Args:
        game: in one dimension; ``sampled_exploitability`` takes any number.
        solution: with ``control(t, x)``, -λ∇u; or such a function.
        cells: of the grid; the default is 160. Without these options, a solution of this game on a
            grid is judged on its own grid. On any other the grid's own error enters, so that even
            the exact control seems exploitable, by an amount that falls as the fourth power of
            cells and steps; the chapter on mean field games measures it.
        steps: of time, by default as many as cells.
        order: of the scheme, by default 2.
        boundary: of the game that is played; see ``solve_mfg_grid``. It must be given for a
            solution on a grid with a boundary other than the game's, and may be
            ``solution.scheme.boundary``.
        interval: see ``solve_mfg_grid``.

    Raises:
        ValueError: for a bad argument or a control that is not finite.
        ConvergenceError: if the best response is not found.
    """
    _require_one_dimension(game, "sampled_exploitability")
    control = getattr(solution, "control", solution)
    own: Any = getattr(solution, "scheme", None)
    is_own = isinstance(own, MeanFieldGameScheme) and own.game == game and own.around is None
    if is_own and boundary is None and own.has_other_walls:
        raise ValueError("boundary=None, but the solution has its own: allowed is what is played")
    on_own_grid = is_own and (cells, steps, order, interval) == (None,) * 4
    if on_own_grid and boundary in (None, own.boundary):
        scheme, chosen, misfit = own, own.jumps(solution.values[:-1].ravel()), 0 * own.wall_slopes
    else:
        cells, order = 160 if cells is None else cells, 2 if order is None else order
        steps = cells if steps is None else steps
        scheme = MeanFieldGameScheme(game, cells, steps, order, boundary, interval)
        scheme.set_theta(1.0)
        euler = scheme.transport(scheme.rates(scheme.jumps_of(control)[0]))
        for _ in scheme.limits(scheme.densities(euler)):  # as the solver does
            chosen, at_walls = scheme.jumps_of(control)
            if (scheme.densities(scheme.transport(scheme.rates(chosen))) > 0).all():
                break
        misfit = at_walls - scheme.wall_slopes
    rates = scheme.rates(chosen)
    m = scheme.transport(rates)
    best = scheme.jumps(scheme.best_response(m))
    # The Hamiltonian is convex: what a hop costs too much is its distance from its tangent.
    excess = scheme.hamiltonian(best) - scheme.hamiltonian(chosen) + rates * (best - chosen)
    beside = m.reshape(scheme.N, scheme.J)[:, scheme.walls]
    walls = game.kinetic / 4 * beside * misfit**2
    return float(scheme.dt * scheme.h * (np.sum((scheme.here @ m) * excess) + np.sum(walls)))


def _require_one_dimension(game: MeanFieldGame, otherwise: str) -> None:
    if game.dimension != 1:
        raise ValueError(f"dimension={game.dimension}: allowed is 1; in more, {otherwise}")
