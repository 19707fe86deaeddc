"""Random features: error, time and the bound on the error; how long the spectral solver takes."""

import time

import jax
import numpy as np

from opifex_tutorials.comparison import Comparison
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.solvers import (
    solve_burgers_features,
    solve_burgers_grid,
    solve_linear_features,
)
from opifex_tutorials.solvers.frozen_features import compile_operator
from opifex_tutorials.verification import certified_error, relative_l2

SEEDS = range(5)
MORE = {"features": 600, "points": (20, 60), "tolerance": 1e-9}
THIN = {"tolerance": 1e-7}
BURGERS = {
    "0.01/pi": (0.01 / np.pi, {}),
    "0.01/pi, 600 features": (0.01 / np.pi, MORE),
    "0.003": (0.003, {}),
    "0.005": (0.005, {}),
    "0.01": (0.01, {}),
    "0.03": (0.03, {}),
    "0.1": (0.1, {}),
    "0.001, ten times the tolerance": (0.001, THIN),
}
LINEAR = {
    "heat": HeatProblem(),
    "wave": WaveProblem(),
    "Poisson": PoissonProblem(),
    "Poisson in two dimensions": PoissonProblem(dimension=2),
}


def measure(solve):
    """Return the relative error, the wall time, compilation included, and bound over error."""
    jax.clear_caches()
    compile_operator.cache_clear()
    start = time.perf_counter()
    solution = solve()
    seconds, problem = time.perf_counter() - start, solution.problem
    axes = [np.linspace(low, high, 101) for low, high in problem.bounds.values()]
    if isinstance(problem, BurgersProblem):
        width = 4 * problem.viscosity
        near = width * np.sinh(np.linspace(0, 1, 151) * np.arcsinh(1 / width))
        axes[1] = np.concatenate([-near[:0:-1], near])
    points = np.meshgrid(*axes, indexing="ij")
    exact = problem.exact(*points)
    error, powers = solution(*points) - exact, 1 if isinstance(problem, BurgersProblem) else 2
    norms = np.abs(error) ** powers
    for axis in reversed(axes[1:] if "t" in problem.bounds else axes):
        norms = np.trapezoid(norms, axis, axis=-1)
    ratio = certified_error(solution).bound / np.max(norms) ** (1 / powers)
    return relative_l2(solution(*points), exact), seconds, ratio


def spectral_seconds(problem, error):
    """Return time and error of the first spectral solve, of doubled sizes, below an error."""
    t, x = np.linspace(0.02, 1, 50)[:, None], np.linspace(-1, 1, 201)[None]
    exact = problem.exact(t, x)
    for size in 2 ** np.arange(6, 14):
        start = time.perf_counter()
        solution = solve_burgers_grid(problem, points=int(size), steps=int(size), tolerance=np.inf)
        seconds = time.perf_counter() - start
        found = relative_l2(solution(t, x), exact)
        if found <= error:
            return seconds, found
    raise RuntimeError(f"no spectral solve is as accurate as {error:.1e}")


def print_runs(caption, solve):
    """Solve with each seed, print median and range, and return the medians."""
    columns = {"error": 0, "seconds": 1, "bound_over_error": 2}
    quantities = {name: lambda run, i=i: run[i] for name, i in columns.items()}
    runs = Comparison({caption: [measure(lambda s=s: solve(s)) for s in SEEDS]})
    print(runs.table("median [range]", **quantities), "\n", flush=True)
    return runs.median(np.array)[caption]


def main():
    """Run Burgers at all viscosities, the spectral solver beside it, and the linear problems."""
    medians = {}
    for name, (viscosity, options) in BURGERS.items():  # an interrupted run leaves something
        problem = BurgersProblem(viscosity)
        medians[name] = print_runs(
            f"Burgers, viscosity {name}",
            lambda s, p=problem, o=options: solve_burgers_features(p, seed=s, **o),
        )
    error, seconds, _ = medians["0.01/pi"]
    spectral, reached = spectral_seconds(BurgersProblem(0.01 / np.pi), error)
    print(f"The spectral solver reaches {reached:.1e} at 0.01/pi in {spectral:.2f} s:")
    print(f"random features take {seconds / spectral:.0f} times as long\n", flush=True)
    for name, problem in LINEAR.items():
        print_runs(name, lambda s, p=problem: solve_linear_features(p, seed=s))


if __name__ == "__main__":
    main()
