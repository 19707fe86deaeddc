# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# ## Transfer with Levenberg–Marquardt
#
# Everything so far was limited by the optimizer and by the coordinates. Now we take both from
# {doc}`first_pinn`: Levenberg–Marquardt with geodesic acceleration, and the formulation that
# stretches the layer. In it the solutions of different viscosities look alike, which is half of
# the art of transfer: *change the coordinates until the tasks agree, then there is little left to
# learn about how they differ.*
#
# One task is one viscosity. The test viscosities are the four published ones and six that lie
# between the viscosities solved before; no method sees any of them.

# %%
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from opifex_tutorials.losses.collocation import (
    CollocationProblem,
    CollocationSystem,
    Formulation,
    Term,
)
from opifex_tutorials.losses.formulations import burgers_layer
from opifex_tutorials.parallel import side_by_side
from opifex_tutorials.plotting import COLORS, LINE_STYLES, MARKERS, show, style
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.results import record
from opifex_tutorials.tables import Table
from opifex_tutorials.training.transfer import DonorLibrary, adapt, solve_branch
from opifex_tutorials.verification import relative_l2

style()
SEEDS, T = range(5), 0.5
PUBLISHED = np.linspace(0.005, 0.05, 12)[[1, 3, 5, 7]]
HELD_OUT = np.sort([*PUBLISHED, 0.0055, 0.0067, 0.0119, 0.0211, 0.0376, 0.047])
DONORS = np.geomspace(0.005, 0.05, 9)

# %% [markdown]
# All viscosities and seeds share one compilation. The error is measured against Cole–Hopf on
# 50 times from $T/50$ to $T$ and 201 positions.

# %%
t, x = np.meshgrid(np.linspace(T / 50, T, 50), np.linspace(-1, 1, 201), indexing="ij")
exact = {float(nu): BurgersProblem(nu, T).exact(t, x).ravel() for nu in HELD_OUT}
compiled = CollocationProblem(burgers_layer, 1024, (3, 16, 16, 1))


def system_of(nu, seed=0):
    """Return the residuals of one viscosity; a seed fixes the points."""
    problem = BurgersProblem(float(nu), T)
    return CollocationSystem(compiled, problem, compiled.sample(problem, (seed, 0)))


def error(nu, theta):
    """Return the relative L2 error of a network on one viscosity."""
    u = compiled.evaluate(BurgersProblem(float(nu), T), theta, (t.ravel(), x.ravel()))
    return relative_l2(u, exact[nu] if nu in exact else BurgersProblem(nu, T).exact(t, x).ravel())


# %% [markdown]
# ### A good start needs a small damping
#
# The damping $\lambda$ of the first step limits its length. The usual first choice, the largest
# entry of $J^T J$, is right for random weights, where a long step can saturate the network.
# From weights that solve a neighbor, the residual at $\nu + \delta$ is $-\delta\, u_{xx}$, small, and
# an almost undamped step is the tangent of the solution branch $\theta(\nu)$ (the implicit function
# theorem). A careful damping throws this away.

# %%
donor = adapt(system_of(0.007), compiled.initial_parameters(0), 100, damping=None)[-1]
for damping in (None, 1e-4, 1e-8):
    path = adapt(system_of(0.0119), donor, 10, damping=damping)
    print("damping", damping, [f"{error(0.0119, theta):.0e}" for theta in path[::2]])

# %% [markdown]
# ### The starts
#
# Every method is a rule that gives the start for a new $\nu$. Offline work is counted in steps of
# Levenberg–Marquardt on one viscosity; a step on five viscosities counts five.
#
# - *random*: no offline work, with the careful damping;
# - *mean*: solve the mean of the donors' viscosities;
# - *joint*: one network that makes the sum of squares over five of the donors small;
# - *single*: solve one small viscosity. The layer is hardest there: coming down is easier;
# - *nearest*: a library of nine donors, each started from its neighbor, smallest first;
# - *interpolated*: the weights of the same library, linear in $\log \nu$.
#
# Joint training is the same least-squares problem, stacked.


