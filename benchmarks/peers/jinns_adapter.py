"""jinns: natural gradient with a backtracking line search, in float64; conditions built in.

As in its notebooks ``heat_equation_ngd`` and ``1D_non_stationary_Burgers``, but with more points
than the latter, which helps, and with conditions built in by a transform of the output. The error
is reported from within the compiled training by the library's own hook for validation; the forward
pass that this takes is on the clock.
"""

from functools import cache

import equinox as eqx
import jax.experimental
import jax.numpy as jnp
import jinns.validation
import optax

from benchmarks.peers import equations, evaluated, inputs, outputs, silent, trial
from opifex_tutorials.problems.linear import HeatProblem

#: What did best: width and depth of the network, points, ridge, whether conditions stay in the
#: loss. SOFT is for Burgers at 0.01/π given a minute.
USUAL, SOFT = (16, 2, 2048, 1e-5, False), (16, 3, 4096, 1e-5, True)
RECIPES = {HeatProblem: (16, 2, 2048, 1e-7, False)}


class Report(jinns.validation.AbstractValidationModule):
    """Hands the solution to the race from time to time, and stops when the race is over."""

    u: object
    points: jax.Array
    race: object = eqx.field(static=True)
    call_every: int = eqx.field(static=True, kw_only=True, default=5)

    def __call__(self, params):
        fields = jax.vmap(self.u, (0, None))(self.points, params).T
        report = lambda f: self.race.report(evaluated(lambda _: f))
        left = jax.experimental.io_callback(report, jax.ShapeDtypeStruct((), jnp.bool_), fields)
        return self, ~left, jnp.zeros(()), False


@silent()
def solve(race, seed, *, recipe=None):
    """Solve the problem of a race."""
    jax.config.update("jax_enable_x64", True)
    problem, bounds = race.problem, list(race.problem.bounds.values())
    width, depth, points, ridge, soft = recipe or RECIPES.get(type(problem), USUAL)
    kind = "PDENonStatio" if (evolves := race.names[0] == "t") else "PDEStatio"

    class Equation(getattr(jinns.loss, kind)):
        def equation(self, z, u, params):
            units = dict(zip(race.names, jnp.eye(z.size), strict=True))

            def along(by, z):
                f = lambda z: along(by[1:], z)
                return jax.jvp(f, (z,), (units[by[0]],))[1] if by else u(z, params)

            values = cache(lambda by: along(by, z))
            return jnp.stack(equations(problem, jnp, values(""), lambda by, i=0: values(by)[i], *z))

    hard = lambda z, y, _: jnp.stack(trial(problem, jnp, jnp.atleast_1d(y), *z))
    keys, ends = jax.random.split(jax.random.PRNGKey(seed)), (len(bounds), outputs(problem))
    network = eqx.nn.MLP(*ends, width, depth, jnp.tanh, key=keys[0])
    transforms = {"input_transform": lambda z, _: jnp.stack(inputs(problem, jnp, *z))}
    transforms["output_transform"] = None if soft else hard
    u, weights = jinns.nn.PINN_MLP.create(eqx_network=network, eq_type=kind, **transforms)
    low, high = zip(*bounds[evolves:], strict=True)
    box = {"n": points, "dim": len(low), "min_pts": low, "max_pts": high, "method": "sobol"}
    box |= {"tmin": 0, "tmax": bounds[0][1], "ni": 512} if evolves else {}
    start, shares = jinns.parameters.Params(nn_params=weights, eq_params={}), {"dyn_loss": 1.0}
    terms = {"params": start, "u": u, "dynamic_loss": Equation()}
    if soft:
        terms["boundary_condition"] = jinns.loss.Dirichlet()
        terms["initial_condition_fun"] = lambda x: -jnp.sin(jnp.pi * x)
        shares |= {"initial_condition": 1.0, "boundary_loss": 1.0}
    terms["loss_weights"] = getattr(jinns.loss, f"LossWeights{kind}")(**shares)
    # Its default line search, which would print.
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=15)
    jinns.solve(
        init_params=start,
        data=getattr(jinns.data, f"CubicMesh{kind}")(key=keys[1], nb=512 if soft else None, **box),
        loss=getattr(jinns.loss, f"Loss{kind}")(**terms),
        optimizer=jinns.optimizers.vanilla_ngd(gram_reg=ridge, linesearch=search),
        validation=Report(u, jnp.stack(race.points, axis=1), race),
        **{"n_iter": 10**6, "verbose": False},
    )
