"""PINN on mean field games in many dimensions: errors, time; how a step grows with the dimension.

All of the table takes about an hour and a half on two cores: ``python -m
benchmarks.high_dimensional_games [WORD ...]`` runs the rows whose names contain one of the words,
and ``--steps`` the cost of a step.
"""

import sys
import time
from functools import partial
from typing import Any

import numpy as np

from opifex_tutorials.comparison import compare
from opifex_tutorials.losses.games_of_many import Setting, of_many
from opifex_tutorials.losses.torch_system import System, sobol
from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    LinearQuadraticGame,
    MixtureGame,
    TravellingGaussianGame,
)
from opifex_tutorials.solvers import solve_mfg_pinn
from opifex_tutorials.solvers.mfg_pinn import HIDDEN, untrained
from opifex_tutorials.training.levenberg_marquardt import (
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)
from opifex_tutorials.verification import relative_errors

# A narrow first layer: the time of a step grows with the square of the number of parameters.
LIFTED: dict[str, Any] = {
    "formulation": "lifted",
    "harmonics": 2,
    "hidden": (8, 12, 12),
    "points": (64, 64),
}
SYMMETRIC: dict[str, Any] = {"architecture": "symmetric", "harmonics": 1, "points": (16, 32)}
#: Budgets are those with which a run takes about as long as it may on one quiet core.
CASES = {
    "cosine, d = 10": (CosineGame(dimension=10), {}),
    "cosine, d = 50": (CosineGame(dimension=50), {"steps": 250}),
    "cosine, d = 100, symmetric": (CosineGame(dimension=100), {**SYMMETRIC, "steps": 300}),
    "linear-quadratic, d = 10": (LinearQuadraticGame(dimension=10), {"steps": 400}),
    "linear-quadratic, d = 50": (LinearQuadraticGame(dimension=50), {**SYMMETRIC, "steps": 500}),
    "travelling Gaussian, d = 10": (TravellingGaussianGame(dimension=10), {"steps": 400}),
    "travelling Gaussian, d = 50": (
        TravellingGaussianGame(dimension=50),
        {**SYMMETRIC, "steps": 500},
    ),
    "mixture, d = 5": (MixtureGame(dimension=5), {**LIFTED, "steps": 600}),
    "mixture, d = 10": (MixtureGame(dimension=10), {**LIFTED, "steps": 300}),
    "mixture, second harmonics, d = 10": (
        MixtureGame(dimension=10, harmonics=2),
        {**LIFTED, "steps": 300},
    ),
    "mixture, d = 20": (
        MixtureGame(dimension=20),
        {**LIFTED, "steps": 150},
    ),
    "mixture, second harmonics, d = 20": (
        MixtureGame(dimension=20, harmonics=2),
        {**LIFTED, "steps": 150},
    ),
}
DIMENSIONS = (2, 5, 10, 20, 50, 100)


def measure(case, seed):
    """Return relative errors of u, ∇u and m, wall time and processor time in seconds."""
    game, options = case
    wall, processor = time.perf_counter(), time.process_time()
    solution = solve_mfg_pinn(game, seed=seed, tolerance=np.inf, **options)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return *relative_errors(solution), wall, processor


def step_seconds(dimension, architecture, steps=5, points=512):
    """Return the median processor time of a step on the cosine game, its new points included."""
    game = CosineGame(dimension=dimension)
    setting, draw = Setting(game, 1, lifted=False), sobol((0, 0))
    formulate = partial(of_many, harmonics=1, lifted=False)
    widths, start = untrained(game, formulate, None, 0, architecture)
    state, times = LevenbergMarquardtState(start), []
    for _ in range(steps):
        before = time.process_time()
        places = setting.place(draw((points,), setting.chances), setting.slope(start, widths))
        state = levenberg_marquardt_step(System(setting.conditions(*places), widths), state)
        times.append(time.process_time() - before)
    return np.median(times)


def print_steps():
    """Print how the time of a step grows with the dimension."""
    for architecture in HIDDEN:
        seconds = [step_seconds(d, architecture) for d in DIMENSIONS]
        exponent, late = (
            np.polyfit(np.log(DIMENSIONS[first:]), np.log(seconds[first:]), 1)[0]
            for first in (0, 3)
        )
        cells = ", ".join(f"{d}: {s:.3f}" for d, s in zip(DIMENSIONS, seconds, strict=True))
        print(f"{architecture}: seconds a step, 512 points, d = {cells}; exponent {exponent:.2f}")
        print(f"{architecture}: exponent from d = {DIMENSIONS[3]}: {late:.2f}")


def main(words=(), seeds=range(5)):
    """Print the rows whose names contain one of the words, five seeds each, side by side."""
    cases = {name: c for name, c in CASES.items() if not words or any(w in name for w in words)}
    columns = dict(zip(("u", "gradient_of_u", "m", "wall", "processor"), range(5), strict=True))
    for name, case in cases.items():  # row by row, so that an interrupted run leaves something
        found = compare(measure, {name: case}, seeds)
        quantities = {title: lambda run, i=i: run[i] for title, i in columns.items()}
        print(found.table("errors and seconds, median [range]", **quantities), flush=True)


if __name__ == "__main__":
    print_steps() if "--steps" in sys.argv else main(sys.argv[1:])
