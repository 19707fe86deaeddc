# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own equation
#
# ```{list-table}
# :header-rows: 1
#
# * - Level
#   - Runtime
#   - Prerequisites
#   - Format
#   - Memory
# * - intermediate
#   - {glue:text}`own_equation.seconds:.0f` s
#   - {doc}`first_pinn`
#   - notebook, in JAX
#   - {glue:text}`own_equation.peak_memory:.0f` MB
# ```
#
# Every equation so far had a closed form to check against. Yours has none. This chapter
# takes one without, from phase separation, and goes the whole way: write it in
# {glue:text}`own_equation.lines:.0f` lines, find slips before anything is trained, solve it,
# estimate the error from the residual, compare with a classical method, decide. The network
# ends with a relative error of {glue:text}`own_equation.error_worst:.0e` in the worst of five
# seeds; the estimate, which knew no answer, said {glue:text}`own_equation.estimate_worst:.0e`.
# The classical method has the same error
# {glue:text}`own_equation.lines_faster:.0f` times sooner.

# %% [markdown]
# ## What you will learn
#
# - how to state an equation, its data and its symmetry, and solve it by one call;
# - how a second statement of the same equation catches slips of sign and factor;
# - how to test the whole chain on an exact solution that you choose;
# - what to do when a first attempt fails;
# - how to estimate an error without knowing the answer, and what no such check can see.

# %% [markdown]
# ## Four things
#
# The Allen–Cahn equation describes two phases, $u = 1$ and $u = -1$, that separate:
#
# $$
# u_t = \kappa\,u_{xx} + r\,(u - u^3), \qquad u(0, x) = x^2 \cos \pi x,
# $$
#
# on a ring, $-1 \le x \le 1$, with $\kappa = 10^{-4}$ and $r = 5$. What you bring is a
# *problem* (numbers and bounds), a *residual*, a *trial function* that has the initial
# values built in, and the word *periodic*. A problem is any frozen dataclass:

# %%
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from opifex_tutorials.losses.jax_system import derivative


@dataclass(frozen=True)
class AllenCahn:
    """Diffusion and reaction on a ring."""

    diffusivity: float = 1e-4
    rate: float = 5.0
    bounds: ClassVar = {"t": (0.0, 1.0), "x": (-1.0, 1.0)}


# %% [markdown]
# A residual takes a function and returns a function, both of $(t, x)$. It reads like the
# formula:


# %%
def residual(problem, u):
    """Return what has to vanish."""
    u_t, u_xx = derivative(u, 0), derivative(derivative(u, 1), 1)
    k, r = problem.diffusivity, problem.rate

    def R(t, x):
        return u_t(t, x) - k * u_xx(t, x) - r * (u(t, x) - u(t, x) ** 3)

    return R


# %% [markdown]
# The trial function is right at $t = 0$, whatever the network $N$ says:


# %%
def start(x):
    """Return the initial values."""
    return x**2 * jnp.cos(jnp.pi * x)


def trial(problem, N):
    """Return the candidate made of a network."""
    return lambda t, x: start(x) + t * N(t, x)


# %% tags=["hide-input"]
import inspect
from dataclasses import fields

import numpy as np

from opifex_tutorials.results import record

PREFIX = "own_equation"


def note(name, value, unit="relative L2", **bound):
    """Record a result of this chapter."""
    return record(f"{PREFIX}.{name}", value, unit=unit, **bound)


def lines_of(*parts):
    """Count lines of code, without docstrings and blanks."""
    text = "\n".join(inspect.getsource(part) for part in parts)
    kept = [line.strip() for line in text.splitlines()]
    return sum(bool(line) and not line.startswith('"""') for line in kept)


statement = 3 + len(fields(AllenCahn))  # of a class no source is kept
written = statement + lines_of(residual, start, trial) + 1  # the call
note("lines", written, "lines of code", at_most=20)

# %% [markdown]
# With the call these are {glue:text}`own_equation.lines:.0f` lines of code, imports aside.
# Before it trains, `solve_equation` tries the statement at a few points, and says what is
# wrong: a problem that is not frozen, a residual that is no number, a trial function that
# forgets the network. It cannot know whether the equation is the one you meant.
#
# ## Say it twice
#
# A wrong sign trains as well as a right one: the loss falls, the curve is smooth. What
# catches a slip is to state the equation a second time in another form. `Named` takes a
# formula whose parameters say what they are, `u_xx` for $u_{xx}$; conditions are asked for
# on their faces, by the same kind of formula.

# %%
from opifex_tutorials.losses.equation import Equation, Named
from opifex_tutorials.verification import mismatch


