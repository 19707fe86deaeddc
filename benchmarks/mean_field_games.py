"""PINN and grid on mean field games: error, time and the ratio of times; time of one step."""

import time
from functools import partial

import numpy as np

from opifex_tutorials.comparison import compare
from opifex_tutorials.losses.games import hard
from opifex_tutorials.losses.torch_system import System, gauss
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    ExampleGame,
    LinearQuadraticGame,
    TravellingGaussianGame,
)
from opifex_tutorials.solvers import solve_mfg_grid, solve_mfg_pinn
from opifex_tutorials.training.levenberg_marquardt import (
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)
from opifex_tutorials.verification import mass_drift, relative_l2

GAMES = {
    "cosine, periodic": CosineGame(),
    "cosine, walls": CosineGame(boundary="neumann"),
    "linear-quadratic": LinearQuadraticGame(),
    "travelling Gaussian": TravellingGaussianGame(),
}
#: The corners of the range that the defaults are for.
CORNERS = {
    f"{boundary}, {nu}, {alpha}, {beta}": CosineGame(nu, alpha, beta, boundary=boundary)
    for boundary in ("periodic", "neumann")
    for nu in (0.05, 0.3)
    for alpha, beta in ((0.8, 0.8), (0.1, 0.8), (0.8, 0.1))
}


def error(quantity, solution):
    """Return the relative error of a solution's value or density."""
    game = solution.game
    t, x = np.linspace(0, game.horizon, 50)[:, None], np.linspace(*game.bounds["x"], 200)
    return relative_l2(getattr(solution, quantity)(t, x), getattr(game, quantity)(t, x))


def seconds(solution):
    """Return how long the solver took."""
    return solution.history.seconds[-1]


def step_seconds(steps=200):
    """Return wall and processor time of single steps, 393 parameters, 2 x 512 residuals."""
    widths = (2, 17, 17, 2)
    system = System(hard(CosineGame()).conditions(gauss, (32, 16)), widths)
    weights = [p.detach().numpy().ravel() for p in MLP(widths, seed=0).parameters()]
    state, times = LevenbergMarquardtState(np.concatenate(weights)), []
    for _ in range(steps):
        before = np.array([time.perf_counter(), time.process_time()])
        state = levenberg_marquardt_step(system, state)
        times.append(np.array([time.perf_counter(), time.process_time()]) - before)
    return np.median(times, axis=0)


def solve(case, seed):
    """Solve a game by one of the methods; the grid knows no chance, and repeats itself."""
    method, game, options = case
    if method == "PINN":
        return solve_mfg_pinn(game, seed=seed, **options)
    return solve_mfg_grid(game, **options)


def main(games=GAMES):
    """Print grid and PINN for each game, five runs each, and the ratio of times."""
    wall, processor = 1e3 * step_seconds()
    print(f"One step, median: {wall:.1f} ms wall time, {processor:.1f} ms processor time")
    columns = {
        "value": partial(error, "value"),
        "density": partial(error, "density"),
        "mass": mass_drift,
        "seconds": seconds,
    }
    for name, game in games.items():
        methods = ("grid, 80 cells, order 2", "PINN")
        found = compare(solve, {method: (method, game, {}) for method in methods})
        print(found.table(f"{name}: errors and time, median [range]", **columns))
        grid, pinn = found.median(seconds).values()
        print(f"ratio of times, PINN to grid: {pinn / grid:.0f}\n")
    sizes = {
        f"{cells} x {steps}, order {order}": {"cells": cells, "steps": steps, "order": order}
        for cells, steps in ((50, 30), (100, 50))
        for order in (1, 2)
    }
    cases = {name: ("grid", ExampleGame(), options) for name, options in sizes.items()}
    found = compare(solve, cases)
    print(found.table("The published example, which has no closed form", seconds=seconds))


if __name__ == "__main__":
    main(GAMES | CORNERS)
