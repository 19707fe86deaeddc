"""PINN and spectral solver on Burgers: error, time and the ratio of times, median of five runs."""

import time

import numpy as np

from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.solvers import solve_burgers_grid, solve_burgers_pinn
from opifex_tutorials.solvers.pinn import forget_compiled
from opifex_tutorials.verification import relative_l2

RUNS = 5
VISCOSITIES = {"0.01/pi": 0.01 / np.pi, "0.05": 0.05}


def timed(solve):
    """Return the solution and the wall time of the call in seconds."""
    start = time.perf_counter()
    solution = solve()
    return solution, time.perf_counter() - start


def solve_anew(problem, seed):
    """Solve by a PINN that pays for its own compilation."""
    forget_compiled()
    return solve_burgers_pinn(problem, seed=seed)


def row(name, problem, runs):
    """Print medians and ranges of error and time; return the median time."""
    t, x = np.linspace(0.02, 1, 50)[:, None], np.linspace(-1, 1, 201)[None]
    exact = problem.exact(t, x)
    errors = [relative_l2(solution(t, x), exact) for solution, _ in runs]
    seconds = [second for _, second in runs]
    print(
        f"  {name:28s} error {np.median(errors):.1e} [{min(errors):.1e}, {max(errors):.1e}]"
        f"  time {np.median(seconds):8.3f} s [{min(seconds):.3f}, {max(seconds):.3f}]"
    )
    return np.median(seconds)


def main():
    """Run both solvers on both viscosities."""
    for label, viscosity in VISCOSITIES.items():
        problem = BurgersProblem(viscosity)
        print(f"Burgers, viscosity {label}, final time 1, {RUNS} runs each: median [range]")
        grids = [timed(lambda p=problem: solve_burgers_grid(p)) for _ in range(RUNS)]
        pinns = [timed(lambda p=problem, s=s: solve_anew(p, seed=s)) for s in range(RUNS)]
        grid_time = row("spectral, ETDRK4", problem, grids)
        pinn_time = row("PINN, Levenberg-Marquardt", problem, pinns)
        print(f"  ratio of times, PINN to spectral: {pinn_time / grid_time:.0f}\n")
