"""PINA: Adam, then L-BFGS by its own callback, in float64; conditions built into the model.

As in its tutorials 3 (hard constraints), 11 (trainer) and 12 (equation); the optimizer changes by
its ``SwitchOptimizer``.
"""

import logging
from functools import cache

import torch._dynamo  # which the first optimizer would import, on the clock
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

from benchmarks.peers import equations, evaluated, inputs, outputs, prepare_torch, silent, trial

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
L_BFGS = {"lr": 1.0, "history_size": 100, "line_search_fn": "strong_wolfe"}
L_BFGS |= {"tolerance_grad": 0.0, "tolerance_change": 0.0}
#: Of the trainer, switched off: no files, no progress, no summary.
QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}


def unlabeled(tensor, names):
    return tensor.extract(names).as_subclass(torch.Tensor).split(1, 1)


class HardModel(torch.nn.Module):
    """A network that fulfills all conditions of a problem."""

    def __init__(self, race, hidden):
        super().__init__()
        self.problem, self.names = race.problem, race.names
        ends = len(race.names), outputs(race.problem)
        self.network = FeedForward(*ends, layers=list(hidden), func=torch.nn.Tanh)

    def forward(self, z):
        columns = unlabeled(z, self.names)
        raw = self.network(torch.cat(inputs(self.problem, torch, *columns), 1)).split(1, 1)
        return torch.cat(trial(self.problem, torch, raw, *columns), 1)


class Report(Callback):
    """Hands the solution to the race from time to time, and stops when the race is over."""

    def __init__(self, race, adam):
        self.race, self.adam = race, adam

    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch >= self.adam or trainer.current_epoch % 25 == 24:
            points = lambda z: LabelTensor(torch.tensor(z), list(self.race.names))
            fields = lambda z: module(points(z)).detach().as_subclass(torch.Tensor).T
            trainer.should_stop = not self.race.report(evaluated(fields))


@silent("You defined a `validation_step`")
def solve(race, seed, *, hidden=(20, 20, 20), points=1024, adam=50, rate=1e-3):
    """Solve the problem of a race."""
    prepare_torch(seed)
    fields = ["u", "m"][: outputs(race.problem)]

    def residual(z, u):
        @cache
        def labeled(by, i):
            return grad(labeled(by[1:], i), z, d=[by[0]]) if by else u.extract([fields[i]])

        d = lambda by, i=0: labeled(by, i).as_subclass(torch.Tensor)
        values, columns = unlabeled(u, fields), unlabeled(z, race.names)
        return torch.cat(equations(race.problem, torch, values, d, *columns), 1)

    space = {name: list(ends) for name, ends in race.problem.bounds.items()}
    parts = {"output_variables": fields, "domains": {"D": CartesianDomain(dict(space))}}
    parts["conditions"] = {"D": Condition(domain="D", equation=Equation(residual))}
    bases = (TimeDependentProblem, SpatialProblem)[1 - ("t" in space) :]
    if "t" in space:
        parts["temporal_domain"] = CartesianDomain({"t": space.pop("t")})
    problem = type("Problem", bases, parts | {"spatial_domain": CartesianDomain(space)})()
    problem.discretise_domain(points, "lh")
    solver = PINN(problem, HardModel(race, hidden), TorchOptimizer(torch.optim.Adam, lr=rate))
    calls = [SwitchOptimizer(TorchOptimizer(torch.optim.LBFGS, **L_BFGS), adam), Report(race, adam)]
    Trainer(solver, callbacks=calls, max_epochs=-1, enable_model_summary=False, **QUIET).train()
