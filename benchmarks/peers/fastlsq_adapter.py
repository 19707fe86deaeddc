"""FastLSQ: random sines, one least-squares solve; Newton with continuation where it is nonlinear.

The problem class follows the library's README and its own ``SteadyBurgers1D``: conditions are
rows with a weight, the viscosity comes down in steps. The rounds with more and more features, each
from scratch, are ours: what a user does who does not know how many it takes.
"""

import contextlib
import itertools
from dataclasses import replace

import numpy as np
import torch
from fastlsq import block_concat, solve_linear, solve_nonlinear

from benchmarks.peers import (
    OutOfTimeError,
    equations,
    evaluated,
    exact_fields,
    faces,
    misfits,
    outputs,
    silent,
)

WEIGHT = 100.0  # of the rows of initial and boundary conditions, as in the README
#: Largest frequencies, about, those of time first; and how many features a round has more.
BURGERS = {"scale": [3.0, 20.0], "hidden_size": 250, "n_pde": 1200, "max_iter": 30}
GAME = {"scale": [6.0, 20.0], "hidden_size": 300, "n_pde": 1200, "max_iter": 5, "tol_du": 1e-4}
LINEAR = {"scale": 5.0, "hidden_size": 250}


class Statement:
    """A problem as this library takes one: points, and the linearized equations at them."""

    def __init__(self, race, seed):
        self.race, self.rng, self.nu = race, np.random.default_rng(seed), None
        self.dim, self.n_outputs = len(race.names), outputs(race.problem)
        if self.n_outputs == 1 and hasattr(race.problem, "viscosity"):
            self.nu = self.nu_target = race.problem.viscosity
            self.use_continuation, self.continuation_schedule = True, [0.3, 0.1, 0.05, 0.02, 0.01]

    def source(self, x):
        return torch.zeros(len(x), 1)

    def get_train_data(self, n_pde, n_bc):
        low, high = (torch.tensor(e) for e in np.transpose(list(self.race.problem.bounds.values())))
        x = low + (high - low) * torch.rand(n_pde, self.dim)
        return x, faces(self.race.problem, n_bc // (2 * self.dim), self.rng), self.source(x)

    def build_newton_step(self, solver, x, sides, _source):
        if solver.beta is None:
            solver.beta = torch.zeros(solver.n_features, self.n_outputs)
        if self.race.clock.seconds > self.race.budget:
            raise OutOfTimeError
        problem = replace(self.race.problem, viscosity=self.nu) if self.nu else self.race.problem
        inside = lambda u, d: equations(problem, torch, u, d, *x.split(1, 1))  # noqa: E731
        parts = [linearize(solver, self.race.names, x, inside)]
        for number, (name, z) in enumerate(sides):
            first, *others = exact_fields(problem, *z.T)
            known, start = torch.tensor([first, *map(np.log, others)])[..., None], number % 2 == 0
            there = lambda u, d, at=(name, known): misfits(problem, *at, u, d, start)  # noqa: E731, B023
            rows = linearize(solver, self.race.names, torch.tensor(z), there)
            parts.append([WEIGHT * part for part in rows])
        return tuple(map(torch.cat, zip(*parts, strict=True)))

    build = build_newton_step


def linearize(solver, names, x, residuals):
    """Return the Jacobian of residuals by all coefficients, and the residuals with a minus."""
    cache, table = solver.basis.cache(x), {}

    def d(by, i=0):
        if (by, i) not in table:
            design = solver.basis.derivative(x, tuple(map(by.count, names)), cache=cache)
            table[by, i] = design, (design @ solver.beta[:, i : i + 1]).requires_grad_()
        return table[by, i][1]

    found, blocks = residuals([d("", i) for i in range(solver.beta.shape[1])], d), []
    for residual in found:
        values = [value for _, value in table.values()]
        options = {"retain_graph": True, "materialize_grads": True}
        slopes = zip(table, torch.autograd.grad(residual.sum(), values, **options), strict=True)
        row = [torch.zeros(len(x), solver.n_features) for _ in solver.beta.T]
        for (by, i), slope in slopes:
            row[i] = row[i] + slope * table[by, i][0]
        blocks.append(row)
    return block_concat(blocks), -torch.cat(found).detach()


@silent()
def solve(race, seed, **options):
    """Solve the problem of a race, with more features in every round."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    statement = Statement(race, seed)
    fit, usual = (solve_nonlinear, BURGERS) if statement.nu else (solve_linear, LINEAR)
    if statement.n_outputs == 2:
        fit, usual = solve_nonlinear, GAME
    options = {"mu": 0.0, "return_metrics": False, "verbose": False, **usual, **options}
    with contextlib.suppress(OutOfTimeError):
        for blocks in itertools.count(1):
            found = fit(statement, n_blocks=blocks, return_solver=True, **options)
            solver = found["solver"]
            if not race.report(evaluated(lambda z, s=solver: s.predict(torch.tensor(z)).T)):
                break