# %%
class Stacked:
    """Several viscosities as one least-squares problem, for one set of weights."""

    def __init__(self, systems):
        self.systems, self.scale = systems, len(systems) ** -0.5

    def residuals(self, p):
        return self.scale * np.concatenate([s.residuals(p) for s in self.systems])

    def linearize(self, p):
        pairs = [s.linearize(p) for s in self.systems]
        return tuple(self.scale * np.concatenate(parts) for parts in zip(*pairs, strict=True))

    def curvature(self, p, d):
        return self.scale * np.concatenate([s.curvature(p, d) for s in self.systems])


# %% [markdown]
# The last rule is a different network, which takes $\log \nu$ as a fourth feature and is trained on
# points $(\nu, t, x)$: a *conditioned* PINN. At fixed $\nu$ the feature is a constant that goes into
# the first bias, so that we can continue with the network that everyone else uses.

# %%
LOW, HIGH = np.log(DONORS[[0, -1]])


def conditioned(problem, points):
    """Build the formulation of the whole family; the problem only lends its shape."""
    final_time, structure = problem.final_time, jax.tree.structure(problem)

    def member(nu):  # may be traced, so it cannot go through the checks of the constructor
        return burgers_layer(jax.tree.unflatten(structure, [nu, final_time]), points)

    def trial(network):
        def u(nu, t, x):
            c = jnp.atleast_1d((2 * jnp.log(nu) - LOW - HIGH) / (HIGH - LOW))
            return member(nu).trial(lambda z: network(jnp.concatenate([z, c])))(t, x)

        return u

    def place(z):
        nu = jnp.exp(LOW + (HIGH - LOW) * z[2])
        return nu, *member(nu).terms[0].place(z[:2])

    def residual(u):
        return lambda nu, t, x: member(nu).terms[0].residual(lambda *p: u(nu, *p))(t, x)

    return Formulation(trial, (Term(residual, place, 3, points),), inputs=4)


def fold(theta, nu, width=16):
    """Move the fourth feature into the first bias: weights of a network with three features."""
    bias, kernel, rest = np.split(theta, [width, 5 * width])
    c = (2 * np.log(nu) - LOW - HIGH) / (HIGH - LOW)
    return np.concatenate([bias + c * kernel[3 * width :], kernel[: 3 * width], rest])


# %% [markdown]
# One seed trains everything once and returns the rules.


# %%
def train_library(seed):
    """Return the library of donors, 220 steps in all, and its price in seconds."""
    begin = time.perf_counter()
    untrained = compiled.initial_parameters(seed)
    library = solve_branch(lambda nu: system_of(nu, seed), DONORS, untrained, steps=15)
    return library, time.perf_counter() - begin


def train_starts(seed, library):
    """Return all rules ν -> start that work with one kind of network."""
    untrained = compiled.initial_parameters(seed)
    stacked = Stacked([system_of(nu, seed) for nu in DONORS[::2]])
    mean = adapt(system_of(DONORS.mean(), seed), untrained, 100, damping=None)[-1]
    joint = adapt(stacked, untrained, 40, damping=None)[-1]
    single = adapt(system_of(0.007, seed), untrained, 100, damping=None)[-1]
    return {
        "random": lambda nu: untrained,
        "mean": lambda nu: mean,
        "joint": lambda nu: joint,
        "single": lambda nu: single,
        "nearest": library.nearest,
        "interpolated": library.interpolate,
    }


def train_conditioned(seed, steps=50, points=2048):
    """Train the network of the whole family; return the rule and its price in seconds."""
    begin, family = time.perf_counter(), CollocationProblem(conditioned, points, (4, 16, 16, 1))
    like = BurgersProblem(0.01, T)
    system = CollocationSystem(family, like, family.sample(like, (seed, 0)))
    theta = adapt(system, family.initial_parameters(seed), steps, damping=None)[-1]
    return lambda nu: fold(theta, nu), time.perf_counter() - begin