def formula(problem, u, u_t, u_xx):
    """Return the residual, by the names of derivatives."""
    reaction = problem.rate * u * (1 - u) * (1 + u)
    return u_t - problem.diffusivity * u_xx - reaction


def initial(u, x):
    """Return what vanishes at the start."""
    return u - x**2 * (2 * jnp.cos(jnp.pi * x / 2) ** 2 - 1)


# %% [markdown]
# Both statements are of the same class. The first one can be trained, the second asks:

# %%
problem = AllenCahn()
first = Equation(residual, trial, periodic=("x",))
second = Equation(
    Named(formula),
    periodic=("x",),
    faces=(("t", "low", Named(initial)),),
)
agreement = mismatch(problem, first, second)
agreement

# %% [markdown]
# The two agree to rounding, at random points and for functions that solve nothing. Now break
# the first one on purpose: each of its four terms with another sign, left out, halved and
# doubled, and the initial values with four slips.


# %%
def terms_with(*factors):
    """Return the residual with a factor before each of its terms."""

    def wrong(problem, u):
        u_t, u_xx = derivative(u, 0), derivative(derivative(u, 1), 1)

        def R(t, x):
            v, k, r = u(t, x), problem.diffusivity, problem.rate
            terms = u_t(t, x), -k * u_xx(t, x), -r * v, r * v**3
            return sum(f * term for f, term in zip(factors, terms))

        return R

    return wrong


# %% [markdown]
# The slips in the data are a sign, a factor, a sine for the cosine, and a factor $t$ that
# was forgotten, so that the network is free at the start.


# %%
def beginning(value, mask=0.0):
    """Return a trial function with other initial values."""
    return lambda problem, N: lambda t, x: value(x) + (t + mask) * N(t, x)


spoiled = np.ones((4, 4, 4))  # term, factor, factors of all terms
for term in range(4):
    spoiled[term, :, term] = -1, 0, 0.5, 2
slips = [Equation(terms_with(*f), trial) for f in spoiled.reshape(16, 4)]
starts = [beginning(lambda x, f=f: f * start(x)) for f in (-1, 2)]
starts += [beginning(lambda x: x**2 * jnp.sin(jnp.pi * x))]
starts += [beginning(start, mask=1.0)]
slips += [Equation(residual, wrong) for wrong in starts]

# %% [markdown]
# A slip counts as caught if some part of the two statements differs by more than a
# millionth.

# %%
differences = [
    max(mismatch(problem, slip, second).values()) for slip in slips
]
caught = sum(difference > 1e-6 for difference in differences)
print(f"{caught} of {len(slips)} caught, the least by {min(differences):.0e}")

# %% tags=["hide-input"]
disagreement = max(agreement.values())
note(
    "disagreement",
    disagreement,
    "relative",
    at_most=1e-12,
    loose="rounding level",
)
note("slips_caught", caught, "of 20", at_least=20)
note("slips_least", min(differences), "relative", at_least=1e-5)

# %% [markdown]
# All {glue:text}`own_equation.slips_caught:.0f` are caught. The least difference,
# {glue:text}`own_equation.slips_least:.0e`, is one of diffusion, which with this $\kappa$ is a
# small part of the sum; a difference of rounding is
# {glue:text}`own_equation.disagreement:.0e`. It took seconds, and no training.
#
# ## An exact solution that you choose
#
# Two statements that agree can still be solved wrongly. So choose a function $u^*$ and
# let the second statement say which source belongs to it {cite}`roache2002`:
#
# $$
# R_1[u] = R_2[u^*] .
# $$
#
# If the statements agree, $u^*$ solves this equation, and the error of the solver can be
# measured. `manufactured` takes a smooth wave for $N$ in the trial function, so that $u^*$ has
# all conditions built in. We do it for four equations: ours, with a larger $\kappa$ that
# makes the layers wide, and three more. A system of two species, the FitzHugh–Nagumo
# equations of a nerve pulse:


# %%
@dataclass(frozen=True)
class Pulse:
    """Excitation v and recovery w on a ring."""

    diffusivity: float = 0.01
    bounds: ClassVar = {"t": (0.0, 1.0), "x": (0.0, 2.0)}


def pulse(problem, u):
    """Return the residuals of both fields, u = (v, w)."""
    u_t, u_xx = derivative(u, 0), derivative(derivative(u, 1), 1)

    def R_v(t, x):
        (v, w), k = u(t, x), problem.diffusivity
        return u_t(t, x)[0] - k * u_xx(t, x)[0] - v * (1 - v) * (v - 0.1) + w

    return R_v, lambda t, x: u_t(t, x)[1] - u(t, x) @ jnp.array([1.0, -1.0])


# %% [markdown]
# The same again by names, of which two fields have two kinds:


