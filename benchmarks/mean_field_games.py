"""PINN and grid on mean field games: error, time and the ratio of times; time of one step."""

import time

import numpy as np

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

SEEDS = range(5)
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


def measure(solve):
    """Call a solver; return errors of u, of m and of the mass, and the seconds it took."""
    start = time.perf_counter()
    solution = solve()
    seconds = time.perf_counter() - start
    game = solution.game
    (low, high), t = game.bounds["x"], np.linspace(0, game.horizon, 50)[:, None]
    x = np.linspace(low, high, 200)
    return (
        relative_l2(solution.value(t, x), game.value(t, x)),
        relative_l2(solution.density(t, x), game.density(t, x)),
        mass_drift(solution),
        seconds,
    )


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


def main(games=GAMES):
    """Print grid and PINN for each game, the worst of all seeds, and the ratio of times."""
    wall, processor = 1e3 * step_seconds()
    print(f"One step, median: {wall:.1f} ms wall time, {processor:.1f} ms processor time")
    print(f"Mean field games, worst of {len(SEEDS)} seeds (time: median)")
    for name, game in games.items():
        grids = [measure(lambda g=game: solve_mfg_grid(g)) for _ in SEEDS]
        pinns = [measure(lambda g=game, s=s: solve_mfg_pinn(g, seed=s)) for s in SEEDS]
        times = []
        for method, runs in (("grid, 80 cells, order 2", grids), ("PINN", pinns)):
            u, m, mass, _ = np.max(runs, axis=0)
            times.append(np.median([run[-1] for run in runs]))
            print(f"  {name:22s} {method:24s} u {u:.1e}  m {m:.1e}  mass {mass:.1e}", end="")
            print(f"  {times[-1]:6.2f} s")
        print(f"    ratio of times, PINN to grid: {times[1] / times[0]:.0f}")
    for cells, steps in ((50, 30), (100, 50)):  # the published example, which has no closed form
        for order in (1, 2):
            options = {"cells": cells, "steps": steps, "order": order}
            seconds = [solve_mfg_grid(ExampleGame(), **options).history.seconds[-1] for _ in SEEDS]
            print(
                f"  example, {cells} x {steps}, order {order}: {np.median(seconds):.2f} s", end=""
            )
            print(f" [{min(seconds):.2f}, {max(seconds):.2f}]")


if __name__ == "__main__":
    main(GAMES | CORNERS)
