"""DeepXDE: Adam, then L-BFGS, in float64; conditions built in by a transform of the output.

The optimizers and the number of points are about those of its example ``pinn_forward/Burgers.py``,
the transform is that of ``pinn_forward/diffusion_1d_exactBC.py``. Fewer steps of Adam, and a
smaller network, did better within the budgets tried.
"""

import contextlib
import io
import os

import numpy as np
import torch._dynamo  # which the first optimizer would import, on the clock

from benchmarks.peers import equations, evaluated, inputs, outputs, prepare_torch, silent, trial

os.environ.setdefault("DDE_BACKEND", "pytorch")
with contextlib.redirect_stderr(io.StringIO()):  # it announces its backend
    import deepxde as dde
from deepxde.optimizers.config import LBFGS_options


class Report(dde.callbacks.Callback):
    """Hands the solution to the race from time to time, and stops when the race is over."""

    def __init__(self, race, every):
        super().__init__()
        self.race, self.every, self.calls = race, every, 0

    def on_epoch_end(self):
        self.calls += 1
        if self.calls % self.every == 0:
            evaluate = evaluated(lambda z: self.model.predict(z).T)
            self.model.stop_training = not self.race.report(evaluate)


@silent("The balance properties of Sobol")
def solve(race, seed, *, hidden=(20, 20, 20), points=1023, adam=100, rate=1e-3):
    """Solve the problem of a race."""
    problem, columns = race.problem, lambda z: z.split(1, dim=1)
    dde.config.set_default_float("float64")
    dde.config.set_random_seed(seed)
    prepare_torch(seed)

    def pde(z, u):
        def d(by, i=0):
            axes = [race.names.index(name) for name in by]
            if len(axes) == 1:
                return dde.grad.jacobian(u, z, i=i, j=axes[0])
            return dde.grad.hessian(u, z, component=i, i=axes[0], j=axes[1])

        return equations(problem, torch, columns(u), d, *columns(z))

    low, high = np.transpose(list(problem.bounds.values()))
    box = dde.geometry.Interval(*low, *high) if low.size == 1 else dde.geometry.Rectangle(low, high)
    data = dde.data.PDE(box, pde, [], num_domain=points, train_distribution="Sobol")
    net = dde.nn.FNN([low.size, *hidden, outputs(problem)], "tanh", "Glorot normal")
    net.apply_feature_transform(lambda z: torch.cat(inputs(problem, torch, *columns(z)), 1))
    net.apply_output_transform(
        lambda z, y: torch.cat(trial(problem, torch, columns(y), *columns(z)), 1)
    )
    model, quiet = dde.Model(data, net), {"verbose": 0, "display_every": 10**9}
    model.compile("adam", lr=rate, verbose=0)
    model.train(iterations=adam, callbacks=[Report(race, 50)], **quiet)
    dde.optimizers.set_LBFGS_options(gtol=0, maxiter=10**7)
    LBFGS_options.update(iter_per_step=10, fun_per_step=20)  # between two reports
    model.compile("L-BFGS", verbose=0)
    if race.clock.seconds < race.budget:
        model.train(callbacks=[Report(race, 1)], **quiet)
