"""PINA: Adam, then L-BFGS by its own callback, in float64; conditions built into the model.

As in its tutorials 3 (hard constraints), 11 (trainer) and 12 (equation); the optimizer changes by
its ``SwitchOptimizer``.
"""

import logging
from functools import cache

import torch
import torch._dynamo
from lightning.pytorch.callbacks import Callback
from pina import Condition, LabelTensor, Trainer
from pina.callback import SwitchOptimizer
from pina.domain import CartesianDomain
from pina.equation import Equation
from pina.model import FeedForward
from pina.operator import grad
from pina.optim import TorchOptimizer
from pina.problem import SpatialProblem, TimeDependentProblem
from pina.solver import PINN

from benchmarks.peers import equations, evaluated, inputs, outputs, silent, trial

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L_BFGS = {"lr": 1.0, "history_size": 100, "line_search_fn": "strong_wolfe", "tolerance_grad": 0.0}
#: No files, no progress, no summary.
QUIET = dict.fromkeys(["logger", "enable_checkpointing", "enable_progress_bar"], False)


class HardModel(torch.nn.Module):
    """A network that fulfills all conditions of a problem."""

    def __init__(self, race, hidden):
        super().__init__()
        self.problem, self.names = race.problem, race.names
        self.network = FeedForward(
            len(race.names), outputs(race.problem), layers=list(hidden), func=torch.nn.Tanh
        )

    def forward(self, z):
        columns = z.extract(self.names).as_subclass(torch.Tensor).split(1, 1)
        raw = self.network(torch.cat(inputs(self.problem, torch, *columns), 1))
        return torch.cat(trial(self.problem, torch, raw.split(1, 1), *columns), 1)


class Report(Callback):
    """Hands the solution to the race from time to time, and stops when the race is over."""

    def __init__(self, race, adam):
        self.race, self.adam = race, adam

    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch >= self.adam or trainer.current_epoch % 25 == 24:
            points = lambda z: LabelTensor(torch.tensor(z), list(self.race.names))  # noqa: E731
            evaluate = evaluated(lambda z: module(points(z)).detach().as_subclass(torch.Tensor).T)
            trainer.should_stop = not self.race.report(evaluate)


@silent("You defined a `validation_step`")
def solve(race, seed, *, hidden=(20, 20, 20), points=1024, adam=50, rate=1e-3):
    """Solve the problem of a race."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    fields = ["u", "m"][: outputs(race.problem)]

    def residual(z, u):
        @cache
        def labeled(by, i):
            return grad(labeled(by[1:], i), z, d=[by[0]]) if by else u.extract([fields[i]])

        d = lambda by, i=0: labeled(by, i).as_subclass(torch.Tensor)  # noqa: E731
        values, columns = [d("", i) for i in range(len(fields))], z.extract(race.names)
        columns = columns.as_subclass(torch.Tensor).split(1, 1)
        return torch.cat(equations(race.problem, torch, values, d, *columns), 1)

    bounds = {name: list(ends) for name, ends in race.problem.bounds.items()}
    space = {name: ends for name, ends in bounds.items() if name != "t"}
    parts = {"output_variables": fields, "spatial_domain": CartesianDomain(space)}
    parts["domains"] = {"D": CartesianDomain(bounds)}
    parts["conditions"] = {"D": Condition(domain="D", equation=Equation(residual))}
    bases = (SpatialProblem,)
    if "t" in bounds:
        bases = (TimeDependentProblem, SpatialProblem)
        parts["temporal_domain"] = CartesianDomain({"t": bounds["t"]})
    problem = type("Problem", bases, parts)()
    problem.discretise_domain(points, "lh")
    solver = PINN(problem, HardModel(race, hidden), TorchOptimizer(torch.optim.Adam, lr=rate))
    l_bfgs = TorchOptimizer(torch.optim.LBFGS, tolerance_change=0.0, **L_BFGS)
    calls = [SwitchOptimizer(l_bfgs, adam), Report(race, adam)]
    options = {"max_epochs": -1, "accelerator": "cpu", "enable_model_summary": False, **QUIET}
    Trainer(solver, callbacks=calls, **options).train()