# %%
def pulse_again(problem, v, w, v_t, w_t, v_xx):
    """Return both residuals."""
    cubic = v**3 - 1.1 * v**2 + 0.1 * v
    return v_t - problem.diffusivity * v_xx + cubic + w, w_t - v + w


def hump(problem, N):
    """Return an excited place, and no recovery yet."""
    at_start = lambda x: jnp.stack([jnp.cos(jnp.pi * x / 2) ** 2, 0 * x])
    return lambda t, x: at_start(x) + t * N(t, x)


def hump_again(v, w, x):
    """Return what vanishes at the start."""
    return v - 0.5 - 0.5 * jnp.cos(jnp.pi * x), w


# %% [markdown]
# The Kuramoto–Sivashinsky equation of a flame front has four derivatives in space:


# %%
@dataclass(frozen=True)
class Front:
    """A flame front on a ring."""

    viscosity: float = 0.1
    bounds: ClassVar = {"t": (0.0, 1.0), "x": (0.0, 2 * np.pi)}


def front(problem, u):
    """Return the residual."""
    u_t, u_x = derivative(u, 0), derivative(u, 1)
    u_xx = derivative(u_x, 1)
    u_xxxx = derivative(derivative(u_xx, 1), 1)

    def R(t, x):
        spreading = u_xx(t, x) + problem.viscosity * u_xxxx(t, x)
        return u_t(t, x) + u(t, x) * u_x(t, x) + spreading

    return R


# %% [markdown]
# Fisher's equation of a population that spreads, in two space dimensions:


# %%
@dataclass(frozen=True)
class Spread:
    """A population on a square whose sides meet."""

    diffusivity: float = 0.02
    rate: float = 2.0
    bounds: ClassVar = {"t": (0, 1), "x": (0, 1), "y": (0, 1)}


def spread(problem, u):
    """Return the residual."""
    u_t = derivative(u, 0)
    u_xx, u_yy = (derivative(derivative(u, i), i) for i in (1, 2))

    def R(*z):
        growth = problem.rate * u(*z) * (1 - u(*z))
        return u_t(*z) - problem.diffusivity * (u_xx(*z) + u_yy(*z)) - growth

    return R


def hill(x, y):
    """Return the initial population."""
    return jnp.sin(jnp.pi * x) ** 2 * jnp.sin(jnp.pi * y) ** 2


# %% [markdown]
# Their second statements, folded, and all four by name:

# %% tags=["hide-input"]
def front_again(problem, u, u_t, u_x, u_xx, u_xxxx):
    """Return the residual of the flame front."""
    return u_t + u * u_x + u_xx + problem.viscosity * u_xxxx


def spread_again(problem, u, u_t, u_xx, u_yy):
    """Return the residual of the population."""
    diffusion = problem.diffusivity * (u_xx + u_yy)
    return u_t - diffusion - problem.rate * u + problem.rate * u**2


def from_start(value):
    """Return a trial function that begins with a value."""
    return lambda problem, N: lambda t, *x: value(*x) + t * N(t, *x)


def begins(formula, fields=("u",)):
    """Return the condition at the start."""
    return (("t", "low", Named(formula, fields)),)


# %% tags=["hide-input"]
flat = lambda u, x, y: u - (1 - jnp.cos(2 * jnp.pi * x)) * (
    1 - jnp.cos(2 * jnp.pi * y)
) / 4
two, ring, square = ("v", "w"), ("x",), ("x", "y")
again = {
    "pulse": Equation(
        Named(pulse_again, two), None, 2, ring, begins(hump_again, two)
    ),
    "front": Equation(
        Named(front_again), None, 1, ring, begins(lambda u, x: u - jnp.sin(x))
    ),
    "spread": Equation(Named(spread_again), None, 1, square, begins(flat)),
}
STATED = {
    "Allen–Cahn": (AllenCahn(diffusivity=0.01), first, second),
    "pulse": (Pulse(), Equation(pulse, hump, 2, ring), again["pulse"]),
    "front": (
        Front(),
        Equation(front, from_start(jnp.sin), 1, ring),
        again["front"],
    ),
    "spread": (
        Spread(),
        Equation(spread, from_start(hill), 1, square),
        again["spread"],
    ),
}

# %% [markdown]
# The chosen solution of the pulse, to see what such a thing looks like: nothing in
# particular, which is the point.

# %%
from opifex_tutorials.verification import manufactured

made = {name: manufactured(*stated) for name, stated in STATED.items()}
x = np.linspace(0, 2, 5)
print(made["pulse"].exact(0.5, x).round(3))

# %% [markdown]
# Each is solved with five seeds by a small network, and compared with its exact solution on
# a grid.

# %%
from opifex_tutorials.comparison import compare
from opifex_tutorials.solvers.pinn import train_pinn
from opifex_tutorials.verification import relative_l2

