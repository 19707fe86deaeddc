"""jinns: natural gradient with a backtracking line search, in float64; conditions built in.

As in its notebooks ``heat_equation_ngd`` and ``1D_non_stationary_Burgers``, but with more points
than the latter, which helps, and with conditions built in by a transform of the output; for
Burgers they stay in the loss, as there, which did better. The error is reported from within the
compiled training by the library's own hook for validation; the forward pass that this takes is on
the clock.
"""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import jinns
import numpy as np
import optax
from jax.experimental import io_callback
from jinns.optimizers import vanilla_ngd
from jinns.validation import AbstractValidationModule

from benchmarks.peers import equations, evaluated, inputs, outputs, silent, trial
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem

#: Widths of the network, points, ridge, whether conditions are in the loss.
USUAL, HEAT, BURGERS = (16, 2, 2048, 1e-5, 0), (16, 2, 2048, 1e-7, 0), (16, 3, 4096, 1e-5, 1)
RECIPES = {BurgersProblem: BURGERS, HeatProblem: HEAT}


class Report(AbstractValidationModule):
    """Hands the solution to the race from time to time, and stops when the race is over."""

    u: object
    points: jax.Array
    race: object = eqx.field(static=True)
    call_every: int = eqx.field(static=True, kw_only=True, default=5)

    def __call__(self, params):
        fields = jax.vmap(self.u, (0, None))(self.points, params).T
        report = lambda f: np.array(self.race.report(evaluated(lambda _: f)))  # noqa: E731
        left = io_callback(report, jax.ShapeDtypeStruct((), jnp.bool_), fields)
        return self, ~left, jnp.zeros(()), False


@silent()
def solve(race, seed, *, recipe=None):
    """Solve the problem of a race."""
    jax.config.update("jax_enable_x64", True)
    problem, bounds = race.problem, list(race.problem.bounds.values())
    width, depth, points, ridge, soft = recipe or RECIPES.get(type(problem), USUAL)
    evolves = race.names[0] == "t"
    kind = "PDENonStatio" if evolves else "PDEStatio"

    class Equation(getattr(jinns.loss, kind)):
        def equation(self, z, u, params):
            def along(by):
                if not by:
                    return lambda z: u(z, params)
                unit = jnp.eye(z.size)[race.names.index(by[0])]
                return lambda z: jax.jvp(along(by[1:]), (z,), (unit,))[1]

            values = cache(lambda by: along(by)(z))
            return jnp.stack(equations(problem, jnp, values(""), lambda by, i=0: values(by)[i], *z))

    hard = lambda z, y, _: jnp.stack(trial(problem, jnp, jnp.atleast_1d(y), *z))  # noqa: E731
    keys, size = jax.random.split(jax.random.PRNGKey(seed)), len(bounds)
    u, weights = jinns.nn.PINN_MLP.create(
        eqx_network=eqx.nn.MLP(size, outputs(problem), width, depth, jnp.tanh, key=keys[0]),
        eq_type=kind,
        input_transform=lambda z, _: jnp.stack(inputs(problem, jnp, *z)),
        output_transform=None if soft else hard,
    )
    low, high = zip(*bounds[evolves:], strict=True)
    box = {"key": keys[1], "n": points, "method": "sobol", "dim": len(low)}
    box |= {"min_pts": low, "max_pts": high, "nb": 512 if soft else None}
    box |= {"tmin": 0, "tmax": bounds[0][1], "ni": 512} if evolves else {}
    terms = {"params": jinns.parameters.Params(nn_params=weights, eq_params={})}
    shares = {"dyn_loss": 1.0}
    if soft:
        terms["boundary_condition"] = jinns.loss.Dirichlet()
        terms["initial_condition_fun"] = lambda x: -jnp.sin(jnp.pi * x)
        shares |= {"initial_condition": 1.0, "boundary_loss": 1.0}
    terms["loss_weights"] = getattr(jinns.loss, f"LossWeights{kind}")(**shares)
    # Its default line search, which prints.
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=15)
    jinns.solve(
        init_params=terms["params"],
        data=getattr(jinns.data, f"CubicMesh{kind}")(**box),
        loss=getattr(jinns.loss, f"Loss{kind}")(u=u, dynamic_loss=Equation(), **terms),
        optimizer=vanilla_ngd(gram_reg=ridge, linesearch=search),
        n_iter=10**6,
        validation=Report(u, jnp.stack(race.points, axis=1), race),
        verbose=False,
    )