# %% [markdown]
# Then it follows every rule on every test viscosity, for fifty steps on the
# published ones (random: a hundred).

# %%
STEPS = np.array([0, 5, 10, 20, 50, 100])


def run(seed):
    """Return the errors (viscosity, recorded step) of every rule, NaN where none was asked."""
    library, offline = train_library(seed)
    rules = train_starts(seed, library)
    rules["conditioned"], dear = train_conditioned(seed)
    errors = {name: np.full((len(HELD_OUT), len(STEPS)), np.nan) for name in rules}
    for name, rule in rules.items():
        for i, nu in enumerate(HELD_OUT):
            steps = (100 if name == "random" else 50) if nu in PUBLISHED else 10
            start = rule(nu)
            path = adapt(
                system_of(nu, seed), start, steps, damping=None if name == "random" else 1e-8
            )
            chosen = STEPS[steps >= STEPS]
            errors[name][i, : len(chosen)] = [error(nu, path[k]) for k in chosen]
    return errors, offline, dear, library


results = side_by_side(run, SEEDS, "seeds")
errors = {name: np.array([e[name] for e, *_ in results]) for name in results[0][0]}

# %% [markdown]
# Medians over seeds and published viscosities; the last column is the worst of all seeds and of all
# ten test viscosities after ten steps.

# %%
published = np.isin(HELD_OUT, PUBLISHED)


def row(name):
    """Return one line of the table."""
    at = np.median(errors[name][:, published], axis=(0, 1))
    columns = {f"{k}_steps": f"{e:.1e}" for k, e in zip(STEPS, at, strict=True) if np.isfinite(e)}
    ten = errors[name][:, :, 2]
    spread = f"{ten[:, published].min():.0e} to {ten[:, published].max():.0e}"
    return {"start": name, **columns, "spread_at_10": spread, "worst_at_10": f"{ten.max():.1e}"}


columns = "start " + " ".join(f"{k}_steps" for k in STEPS) + " spread_at_10 worst_at_10"
Table("Relative L2 by steps of adaptation", [row(name) for name in errors], columns)

# %%
worst = {name: float(e[:, :, 2].max()) for name, e in errors.items()}
for name, bound in {
    "single": 1e-4,
    "nearest": 1e-5,
    "interpolated": 5e-6,
    "conditioned": 5e-4,
}.items():
    record(f"meta_optimization.lm_{name}_worst", worst[name], at_most=bound, unit="relative L2")
record("meta_optimization.lm_random_worst", worst["random"], at_least=1e-3, unit="relative L2")
record("meta_optimization.lm_joint_worst", worst["joint"], at_least=3e-5, unit="relative L2")
ratio = worst["joint"] / worst["single"]
record("meta_optimization.lm_joint_over_single", ratio, at_least=1.5, unit="ratio of errors")
zero = errors["conditioned"][:, :, 0].max()
record("meta_optimization.lm_conditioned_zero", zero, at_most=5e-3, unit="relative L2")
record("meta_optimization.lm_offline_seconds", max(o for _, o, *_ in results), unit="s")
record("meta_optimization.lm_conditioned_seconds", max(d for *_, d, _ in results), unit="s")
five = float(errors["interpolated"][:, :, 1].max())
record("meta_optimization.lm_interpolated_five", five, at_most=1e-5, unit="relative L2")
print({name: f"{e:.1e}" for name, e in worst.items()}, f"five {five:.1e} zero {zero:.1e}")

# %% [markdown]
# Three lessons. A plain library of donors wins, and interpolation matters only in the first steps.
# Joint training, the most obvious idea, is worse than a single well chosen donor: one network that
# suits all viscosities a little suits none. And the conditioned network, the only one that is of use
# without any step, costs the most.