SMALL = {"hidden": (12, 12), "points": 1024, "steps": 200}


def mesh(problem, count=41):
    """Return a grid of coordinates over the whole domain."""
    axes = [np.linspace(*ends, count) for ends in problem.bounds.values()]
    return np.meshgrid(*axes, indexing="ij")


def solve_made(case, seed):
    """Return the error of a network on a manufactured equation."""
    network = train_pinn(case.problem, case.equation, seed=seed, **SMALL)
    z = mesh(case.problem)
    return relative_l2(network(*z), case.exact(*z)), network.history.seconds[-1]


# %% [markdown]
# Error and time of every run:

# %%
tests = compare(solve_made, made, one_process=True)
tests.table(
    "Manufactured solutions, five seeds",
    error=lambda run: run[0],
    seconds=lambda run: run[1],
)

# %% tags=["hide-input"]
worst = tests.worst(lambda run: run[0])
for name, most in (
    ("Allen–Cahn", 3e-7),
    ("pulse", 6e-8),
    ("front", 5e-7),
    ("spread", 7e-7),
):
    note(f"made_{name.replace('Allen–Cahn', 'own')}", worst[name], at_most=most)
note("made_worst", max(worst.values()), at_most=1e-6)
note("made_seconds", max(tests.worst(lambda r: r[1]).values()), "s")

# %% [markdown]
# The worst of all twenty runs is wrong by {glue:text}`own_equation.made_worst:.0e`. And what if there had been a slip?
# The same, with half of the cubic term, for one seed:

# %%
from dataclasses import replace

half = replace(first, residual=terms_with(1, 1, 1, 0.5))
wide = STATED["Allen–Cahn"][0]
slipped = manufactured(wide, half, second, tolerance=np.inf)
slip_error, _ = solve_made(slipped, seed=0)
print(f"relative error: {slip_error:.2f}")

# %% tags=["hide-input"]
note("slip_error", slip_error, at_least=0.02)

# %% [markdown]
# The network solves that equation as well, but it is another one, and the error does not
# go below {glue:text}`own_equation.slip_error:.2f` however long it trains. Without
# `tolerance=np.inf` the call refuses and names the part that differs.
#
# ## The first attempt fails
#
# Now the real equation. One call, with the defaults:

# %%
from opifex_tutorials.solvers.own_equation import solve_equation
from opifex_tutorials.training.history import ConvergenceError

try:
    solve_equation(problem, residual, trial, seed=0, periodic=["x"])
except ConvergenceError as failure:
    print(failure)

# %% [markdown]
# It refuses to hand back what it has, and gives the residual at points that it was not trained on. Three things
# make this equation hard, and each can be seen in the formula.
#
# **A kink.** On the ring, $x^2 \cos \pi x$ has a corner at the seam $x = \pm 1$: its slope is
# 2 on one side and $-2$ on the other. A smooth network times $t$ cannot round it off.
# Diffusion does it in a known way: $|s|$ becomes $|s| + w\,\mathrm{ierfc}(|s|/w)$, with
# $s$ the distance from the seam and $w = 2\sqrt{\kappa t}$.
#
# **Growth.** Near $u = 0$ a disturbance grows like $e^{rt}$, by a factor of 148 until
# $t = 1$. So do errors. The reaction alone, $u' = r(u - u^3)$, has a closed form:
#
# $$
# \Phi_t(v) = \frac{e^{rt} v}{\sqrt{1 + v^2 (e^{2rt} - 1)}} .
# $$
#
# **Layers.** Where the sign changes, the solution is steep.
#
# All three are known before any training. So let the reaction act on the
# diffused data: not the solution, since diffusion and reaction act at once and not in
# turns, but close to it.


# %%
from jax.scipy.special import erfc


def rounding(problem, t, x):
    """Return what diffusion adds to the distance from the seam."""
    s, w = 1 - jnp.abs(x), 2 * jnp.sqrt(problem.diffusivity * t + 1e-30)
    return w / jnp.sqrt(jnp.pi) * jnp.exp(-((s / w) ** 2)) - s * erfc(s / w)


def guess(problem, t, x):
    """Return the reaction's answer to diffused data."""
    v, e = start(x) + 2 * rounding(problem, t, x), jnp.exp(problem.rate * t)
    return e * v / jnp.sqrt(1 + v**2 * (e**2 - 1))


# %% [markdown]
# The guess replaces the initial values in the trial function. It also goes *into* the
# network, which then need not learn where the layers are; and so does the rounding, in
# units of its size. The solution is even, so the cosine alone is enough of a ring.


# %%
def better_trial(problem, N):
    """Return a candidate that starts from the guess."""
    return lambda t, x: guess(problem, t, x) + t * N(t, x)


