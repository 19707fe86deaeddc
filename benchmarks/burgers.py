"""PINN and spectral solver on Burgers: error, time, ratio of times; a step beside its products."""

import time

import numpy as np
from scipy.linalg.blas import dsyrk

from opifex_tutorials.comparison import Comparison
from opifex_tutorials.losses.burgers import burgers_layer
from opifex_tutorials.losses.jax_system import Program, System
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.solvers import solve_burgers_grid, solve_burgers_pinn
from opifex_tutorials.solvers.pinn import forget_compiled
from opifex_tutorials.training.levenberg_marquardt import (
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)
from opifex_tutorials.verification import relative_l2

SEEDS = range(5)
VISCOSITIES = {"0.01/pi": 0.01 / np.pi, "0.05": 0.05}
SOLVERS = {
    "spectral, ETDRK4": lambda problem, seed: solve_burgers_grid(problem),
    "PINN, compilation included": lambda problem, seed: solve_anew(problem, seed),
    "PINN, compiled": lambda problem, seed: solve_burgers_pinn(problem, seed=seed),
}


def solve_anew(problem, seed):
    """Solve by a PINN that pays for its own compilation."""
    forget_compiled()
    return solve_burgers_pinn(problem, seed=seed)


def measure(solve, problem, seed):
    """Return error and wall time in seconds of one solve."""
    start = time.perf_counter()
    solution = solve(problem, seed)
    seconds = time.perf_counter() - start
    t, x = np.linspace(0.02, 1, 50)[:, None], np.linspace(-1, 1, 201)[None]
    return relative_l2(solution(t, x), problem.exact(t, x)), seconds


def step_seconds(steps=200):
    """Return the times of single steps of two layers of 16, and of their two products alone.

    A step is one accepted step of Levenberg and Marquardt with geodesic acceleration, 353
    parameters and 2,048 points. It needs the Gram matrix, which is symmetric, and the gradient.
    """
    problem = BurgersProblem(VISCOSITIES["0.01/pi"])
    program = Program(burgers_layer, problem, 2048, (16, 16))
    system = System(program, problem, program.sample(problem, (0, 0)))
    state = LevenbergMarquardtState(program.initial_parameters(0))
    state = levenberg_marquardt_step(system, state)  # compiles
    whole, products = [], []
    for _ in range(steps):
        r, jacobian = system.linearize(state.parameters)
        start = time.perf_counter()
        dsyrk(1.0, jacobian.T)
        jacobian.T @ r
        middle = time.perf_counter()
        state = levenberg_marquardt_step(system, state)
        whole.append(time.perf_counter() - middle)
        products.append(middle - start)
    return np.array(whole), np.array(products)


def main():
    """Run the solvers on both viscosities, then single steps."""
    for label, viscosity in VISCOSITIES.items():
        problem = BurgersProblem(viscosity)
        runs = Comparison(
            {name: [measure(s, problem, seed) for seed in SEEDS] for name, s in SOLVERS.items()}
        )
        caption = f"Burgers, viscosity {label}, final time 1: median of {len(SEEDS)} [range]"
        print(runs.table(caption, error=lambda run: run[0], seconds=lambda run: run[1]))
        grid, *pinns = runs.median(lambda run: run[1]).values()
        print("ratio of times, PINN to spectral:", *(f"{pinn / grid:.0f}" for pinn in pinns), "\n")
    whole, products = step_seconds()
    print(
        f"one step of Levenberg-Marquardt: {1e3 * np.median(whole):.1f} ms; its two matrix products"
        f" alone: {1e3 * np.median(products):.1f} ms; ratio {np.median(whole / products):.2f}\n"
    )
