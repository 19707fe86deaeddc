"""FastLSQ: random sines, one least-squares solve; Newton with continuation where it is nonlinear.

The problem class follows the library's README and its own ``SteadyBurgers1D``: conditions are
rows with a weight, the viscosity comes down in steps. The rounds with more and more features, each
from scratch, are ours: what a user does who does not know how many it takes. On linear problems
they end at 1,000, where nothing is left to gain.
"""

import contextlib
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from fastlsq import solve_linear, solve_nonlinear

from benchmarks import peers
from benchmarks.peers.least_squares import linearize

WEIGHT = 100.0  # of the rows of initial and boundary conditions, as in the README
#: Largest frequencies, about, those of time first; and how many features a round has more.
BURGERS = {"scale": [3.0, 20.0], "hidden_size": 250, "n_pde": 1200, "max_iter": 30}
GAME = {"scale": [6.0, 20.0], "hidden_size": 300, "n_pde": 1200, "max_iter": 5, "tol_du": 1e-4}
LINEAR = {"scale": 10.0, "hidden_size": 250, "n_pde": 3000, "method": "qr"}


class Statement:
    """A problem as this library takes one: points, and the linearized equations at them."""

    def __init__(self, race, seed):
        self.race, self.rng, self.nu = race, np.random.default_rng(seed), None
        self.dim, self.n_outputs = len(race.names), peers.outputs(race.problem)
        if self.n_outputs == 1 and hasattr(race.problem, "viscosity"):
            self.nu = self.nu_target = race.problem.viscosity
            self.use_continuation, self.continuation_schedule = True, [0.3, 0.1, 0.05, 0.02, 0.01]

    def source(self, x):
        return torch.zeros(len(x), 1)

    def get_train_data(self, n_pde, n_bc):
        x = torch.tensor(peers.inside(self.race.problem, n_pde, self.rng))
        return x, peers.faces(self.race.problem, n_bc // (2 * self.dim), self.rng), self.source(x)

    def build_newton_step(self, solver, x, sides, _source):
        if solver.beta is None:
            solver.beta = torch.zeros(solver.n_features, self.n_outputs)
        if self.race.clock.seconds > self.race.budget:
            self.race.report(evaluated(solver))  # unfinished, and too late to count
            raise peers.OutOfTimeError
        problem = replace(self.race.problem, viscosity=self.nu) if self.nu else self.race.problem
        inside = lambda u, d: peers.equations(problem, torch, u, d, *x.split(1, 1))
        parts = [linearize(solver, self.race.names, x, inside)]
        for number, (name, z) in enumerate(sides):
            first, *others = peers.exact_fields(problem, *z.T)
            known = torch.tensor(np.stack([first, *map(np.log, others)]))[..., None]
            there = partial(peers.misfits, problem, name, known, number % 2 == 0)
            rows = linearize(solver, self.race.names, torch.tensor(z), there)
            parts.append([WEIGHT * part for part in rows])
        return tuple(map(torch.cat, zip(*parts, strict=True)))

    build = build_newton_step


def evaluated(solver):
    return peers.evaluated(lambda z: solver.predict(torch.tensor(z)).T)


@peers.silent()
def solve(race, seed, **options):
    """Solve the problem of a race, with more features in every round."""
    peers.prepare_torch(seed)
    statement = Statement(race, seed)
    fit, usual = (solve_nonlinear, BURGERS) if statement.nu else (solve_linear, LINEAR)
    if statement.n_outputs == 2:
        fit, usual = solve_nonlinear, GAME
    options = {"mu": 0.0, "return_metrics": False, "verbose": False, **usual, **options}
    points, rounds = options.pop("n_pde"), 5 if usual is LINEAR else 7
    with contextlib.suppress(peers.OutOfTimeError):
        for blocks in range(1, rounds):
            options["n_pde"] = points * (1 if usual is LINEAR else blocks)
            found = fit(statement, n_blocks=blocks, return_solver=True, **options)
            if not race.report(evaluated(found["solver"])):
                break