def inputs(problem):
    """Return what the network sees."""

    def seen(t, x):
        corner = 80 * rounding(problem, t, x)
        ring = jnp.cos(jnp.pi * x)
        return jnp.stack([2 * t - 1, ring, corner, guess(problem, t, x)])

    return seen


# %% [markdown]
# The second statement does not change. Does the new trial function still say the same?

# %%
better = Equation(residual, better_trial, inputs=inputs)
repaired = mismatch(problem, better, second)
repaired

# %% [markdown]
# It does. The five seeds are trained in two processes, side by side. Thin layers need
# more points than the default: with half of them the error was unsteady from one seed to the next.

# %%
from opifex_tutorials.parallel import side_by_side

SIZE = {"hidden": (12, 12, 12), "points": 4096, "steps": 300}
GROUPS = (0, 2, 4), (1, 3)  # each compiles once


def solve_all(seeds):
    """Return the networks of some seeds, with their errors as they learn."""
    return [
        train_pinn(problem, better, seed=seed, monitor=error, **SIZE)
        for seed in seeds
    ]


# %% [markdown]
# For the picture, and in place of the answer that nobody knows, we need a reference. It
# comes first, though the network does not see it.
#
# ## A reference with an order
#
# The method of lines replaces derivatives in space by differences on a grid, and hands the
# ordinary differential equations that are left to an integrator of SciPy. `solve_by_lines`
# takes the second statement as it is. Its error falls with the square of the distance
# of points; what shows that is the ratio of differences between grids, each twice as fine
# as the last. Once the order is seen, it can be used: the error of two grids is known up
# to one factor, and cancels (Richardson's extrapolation).

# %%
from time import perf_counter

from opifex_tutorials.solvers.method_of_lines import solve_by_lines
from opifex_tutorials.verification import self_convergence

COARSE, COUNTS = 256, (512, 1024, 2048, 4096)
lines = {}