# %% mystnb={"figure": {"name": "fig-lm-transfer", "caption": "Error after ten steps against viscosity: median and range of five seeds. The smallest viscosities are hardest for all."}}
figure, axes = plt.subplots(figsize=(8, 4.4))
shown = ("random", "joint", "conditioned", "single", "interpolated")
for i, name in enumerate(shown):
    ten = errors[name][:, :, 2]
    look = {"color": COLORS[i], "ls": LINE_STYLES[i], "marker": MARKERS[i], "ms": 5}
    axes.plot(HELD_OUT, np.median(ten, axis=0), label=name, **look)
    axes.fill_between(HELD_OUT, ten.min(axis=0), ten.max(axis=0), color=COLORS[i], alpha=0.12, lw=0)
axes.set(xlabel="viscosity ν", ylabel="relative L2 error", xscale="log", yscale="log")
figure.legend(loc="outside right upper")
show(
    figure,
    alt="Error after ten steps against viscosity for five starts. Random is highest, then joint "
    "and conditioned; single and interpolated are lowest and rise toward small viscosities.",
)

# %% [markdown]
# ### No step of Levenberg–Marquardt on the network at all
#
# The hidden features of nine donors, taken together and frozen, span a space in which the solution
# of a new viscosity is almost linear to find: only the last layer is new, 145 numbers instead of 353.
# This is a *reduced basis* (in its neural form, {cite}`chen2024gptpinn`), and the limit of ANIL, which
# adapts the last layer only. In this package it is a network of one linear layer behind the features.


# %%
def frozen(library):
    """Return a formulation whose network is linear in the features of all donors."""
    donors = [compiled._unravel(jnp.asarray(theta)) for theta in library.parameters]
    layers = [
        [(s["layers"][i]["kernel"][...], s["layers"][i]["bias"][...]) for i in range(2)]
        for s in donors
    ]

    def features(z):
        outputs = []
        for (k0, b0), (k1, b1) in layers:
            outputs.append(jnp.tanh(jnp.tanh(z @ k0 + b0) @ k1 + b1))
        return jnp.concatenate(outputs)

    def build(problem, points):
        layer = burgers_layer(problem, points)
        trial = lambda network: layer.trial(lambda z: network(features(z)))  # noqa: E731
        return Formulation(trial, layer.terms, inputs=16 * len(layers))

    return build


# %% [markdown]
# Ten damped Gauss–Newton steps from zero on these numbers.


# %%
def run_frozen(case):
    """Return the errors and seconds of the reduced basis of nine donors."""
    seed, library = case
    reduced = CollocationProblem(frozen(library), 1024, (16 * len(DONORS), 1))
    found, seconds = [], []
    for nu in HELD_OUT:
        problem = BurgersProblem(float(nu), T)
        system = CollocationSystem(reduced, problem, reduced.sample(problem, (seed, 0)))
        begin = time.perf_counter()
        theta = adapt(system, np.zeros(16 * len(DONORS) + 1), 10, damping=1e-12)[-1]
        seconds.append(time.perf_counter() - begin)
        u = reduced.evaluate(problem, theta, (t.ravel(), x.ravel()))
        found.append(relative_l2(u, exact[nu]))
    return found, np.median(seconds)


cases = [(seed, library) for seed, (*_, library) in enumerate(results)]
frozen_runs = side_by_side(run_frozen, cases, "reduced bases")
frozen_worst = np.max([e for e, _ in frozen_runs])
record("meta_optimization.lm_frozen_worst", frozen_worst, at_most=2e-5, unit="relative L2")
record("meta_optimization.lm_frozen_seconds", np.median([s for _, s in frozen_runs]), unit="s")
print(f"worst {frozen_worst:.1e}, median {np.median([e for e, _ in frozen_runs]):.1e}")

# %% [markdown]
# ### Outside of the range, and a range of two decades
#
# The library above has never seen a viscosity below 0.005 or above 0.05. A second one, of seven
# donors, spans 0.001 to 0.1.

# %%
OUTSIDE = np.array([0.002, 0.003, 0.004, 0.07, 0.1])
WIDE = np.array([0.0015, 0.003, 0.007, 0.015, 0.032, 0.07])