def by_lines(points):
    """Return the solution at the places of the coarse grid."""
    began = perf_counter()
    found = solve_by_lines(
        problem, Named(formula), lambda p, x: start(x), points=points
    )
    values = found.values[:, :: points // COARSE]
    lines[points] = values, perf_counter() - began
    return values


# %% [markdown]
# Four grids, the orders between them, and the extrapolated values:

# %%
reference = self_convergence(by_lines, COUNTS)
t = np.linspace(0, 1, 101)[:, None]
x = -1 + 2 * np.arange(COARSE) / COARSE
print(f"orders {reference.orders.round(3)}, error {reference.error:.0e}")


def error(network):
    """Return the relative error of a network against the reference."""
    return relative_l2(network(t, x), reference.values)


# %% tags=["hide-input"]
note("order", reference.orders[-1], "", at_least=1.95)
note("reference_error", reference.error, at_most=5e-7)

# %% [markdown]
# The observed order is {glue:text}`own_equation.order:.2f`, which is that of the method:
# the kink lies on a point of every grid. The last two extrapolations differ by
# {glue:text}`own_equation.reference_error:.0e`; that is the error of the coarser one, and
# the finer is better.
#
# Now train.

# %%
groups = side_by_side(solve_all, GROUPS, "seeds")
networks = [groups[0][0], groups[1][0], groups[0][1], groups[1][1]]
networks.append(groups[0][2])
errors = np.array([error(network) for network in networks])
print(f"worst {errors.max():.1e}, median {np.median(errors):.1e}")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-allen-cahn", "caption": "Left: two phases separate, and the corner at the seam is rounded off. Right: the initial values and the solution at the end; the network (dashed) lies on the reference."}}
import matplotlib.pyplot as plt

from opifex_tutorials.plotting import COLORS, show, style

style()
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
image = left.pcolormesh(t[:, 0], x, reference.values.T, shading="gouraud", rasterized=True)
figure.colorbar(image, ax=left, label="u")
left.set(xlabel="time t", ylabel="x")
right.plot(x, start(x), color=COLORS[4], ls=":", label="start")
right.plot(x, reference.values[-1], color=COLORS[0], label="reference, t = 1")
right.plot(x, networks[0](1.0, x), color=COLORS[1], ls="--", label="network")
right.set(xlabel="x", ylabel="u")
right.legend(loc="upper center", fontsize=9)
show(
    figure,
    alt="Left: a map of u over time and place; two bands of minus one and one grow. "
    "Right: a smooth start becomes a profile with steep sides, at which network "
    "and reference agree.",
)

# %% tags=["hide-input"]
seconds = [network.history.seconds[-1] for network in networks]
note("error_worst", errors.max(), at_most=2e-5)
note("error_median", np.median(errors), at_most=1.6e-5)
note("train_seconds", np.median(seconds), "s")

# %% [markdown]
# The worst seed is wrong by {glue:text}`own_equation.error_worst:.1e`, the median by
# {glue:text}`own_equation.error_median:.1e`, after
# {glue:text}`own_equation.train_seconds:.0f` s. The best published figure that we know of
# is 3.48e-6 {cite}`wang2025`, on a graphics card, by a network that was not told what ours
# was. Which of it did the work? The same training with the plain trial
# function, and with the guess in the trial function but not in the inputs:


# %%
def solve_variant(equation, seed=0):
    """Return the error of a network after as many steps."""
    options = {"tolerance": np.inf, **SIZE}
    return error(train_pinn(problem, equation, seed=seed, **options))


variants = {
    "plain": first,
    "guess in the trial function": Equation(
        residual, better_trial, periodic=("x",)
    ),
}
without = dict(zip(variants, side_by_side(solve_variant, variants.values())))
without

# %% tags=["hide-input"]
note("without_any", without["plain"], at_least=1e-4)
gain = without["guess in the trial function"] / np.median(errors)
note("inputs_gain", gain, "ratio", at_least=20)

# %% [markdown]
# One seed each: the guess in the trial function alone is not it. As an input it makes
# the error {glue:text}`own_equation.inputs_gain:.0f` times smaller: the network is then a smooth function
# of what it sees.
#
# ## The error, without the answer
#
# Suppose that there were no reference. The residual of the network is known everywhere,
# and the error $e = u - \hat u$ solves the equation with it as source. On a coarse grid,
# with differences $F_h$ for the equation $F$,
#
# $$
# F_h(\hat u + e) - F_h(\hat u) + F(\hat u) = 0 .
# $$
#
# What the grid does wrong on $\hat u$ cancels; what it does wrong on $e$ is a small part
# of a small thing. This is the defect correction of {doc}`hybrid_solver`, used to judge
# {cite}`stetter1978`. A second, finer grid tells whether the estimate can be trusted.

# %%
from opifex_tutorials.verification import estimate_error


def estimate(task):
    """Return estimated over true size of the error, on a grid."""
    network, points = task
    found = estimate_error(network, Named(formula), points=points)
    every = found.values[:, :: points // COARSE]
    true = reference.values - network(t, x)
    return np.linalg.norm(every) / np.linalg.norm(true)


tasks = [(network, points) for points in (256, 512) for network in networks]
ratios = np.reshape(side_by_side(estimate, tasks, "estimates"), (2, 5))
print(ratios.round(2))

# %% tags=["hide-input"]
note("estimate_worst", (ratios[1] * errors).max(), at_most=3e-5)
note("own_ratio_least", ratios[1].min(), "ratio", at_least=0.5)
note("own_ratio_most", ratios[1].max(), "ratio", at_most=2)

# %% [markdown]
# On the finer grid the estimate is between {glue:text}`own_equation.own_ratio_least:.2f` and
# {glue:text}`own_equation.own_ratio_most:.2f` times the true error. Is that luck? On the
# equations of this book the true error is known. Their formulas, and short
# trainings, since an estimate has to be right for a bad network too:

# %%
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import (
    HeatProblem,
    PoissonProblem,
    WaveProblem,
    sine_series,
)

heat = Named(lambda problem, u_t, u_xx: u_t - problem.diffusivity * u_xx)
wave = Named(lambda problem, u_tt, u_xx: u_tt - problem.speed**2 * u_xx)


def source(problem, *x):
    """Return the source of a Poisson problem."""
    return sine_series(problem.source_amplitudes, *x)


# %% [markdown]
# The rest of them:


# %%
def poisson(problem, x, u_xx):
    """Return the residual in one dimension."""
    return -u_xx - source(problem, x)


def poisson_2d(problem, x, y, u_xx, u_yy):
    """Return the residual in two."""
    return -u_xx - u_yy - source(problem, x, y)


def burgers(problem, u, u_t, u_x, u_xx):
    """Return the residual."""
    return u_t + u * u_x - problem.viscosity * u_xx


# %% [markdown]
# For Burgers the number of intervals is odd: the second derivative of its trial function
# jumps at $x = 0$, and a point of the grid there would see one side only. It has steep
# layers as well, which 512 points resolve.

# %%
from opifex_tutorials.solvers import solve_burgers_pinn
from opifex_tutorials.solvers.linear_pinn import solve_linear_pinn

ENDS = ["dirichlet"]
KNOWN = {
    "heat": (HeatProblem(), heat, 64),
    "wave": (WaveProblem(), wave, 64),
    "Poisson": (PoissonProblem(), Named(poisson), 128),
    "Poisson, two dimensions": (PoissonProblem(2), Named(poisson_2d), 32),
    "Burgers": (BurgersProblem(0.01 / np.pi), Named(burgers), 511),
}


def judge(case, seed):
    """Return true error, and estimated over true size of it."""
    problem, statement, points = case
    known = solve_burgers_pinn if points == 511 else solve_linear_pinn
    network = known(problem, seed=seed, steps=100, tolerance=np.inf)
    ends = ENDS * (len(problem.bounds) - ("t" in problem.bounds))
    found = estimate_error(network, statement, points=points, ends=ends)
    exact = problem.exact(*found.mesh)
    true = exact - network(*found.mesh)
    ratio = np.linalg.norm(found.values) / np.linalg.norm(true)
    return relative_l2(network(*found.mesh), exact), ratio


# %% [markdown]
# Five seeds of each:

# %%
judged = compare(judge, KNOWN, one_process=True)
judged.table(
    "Estimated over true error, five seeds",
    error=lambda run: run[0],
    estimated_over_true=lambda run: run[1],
)

# %% tags=["hide-input"]
every = np.array([run[1] for runs in judged.runs.values() for run in runs])
note("ratio_least", every.min(), "ratio", at_least=0.9)
note("ratio_most", every.max(), "ratio", at_most=1.1)

# %% [markdown]
# All {glue:text}`own_equation.ratio_least:.2f` to
# {glue:text}`own_equation.ratio_most:.2f`. Mean field games have their own grid for this,
# in {doc}`hybrid_solver`.
#
# ## Decide
#
# What does the network buy here? The same accuracy by lines, error against time:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-own-decide", "caption": "Error against time on the Allen–Cahn equation: the network, five seeds, and the method of lines on four grids, alone and extrapolated from two of them. Lower left is better."}}
from itertools import pairwise

grid_errors = [relative_l2(lines[n][0], reference.values) for n in COUNTS]
grid_seconds = [lines[n][1] for n in COUNTS]
pairs = [
    ((4 * lines[b][0] - lines[a][0]) / 3, lines[a][1] + lines[b][1])
    for a, b in pairwise(COUNTS[:-1])
]
better_lines = [(s, relative_l2(v, reference.values)) for v, s in pairs]
figure, axes = plt.subplots(figsize=(6.4, 4.0))
for network in networks:
    history = network.history
    axes.loglog(history.seconds, history.errors, "o-", color=COLORS[0], lw=1)
axes.lines[0].set_label("network")
look = {"color": COLORS[1], "ls": "--", "marker": "s"}
axes.loglog(grid_seconds, grid_errors, label="lines", **look)
look = {"color": COLORS[2], "ls": ":", "marker": "^"}
axes.loglog(*zip(*better_lines), label="lines, extrapolated", **look)
axes.set(xlabel="time (s)", ylabel="relative L2 error")
axes.legend()
show(figure, alt="The lines lie far to the left of the network at equal error.")

# %% tags=["hide-input"]
reached = [s for s, e in better_lines if e <= np.median(errors)]
reached += [
    s for s, e in zip(grid_seconds, grid_errors) if e <= np.median(errors)
]
note("lines_faster", np.median(seconds) / min(reached), "ratio", at_least=5)

# %% [markdown]
# The method of lines has the network's error
# {glue:text}`own_equation.lines_faster:.0f` times sooner. For one solve of a
# one-dimensional equation on a ring, use it. {doc}`../book/decide` says where the answer is another
# one. What the network gives besides is a smooth function, with derivatives of any order,
# at any point.
#
# ## What none of this sees
#
# **A wrong equation.** Both statements by the same hand, from the same wrong line of the
# notes: a rate of 4 instead of 5. They agree, the network converges, the estimate
# is small, the lines converge with their order. And all of it is wrong.

# %%
noted = AllenCahn(rate=4.0)
wrong_parts = mismatch(noted, better, second)
network = train_pinn(noted, better, seed=0, **{**SIZE, "steps": 150})
doubt = estimate_error(network, Named(formula), points=COARSE)
believed = np.linalg.norm(doubt.values) / np.linalg.norm(network(t, x))
print(f"believed error {believed:.0e}, true error {error(network):.2f}")

# %% tags=["hide-input"]
note("wrong_mismatch", max(wrong_parts.values()), "relative", at_most=1e-12, loose="rounding level")
note("wrong_believed", believed, at_most=3e-4)
note("wrong_true", error(network), at_least=0.02)

# %% [markdown]
# It believes in an error of {glue:text}`own_equation.wrong_believed:.0e`, and is wrong by
# {glue:text}`own_equation.wrong_true:.2f`. Only the world can tell: units, a limit that you know, a measurement.
#
# **Another branch.** The Bratu equation $u'' + \lambda e^u = 0$ with zero ends has two
# solutions for $\lambda = 1$, both right. Which one a network finds depends on where it
# starts:


# %%
@dataclass(frozen=True)
class Bratu:
    """Heat that feeds itself."""

    lam: float = 1.0
    bounds: ClassVar = {"x": (0.0, 1.0)}


def bratu(problem, u):
    """Return the residual."""
    u_xx = derivative(derivative(u, 0), 0)
    return lambda x: u_xx(x) + problem.lam * jnp.exp(u(x))


def from_height(height):
    """Return a trial function that starts about a parabola."""
    return lambda problem, N: lambda x: x * (1 - x) * (4 * height + N(x))


# %% [markdown]
# Two starts, from the ground and from a height of four:

# %%
branches = {}
named = Named(lambda problem, u, u_xx: u_xx + problem.lam * jnp.exp(u))
for height in (0.0, 4.0):
    branch = solve_equation(
        Bratu(), bratu, from_height(height), seed=0, hidden=(8,), points=256
    )
    doubt = estimate_error(branch, named, points=128, ends=ENDS)
    branches[height] = branch(0.5), np.abs(doubt.values).max()
    print(f"top {branch(0.5):.6f}, estimated error {branches[height][1]:.0e}")

# %% [markdown]
# The tops of both solutions are known: $4 \log \cosh(\theta/4) \cdot \tfrac12$ with
# $\theta = \sqrt{2\lambda} \cosh(\theta/4)$, which has two roots.

# %%
from scipy.optimize import brentq

roots = [
    brentq(lambda a: a - np.sqrt(2) * np.cosh(a / 4), *ends)
    for ends in ((1, 3), (8, 14))
]
tops = [2 * np.log(np.cosh(root / 4)) for root in roots]
off = [abs(branches[h][0] - top) for h, top in zip(branches, tops)]
print(f"off by {off[0]:.0e} and {off[1]:.0e}")

# %% tags=["hide-input"]
note("branch_off", max(off), "absolute error", at_most=1e-4)
note("branches_apart", tops[1] - tops[0], "absolute", at_least=3)

# %% [markdown]
# Each network is right to {glue:text}`own_equation.branch_off:.0e`, and the two are
# {glue:text}`own_equation.branches_apart:.1f` apart. Residual and estimate say "right" of
# both. Which one you want is a question to the application.
#
# ## Two space dimensions
#
# Fisher's population once more, now without a source: five seeds, an estimate on a coarse
# grid, and lines in two dimensions.

# %%
plane = STATED["spread"]
square_ends = ["periodic"] * 2


def population(points):
    """Return the population by lines, at the places of the coarse grid."""
    found = solve_by_lines(
        plane[0],
        plane[2].residual,
        lambda p, x, y: hill(x, y),
        points=points,
        ends=square_ends,
        tolerance=1e-9,
    )
    step = points // 16
    return found.values[:, ::step, ::step]


# %% [markdown]
# The reference first:

# %%
flat_reference = self_convergence(population, (32, 64, 128))
u16 = np.arange(16) / 16
z = np.meshgrid(np.linspace(0, 1, 101), u16, u16, indexing="ij")


def solve_plane(seeds):
    """Return true error and estimated over true error of some seeds."""
    found = []
    for seed in seeds:
        network = train_pinn(*plane[:2], seed=seed, **SMALL)
        doubt = estimate_error(
            network, plane[2].residual, points=32, ends=square_ends
        )
        true = flat_reference.values - network(*z)
        size = np.linalg.norm(doubt.values[:, ::2, ::2])
        scale = np.linalg.norm(flat_reference.values)
        wrong = np.linalg.norm(true)
        found.append((wrong / scale, size / wrong))
    return found


# %% [markdown]
# And the networks:

# %%
plane_runs = np.vstack(side_by_side(solve_plane, GROUPS, "seeds"))
print("errors", plane_runs[:, 0], "ratios", plane_runs[:, 1].round(2))

# %% tags=["hide-input"]
note("plane_reference", flat_reference.error, at_most=1e-6)
note("plane_error", plane_runs[:, 0].max(), at_most=1e-5)
note("plane_ratio_least", plane_runs[:, 1].min(), "ratio", at_least=0.5)
note("plane_ratio_most", plane_runs[:, 1].max(), "ratio", at_most=2)

# %% [markdown]
# The worst seed is wrong by {glue:text}`own_equation.plane_error:.0e`; the estimates are
# {glue:text}`own_equation.plane_ratio_least:.2f` to
# {glue:text}`own_equation.plane_ratio_most:.2f` times the true errors.
#
# ## Results

# %%
from opifex_tutorials.results import close_chapter

close_chapter("own_equation")