def run_wide(case):
    """Return errors after ten steps: outside of the range, and inside of the wide one."""
    seed, narrow = case

    def ten_steps(library, test):
        starts = [(float(nu), library.interpolate(nu)) for nu in test]
        return [error(nu, adapt(system_of(nu, seed), theta, 10)[-1]) for nu, theta in starts]

    donors, untrained = np.geomspace(0.001, 0.1, 7), compiled.initial_parameters(seed)
    wide = solve_branch(lambda nu: system_of(nu, seed), donors, untrained, first_steps=150)
    return ten_steps(narrow, OUTSIDE), ten_steps(wide, WIDE)


outside, wide = (np.array(e) for e in zip(*side_by_side(run_wide, cases, "wide"), strict=True))
record("meta_optimization.lm_outside_worst", outside.max(), at_most=1e-3, unit="relative L2")
record("meta_optimization.lm_wide_worst", wide.max(), at_most=1e-4, unit="relative L2")
print("outside", [f"{nu}: {e:.1e}" for nu, e in zip(OUTSIDE, outside.max(axis=0), strict=True)])
print("wide", [f"{nu}: {e:.1e}" for nu, e in zip(WIDE, wide.max(axis=0), strict=True)])

# %% [markdown]
# ### Break-even
#
# Offline work is an investment. It pays off after
#
# $$
# n = \frac{\text{offline steps}}{\text{steps from scratch to the same error} - \text{steps per query}}
# $$
#
# queries. From scratch means the best we know for it: the same formulation and optimizer, a tuned
# first damping, as many steps as it takes and not one more. We let it stop when it has reached the
# error of the adapted network, which favors it: in practice nobody knows the error.


# %%
def steps_from_scratch(nu, seed, targets):
    """Return how many steps a random start needs to reach each error."""
    untrained = compiled.initial_parameters(seed + 100)
    path = adapt(system_of(nu, seed), untrained, 160, damping=1e-4)
    every = [(k, error(nu, path[k])) for k in range(10, len(path), 5)]
    # One that never gets there counts as if it did at the end, which favors it.
    return [next((k for k, e in every if e <= target), len(path) - 1) for target in targets]


def run_break_even(case):
    """Return the mean steps from scratch to what two investments reach in ten steps."""
    seed, several = case
    one = adapt(system_of(0.007, seed), compiled.initial_parameters(seed), 60, damping=None)[-1]
    libraries, need = (DonorLibrary(np.array([0.007]), one[None]), several), []
    for nu in map(float, PUBLISHED):
        starts = [library.interpolate(nu) for library in libraries]
        targets = [error(nu, adapt(system_of(nu, seed), theta, 10)[-1]) for theta in starts]
        need.append(steps_from_scratch(nu, seed, targets))
    return np.mean(need, axis=0)


need = np.mean(side_by_side(run_break_even, cases, "break-even"), axis=0)
for name, offline, steps in zip(("single", "library"), (60, 220), need, strict=True):
    queries = offline / (steps - 10)
    record(f"meta_optimization.lm_break_even_{name}", queries, at_most=5, unit="queries")
    print(f"{name}: {steps:.0f} steps from scratch, break-even after {queries:.1f} queries")

# %% [markdown]
# The classical solver of {doc}`first_pinn` does not need any of this.

# %%
from opifex_tutorials.solvers import solve_burgers_grid

grids = [solve_burgers_grid(BurgersProblem(nu, T), points=512, steps=256) for nu in HELD_OUT]
grid_worst = max(
    relative_l2(g(t, x).ravel(), exact[nu]) for nu, g in zip(HELD_OUT, grids, strict=True)
)
record("meta_optimization.classical_worst", grid_worst, at_most=1e-6, unit="relative L2")
record("meta_optimization.classical_seconds", grids[0].history.seconds[-1], unit="s")
print(f"classical: worst {grid_worst:.1e} in {grids[0].history.seconds[-1]:.3f} s")
