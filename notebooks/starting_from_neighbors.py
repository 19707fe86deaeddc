# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Starting from neighbors
#
# % Raw markup below? `make lab` renders it; a copy without any is offered on the chapter's page, and is in `_build/html/downloads`.
#
# ```{list-table}
# :header-rows: 1
#
# * - Level
#   - Runtime
#   - Prerequisites
#   - Format
#   - Memory
# * - advanced
#   - {glue:text}`starting_from_neighbors.seconds:.0f` s
#   - {doc}`first_pinn`, {doc}`meta_optimization`
#   - notebook, in JAX
#   - {glue:text}`starting_from_neighbors.peak_memory:.0f` MB
# ```
#
# Solve one equation, and you have solved a part of its neighbors: their solutions are close, and so are
# the weights that describe them. With an optimizer that can use a good start, a handful of solved
# neighbors is a start for a whole family. This chapter measures how good a start, what it costs, and from
# how many queries on it pays; and it sets learned starts beside it, at the same budget. The plain
# neighbors win. And a spectral solver, which has learned nothing, is more accurate than all of them.
# {numref}`fig-asked-for` shows what is given and what is asked.

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np

from opifex_tutorials.plotting import COLORS, show, style
from opifex_tutorials.problems.burgers import BurgersProblem

style()
solved, asked = np.geomspace(0.005, 0.05, 5), 0.012
t, x = np.linspace(0.01, 0.5, 30)[:, None], np.linspace(-1, 1, 161)
fields = {nu: BurgersProblem(nu, 0.5).exact(t, x) for nu in (*solved, asked)}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-asked-for", "caption": "The question. Left: solutions at the final time, each drawn at the height of its viscosity. Some are solved (gray), one is asked for (dashed). Right: how far each solution is from the one asked for. A start from the nearest one that is solved begins at such an error; what can be gained by taking two?"}}
figure, (ridges, right) = plt.subplots(1, 2, figsize=(8, 3.8), sharey=True)
for nu, u in fields.items():
    color, line = (COLORS[1], "--") if nu == asked else (COLORS[4], "-")
    ridges.plot(x, nu * np.exp(0.25 * u[-1]), color=color, ls=line)
    gap = np.linalg.norm(u - fields[asked]) / np.linalg.norm(fields[asked])
    right.plot([0, gap], [nu, nu], color=color, ls=line)
    right.plot(gap, nu, "s" if nu == asked else "o", color=color)
ridges.set(xlabel="position x (length)", yscale="log")
ridges.set_ylabel("viscosity ν (length² / time)")
ticks = [0.005, 0.01, 0.02, 0.05]
ridges.set_yticks(ticks, [f"{nu:g}" for nu in ticks])
ridges.set_yticks([], minor=True)
right.set(xlabel="relative L2 distance")
show(
    figure,
    alt="Left: five gray curves and a dashed one, all with a fall in the "
    "middle that is less steep higher up. Right: five bars, short for the "
    "viscosities next to the dashed one and long for those far from it.",
)

# %% [markdown]
# ## What you will learn
#
# - why a good start needs another first step than random weights do;
# - how to make a *branch* of solutions whose weights can be interpolated, a *library* of *donors*;
# - what such a library is worth beside learned starts, a conditioned network, frozen features;
# - what happens outside of the range that was solved;
# - how to charge the work done in advance.

# %%
import time
from dataclasses import dataclass
from functools import partial
from itertools import chain
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from opifex_tutorials.comparison import spread

# %% [markdown]
# From the package come the problem, the ledger and what runs side by side:
# %%
from opifex_tutorials.parallel import side_by_side
from opifex_tutorials.plotting import (
    COLORS,
    LINE_STYLES,
    MARKERS,
    seed_band,
    show,
    style,
)
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.results import close_chapter, record
from opifex_tutorials.tables import Table
from opifex_tutorials.verification import relative_l2

style()

# %% [markdown]
# ## A family, and what to measure
#
# The family is that of {doc}`meta_optimization`: the Burgers equation up to $T = 0.5$ for viscosities $\nu$
# from $0.005$ to $0.05$. Four test viscosities are those of the published experiment; two more lie near the
# ends of the range, and others, for later, outside of it. A start is judged by the relative $L^2$ error after ten steps of training on a test
# viscosity, against the exact solution.

# %%
PUBLISHED = np.linspace(0.005, 0.05, 12)[1::2][:4]
HELD_OUT = np.array([*PUBLISHED, 0.0055, 0.047])
OUTSIDE, WIDE = np.array([0.002, 0.003, 0.1]), np.array([0.0015, 0.003, 0.07])
t, x = np.linspace(0.01, 0.5, 50)[:, None], np.linspace(-1, 1, 201)
points_of_error = tuple(a.ravel() for a in np.broadcast_arrays(t, x))


def task(nu):
    """Return one viscosity as a problem."""
    return BurgersProblem(float(nu), final_time=0.5)


# %% [markdown]
# The exact solutions, evaluated once; {numref}`fig-neighbors` has some of them at the final time:

# %%
TRUTH = {
    float(nu): task(nu).exact(*points_of_error)
    for nu in (*HELD_OUT, *OUTSIDE, *WIDE)
}

# %% mystnb={"figure": {"name": "fig-neighbors", "caption": "Solutions at the final time: neighbors in viscosity are neighbors in shape. Gray: the nine donors that are solved in advance; in color: viscosities that are asked for later."}} tags=["hide-input"]
DONORS = np.geomspace(0.005, 0.05, 9)
figure, axes = plt.subplots(figsize=(7, 3.8))
for nu in DONORS:
    axes.plot(x, task(nu).exact(0.5, x), color=COLORS[4], ls="-", lw=1)
for i, nu in enumerate((HELD_OUT[4], HELD_OUT[0], HELD_OUT[5])):
    label = f"asked for: ν = {nu:.3g}"
    u = task(nu).exact(0.5, x)
    axes.plot(x, u, color=COLORS[i], ls=LINE_STYLES[i], label=label)
axes.set(xlabel="position x (length)", ylabel="velocity u (length / time)")
axes.legend()
show(
    figure,
    alt="Nine gray curves, all falling through zero in the middle, the steeper "
    "the smaller the viscosity; three colored ones lie between them.",
)

# %% [markdown]
# The network is that of {doc}`first_pinn`: conditions and symmetry built in, a coordinate stretched over
# the layer, whose width goes with $\nu$, and Levenberg–Marquardt with geodesic acceleration, here on 1,024
# points that stay. A *program* is
# compiled once for all viscosities; a *system* is the least-squares problem of one of them.

# %%
from opifex_tutorials.losses.burgers import burgers_layer
from opifex_tutorials.losses.jax_system import Program, System
from opifex_tutorials.training.transfer import adapt, solve_branch

program = Program(burgers_layer, task(0.01), points=1024, hidden=(16, 16))


def system_of(nu, seed):
    """Return the system of one viscosity; a seed fixes the points."""
    return System(program, task(nu), program.sample(task(nu), (seed, 0)))


# %% [markdown]
# The error of a network on one viscosity:


# %%
def distance(nu, parameters):
    """Return the relative L2 error of a network on one viscosity."""
    u = program.evaluate(task(nu), parameters, points_of_error)
    return relative_l2(u, TRUTH[float(nu)])


# %% [markdown]
# ## A good start needs a small damping
#
# A step solves $(J^T J + \lambda I)\,d = -J^T r$; the damping $\lambda$ limits its length. The usual first
# value, the largest entry of $J^T J$, is right for random weights. From weights $\theta$ that solve a
# neighbor, the residual $r(\theta, \nu + \delta) \approx \delta\, \partial_\nu r$ is small, and an undamped
# step is, in the least-squares sense, the tangent
#
# $$
# d = -(J^T J)^{-1} J^T\, \delta\, \partial_\nu r \approx \delta\, \frac{\mathrm{d}\theta}{\mathrm{d}\nu}
# $$ (eq-branch-tangent)
#
# of the branch of solutions $\theta(\nu)$ (an exercise takes {eq}`eq-branch-tangent` by hand). A large damping cuts this step short, and it shrinks slowly: an
# accepted step leaves a third of it at least. Five seeds, five steps, from a solved neighbor, a *donor*, at
# $\nu = 0.0158$ to the first test viscosity:

# %%
START, GOAL = 0.0158, PUBLISHED[0]

# %% [markdown]
# First a donor, then five steps from it with either damping:


# %%
def one_neighbor(seed):
    """Return errors after 0 to 5 steps, with the usual and a small damping."""
    donor = adapt(
        system_of(START, seed),
        program.initial_parameters(seed),
        100,
        damping=None,
    )[-1]
    paths = [
        adapt(system_of(GOAL, seed), donor, 5, damping=damping)
        for damping in (None, 1e-8)
    ]
    return [[distance(GOAL, theta) for theta in path] for path in paths]


# %% [markdown]
# One process does all seeds of one half, so that it compiles once.


# %%
def in_halves(run, seeds=range(5)):
    """Return ``run(seed)`` of every seed; each process compiles once."""

    def half(chosen):
        return [run(seed) for seed in chosen]

    first, second = seeds[:3], seeds[3:]
    return [*chain(*side_by_side(half, [first, second], "seeds"))]


# %% [markdown]
# The gain of the small damping, median and range:

# %%
careful, bold = np.moveaxis(in_halves(one_neighbor), 1, 0)
gains = careful[:, -1] / bold[:, -1]
print(f"careful / bold after 5 steps: {spread(gains)}")

# %% tags=["hide-input"]
_ = record(
    "starting_from_neighbors.damping_gain",
    gains.min(),
    at_least=2,
    unit="ratio of errors",
    loose="at least twice: for the worst seed",
)

# %% mystnb={"figure": {"name": "fig-damping", "caption": "From one neighbor to another, error against steps: median and range of five seeds. One step does not tell the two apart. The next ones do: the small damping leaves them as long as a good start can afford, the usual one is still large."}} tags=["hide-input"]
figure, axes = plt.subplots()
for i, (name, runs) in enumerate((("usual", careful), ("small", bold))):
    median, style_of = np.median(runs, axis=0), LINE_STYLES[i]
    axes.plot(median, color=COLORS[i], ls=style_of, label=f"{name} damping")
    low, high = runs.min(axis=0), runs.max(axis=0)
    axes.fill_between(range(6), low, high, color=COLORS[i], alpha=0.15, lw=0)
axes.set(xlabel="steps", ylabel="relative L2 error", yscale="log")
axes.legend()
show(
    figure,
    alt="Error against steps for two first dampings. Both begin at the same "
    "error; with the small one it falls by orders of magnitude within a few"
    " steps, with the usual one slowly.",
)

# %% [markdown]
# After five steps in {numref}`fig-damping`, and for the seed that gains least, the error with the small damping is
# {glue:text}`starting_from_neighbors.damping_gain:.0f` times smaller. All it takes is one argument. (Steps
# are counted when they are accepted; a refused trial costs less, since it needs no new Jacobian.)
#
# ## A library of donors
#
# Solve nine viscosities in advance, the smallest and hardest first, each other from the weights of the one
# before. So all weights lie on one branch: hidden unit number seven does a similar job everywhere. Networks
# trained from independent random weights have their units in any order, and nothing speaks for a mean of
# two of them (an exercise tries it).
#
# A new viscosity starts from the *nearest* donor in $\log \nu$, or from weights *interpolated* between its
# two neighbors. One hundred steps for the first donor, fifteen for each other:

# %%
FIRST, NEXT = 100, 15

# %% [markdown]
# `solve_branch` goes from each member to the next; {numref}`fig-donor-branch` has the whole method:


# %%
def solve_donors(seed, members=DONORS):
    """Return the library of donors, and the seconds that it took."""
    clock = time.perf_counter()
    library = solve_branch(
        lambda nu: system_of(nu, seed),
        members,
        program.initial_parameters(seed),
        first_steps=FIRST,
        steps=NEXT,
    )
    return library, time.perf_counter() - clock


# %% tags=["hide-input"]
def box(axes, x, y, text, color):
    """Draw a text in a box, centered."""
    look = {"boxstyle": "round,pad=0.5", "fc": "none", "ec": color, "lw": 1.5}
    axes.text(x, y, text, ha="center", va="center", bbox=look, linespacing=1.3)


def arrow(axes, start, end, text=""):
    """Draw an arrow, with a text above its middle."""
    look = {"arrowstyle": "-|>", "color": COLORS[4], "lw": 1.3}
    axes.annotate("", end, start, arrowprops=look)
    middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.2
    axes.text(*middle, text, ha="center", fontsize=11)


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-donor-branch", "caption": "The method. Once, in advance (top): random weights are trained on the smallest viscosity, and each further donor starts from the one before, so that all lie on one branch. For each query (bottom): weights between two donors are the start, and a few steps with a small damping do the rest."}}
figure, axes = plt.subplots(figsize=(7.4, 3.3))
axes.set(xlim=(0, 10.3), ylim=(0, 4))
axes.axis("off")
box(axes, 0.8, 3.3, "random\nweights", COLORS[4])
arrow(axes, (1.7, 3.3), (3.0, 3.3), f"{FIRST} steps")
box(axes, 3.7, 3.3, "donor\n$\\nu_1$", COLORS[0])
arrow(axes, (4.4, 3.3), (5.6, 3.3), f"{NEXT} steps")
box(axes, 6.3, 3.3, "donor\n$\\nu_2$", COLORS[0])
arrow(axes, (7.0, 3.3), (8.8, 3.3), f"{NEXT} steps each")
box(axes, 9.5, 3.3, f"donor\n$\\nu_{len(DONORS)}$", COLORS[0])
box(axes, 5.0, 0.7, "weights\nbetween", COLORS[1])
arrow(axes, (3.8, 2.4), (4.6, 1.6))
arrow(axes, (6.2, 2.4), (5.4, 1.6))
arrow(axes, (5.9, 0.7), (7.9, 0.7), "10 steps at $\\nu$")
box(axes, 8.8, 0.7, "solution\nfor $\\nu$", COLORS[1])
axes.text(0.1, 0.7, "asked for:\n$\\nu_1 < \\nu < \\nu_2$", va="center")
arrow(axes, (2.3, 0.7), (4.1, 0.7))
show(
    figure,
    alt="A diagram in two rows. On top arrows lead from random weights to a "
    "first donor, a second one, and on to the last. Below, two donors and the "
    "viscosity asked for lead to weights between, and steps to the solution.",
)

# %% [markdown]
# ## The rivals
#
# Whoever can spend so much in advance can spend it otherwise. The rivals, first those that are one start for
# the whole range:
#
# - *random* weights; *middle*, the network solved at $\nu = 0.0158$, the middle of the range in
#   $\log \nu$; *single*, the network solved at one small viscosity, where the layer is thin;
# - *joint*, trained on five viscosities at once;
# - *FOMAML* and *Reptile*, as in {doc}`meta_optimization`, with five steps of Levenberg–Marquardt inside,
#   on the same five viscosities. These inner steps are plain ones, without geodesic acceleration; all
#   starts, the learned ones too, are then tested with it.
#
# For *joint*, several systems become one:

# %%
FAMILY = DONORS[::2]  # the five viscosities to learn from at once

# %% [markdown]
# A system needs two methods only:


# %%
@dataclass
class Stacked:
    """Several viscosities as one system, for one set of weights."""

    systems: list

    def residuals(self, p):
        """Return the residuals of all."""
        parts = [system.residuals(p) for system in self.systems]
        return np.concatenate(parts) / len(parts) ** 0.5

    def linearize(self, p):
        """Return the residuals and the Jacobians of all."""
        r, J = zip(
            *[system.linearize(p) for system in self.systems], strict=True
        )
        scale = len(r) ** -0.5
        return scale * np.concatenate(r), scale * np.concatenate(J)


# %% [markdown]
# The meta-methods take the compiled form of Levenberg–Marquardt, on all of the family in every meta-step.

# %%
from opifex_tutorials.training.meta_learning import (
    Task,
    levenberg_marquardt_steps,
    maml,
    meta_training,
    reptile,
    stack,
)

ROUNDS, INSIDE = 9, 5

# %% [markdown]
# Five trials of Levenberg–Marquardt inside, on one viscosity each:

# %%
inner = levenberg_marquardt_steps(
    lambda p, data: program.linearize(data[0], p, data[1]),
    lambda p, data: program.residuals(data[0], p, data[1]),
    steps=INSIDE,
)
DIRECTIONS = {
    "FOMAML": (maml(program.loss, inner, first_order=True), optax.adam(3e-3)),
    "Reptile": (reptile(program.loss, inner), optax.sgd(1.0)),
}

# %% [markdown]
# A meta-training is compiled when it is first called; so it is made once for each process.


# %%
def compile_meta_trainings():
    """Return the meta-trainings: (start, key) -> learned start and more."""
    data = [(task(nu), program.sample(task(nu), (0, 0))) for nu in FAMILY]
    tasks = stack([Task(support=d, query=d) for d in data])
    return {
        name: meta_training(direction, optimizer, lambda key: tasks, ROUNDS)
        for name, (direction, optimizer) in DIRECTIONS.items()
    }


# %% [markdown]
# All starts that are one network for the whole range. A joint step works on five viscosities; 44 of them cost
# as much as the library:

# %%
JOINT = 44

# %% [markdown]
# Each of them from the same random weights:


# %%
def single_starts(seed, trainings):
    """Return the name of each start with its weights."""
    untrained = program.initial_parameters(seed)

    def trained(system, steps):
        return adapt(system, untrained, steps, damping=None)[-1]

    family = Stacked([system_of(nu, seed) for nu in FAMILY])
    starts = {
        "middle": trained(system_of(START, seed), FIRST),
        "single": trained(system_of(0.007, seed), FIRST),
        "joint": trained(family, JOINT),
    }
    for name, train in trainings.items():
        learned, *_ = train(jnp.asarray(untrained), jax.random.key(0))
        starts[name] = np.asarray(learned)
    return starts


# %% [markdown]
# ### A network that knows its viscosity
#
# *Conditioned* is a network with $\log \nu$ as one more input, trained on points $(\nu, t, x)$ like any other
# network. Its problem is one of our own: a frozen dataclass with `bounds`.

# %%
LOW, HIGH = np.log(DONORS[[0, -1]])

# %% [markdown]
# The bounds name the coordinates, the viscosity first:


# %%
@dataclass(frozen=True)
class BurgersFamily:
    """All viscosities of the range at once."""

    final_time: float = 0.5

    @property
    def bounds(self):
        """Lowest and highest value of each coordinate, viscosity first."""
        ends = {"t": (0.0, self.final_time), "x": (-1.0, 1.0)}
        return {"nu": (DONORS[0], DONORS[-1]), **ends}


# %% [markdown]
# Its formulation takes that of one member, at the viscosity of each point.


# %%
def feature(nu):
    """Map the range of log ν to [-1, 1]."""
    return (2 * jnp.log(nu) - LOW - HIGH) / (HIGH - LOW)


def member(problem, points, nu):
    """Return the formulation of one viscosity, which JAX may trace."""
    values = {"viscosity": nu, "final_time": problem.final_time}
    bounds = dict(list(problem.bounds.items())[1:])
    return burgers_layer(SimpleNamespace(**values, bounds=bounds), points)


# %% [markdown]
# Trial function, residual and place of a point are those of the member, with $\nu$ in front:

# %%
from opifex_tutorials.losses.jax_system import Condition, Formulation, Trial

# %% [markdown]
# The trial function first:


# %%
def conditioned_trial(problem, points):
    """Return the trial function with the viscosity as a coordinate."""

    def features(nu, t, x):
        inputs = member(problem, points, nu).trial.features(t, x)
        return jnp.append(inputs, feature(nu))

    def candidate(N):
        def u(nu, t, x):
            trial = member(problem, points, nu).trial
            return trial.candidate(lambda t, x: N(nu, t, x))(t, x)

        return u

    return Trial(features, candidate)


# %% [markdown]
# Its residual and its points are those of a member, too:


# %%
def conditioned(problem, points):
    """Return the formulation of the whole family."""

    def of_member(nu):
        return member(problem, points, nu).conditions[0]

    def residual(u):
        return lambda nu, t, x: of_member(nu).residual(partial(u, nu))(t, x)

    def place(z):
        nu = jnp.exp(LOW + (HIGH - LOW) * z[2])
        return nu, *of_member(nu).place(z[:2])

    asked = Condition(residual, place, dimension=3, points=points)
    return Formulation(conditioned_trial(problem, points), (asked,))


# %% [markdown]
# At fixed $\nu$ the fourth feature is a constant that goes into the first bias: then it is a network like
# the others, and can be adapted like them. Its steps work on twice the points, so that 110 of them cost as
# much as the library.

# %%
CONDITIONED = 110
family = Program(conditioned, BurgersFamily(), points=2048, hidden=(16, 16))

# %% [markdown]
# Training it, and folding the feature into the bias:


# %%
def learn_conditioned(seed):
    """Return the rule ν -> start of the conditioned network."""
    problem = BurgersFamily()
    system = System(family, problem, family.sample(problem, (seed, 0)))
    start = family.initial_parameters(seed)
    theta = adapt(system, start, CONDITIONED, damping=None)[-1]
    # In this order: 16 biases, 4 x 16 weights, the last row of the feature.
    bias, kernel, last_row, rest = np.split(theta, [16, 64, 80])

    def fold(nu):
        return np.concatenate(
            [bias + float(feature(nu)) * last_row, kernel, rest]
        )

    return fold


# %% [markdown]
# ### Frozen features
#
# *Frozen* takes the hidden features of all nine donors as a basis and solves for the last layer only: a
# reduced basis {cite}`chen2024`. The donors' weights are part of the problem, so that one compilation serves
# all seeds.


# %%
@dataclass(frozen=True)
class Reduced:
    """One viscosity, and the hidden layers of the donors."""

    viscosity: float
    final_time: float
    layers: tuple

    @property
    def bounds(self):
        """Lowest and highest value of each coordinate."""
        return {"t": (0.0, self.final_time), "x": (-1.0, 1.0)}


# %% [markdown]
# The basis is behind the two hidden layers of each donor:


# %%
def frozen(problem, points):
    """Return a formulation whose network is linear in the donors' features."""
    layer = burgers_layer(problem, points)

    def features(t, x):
        z = layer.trial.features(t, x)
        inner = [jnp.tanh(z @ k0 + b0) for k0, b0, _, _ in problem.layers]
        pairs = zip(inner, problem.layers, strict=True)
        return jnp.concatenate(
            [jnp.tanh(h @ k1 + b1) for h, (_, _, k1, b1) in pairs]
        )

    return Formulation(Trial(features, layer.trial.candidate), layer.conditions)


# %% [markdown]
# The hidden layers of a donor, taken from its vector of weights:


# %%
def layers_of(theta):
    """Return weights and biases of the hidden layers of one donor."""
    hidden = program.weights(theta)["layers"]
    first, second = (
        (hidden[i]["kernel"][...], hidden[i]["bias"][...]) for i in (0, 1)
    )
    return *first, *second


# %% [markdown]
# Ten steps with hardly any damping, of Gauss–Newton that is, from zero, on the last layer. One compiled
# program serves all seeds and viscosities:


# %%
def adapt_frozen(reduced, library, nu, seed):
    """Return the error after ten steps on the last layer."""
    layers = tuple(map(layers_of, library.parameters))
    problem = Reduced(float(nu), 0.5, layers)
    system = System(reduced, problem, reduced.sample(problem, (seed, 0)))
    zero = np.zeros(16 * len(layers) + 1)
    theta = adapt(system, zero, 10, damping=1e-12)[-1]
    u = reduced.evaluate(problem, theta, points_of_error)
    return relative_l2(u, TRUTH[float(nu)])


# %% [markdown]
# ## The test
#
# Every start, every test viscosity, five seeds; at the published viscosities 20 steps, for the random start
# 100. It and that of FOMAML, which is still close to it, get a first damping of `1e-4`, tuned for them; all
# others `1e-8`.

# %%
STEPS = np.array([0, 5, 10, 20, 50, 100])


def follow(name, start, nu, seed):
    """Return the path of one start on one viscosity."""
    published = nu in PUBLISHED
    steps = (100 if name == "random" else 20) if published else 10
    damping = 1e-4 if name in ("random", "FOMAML") else 1e-8
    return adapt(system_of(nu, seed), start, steps, damping=damping)


# %% [markdown]
# Errors at the watched steps:


# %%
def errors_along(path, nu):
    """Return the error at each of STEPS, NaN beyond the end of the path."""
    reached = [distance(nu, path[k]) for k in STEPS if k < len(path)]
    return reached + [np.nan] * (len(STEPS) - len(reached))


# %% [markdown]
# Of the random start we also keep every tenth step, to know later how long it takes from scratch.


# %%
def test_rules(rules, seed):
    """Return errors for each rule ν -> start; every tenth step of random."""
    errors, every_tenth = {}, []
    for name, rule in rules.items():
        paths = [follow(name, rule(nu), nu, seed) for nu in HELD_OUT]
        pairs = list(zip(paths, HELD_OUT, strict=True))
        errors[name] = [errors_along(path, nu) for path, nu in pairs]
        if name == "random":
            long = [(path, nu) for path, nu in pairs if len(path) > 100]
            every_tenth = [
                [distance(nu, p[k]) for k in range(10, 101, 10)]
                for p, nu in long
            ]
    return errors, every_tenth


# %% [markdown]
# Ten steps from interpolated weights, for viscosities elsewhere:


# %%
def ten_steps(library, viscosities, seed):
    """Return errors ten steps after the interpolated start."""
    return [
        distance(
            nu, adapt(system_of(nu, seed), library.interpolate(nu), 10)[-1]
        )
        for nu in viscosities
    ]


# %% [markdown]
# Two processes share the work, and each compiles only what it needs. One learns and tests the starts that
# are one network for all:


# %%
def try_starts(seeds):
    """Return the errors of the single starts and the conditioned network."""
    trainings, found = compile_meta_trainings(), []
    for seed in seeds:
        starts = single_starts(seed, trainings)
        rules = {name: lambda nu, s=s: s for name, s in starts.items()}
        rules["conditioned"] = learn_conditioned(seed)
        found.append(test_rules(rules, seed)[0])
    return found


# %% [markdown]
# What one query takes, when all is compiled:


# %%
def seconds_of_query(library, seed):
    """Return the seconds of ten steps from interpolated weights."""
    system, clock = system_of(HELD_OUT[0], seed), time.perf_counter()
    adapt(system, library.interpolate(HELD_OUT[0]), 10)
    return time.perf_counter() - clock


# %% [markdown]
# The other takes the random start, the library and its frozen basis; and, for later, ten steps outside of
# the range and from a wide library.


# %%
def try_library(seed, reduced):
    """Return all that is measured for the library of one seed."""
    library, seconds = solve_donors(seed)
    rules = {"random": lambda nu: program.initial_parameters(seed)}
    rules |= {"nearest": library.nearest, "interpolated": library.interpolate}
    errors, every_tenth = test_rules(rules, seed)
    wide, _ = solve_donors(seed, np.geomspace(0.001, 0.1, 7))
    return SimpleNamespace(
        library=library,
        errors=errors,
        every_tenth=every_tenth,
        seconds=seconds,
        frozen=[adapt_frozen(reduced, library, nu, seed) for nu in HELD_OUT],
        outside=ten_steps(library, OUTSIDE, seed),
        wide=ten_steps(wide, WIDE, seed),
        query=seconds_of_query(library, seed),
    )


# %% [markdown]
# The frozen basis is compiled once for all seeds:


# %%
def try_libraries(seeds):
    """Return what is measured for the libraries of several seeds."""
    layers = tuple(
        (np.eye(3, 16), np.zeros(16), np.eye(16), np.zeros(16)) for _ in DONORS
    )
    reduced = Program(
        frozen, Reduced(0.01, 0.5, layers), points=1024, hidden=()
    )
    return [try_library(seed, reduced) for seed in seeds]


# %% [markdown]
# Five seeds of both, and for each start the worst error after ten steps:

# %%
others, runs = side_by_side(
    lambda task: task(range(5)), [try_starts, try_libraries], "starts"
)
found = [{**r.errors, **other} for r, other in zip(runs, others, strict=True)]
errors = {name: np.array([e[name] for e in found]) for name in found[0]}
worst = {name: float(e[:, :, 2].max()) for name, e in errors.items()}
worst["frozen"] = float(np.max([r.frozen for r in runs]))

# %% [markdown]
# Offline work is counted in steps on 1,024 points. The library, what is learned from several viscosities and
# the conditioned network spend about as much; *middle* and *single* stop where the first donor does.

# %%
OFFLINE = {"random": 0, "middle": FIRST, "single": FIRST}
OFFLINE |= {"joint": JOINT * len(FAMILY), "conditioned": 2 * CONDITIONED}
learning = ROUNDS * INSIDE * len(FAMILY)
branch = FIRST + NEXT * (len(DONORS) - 1)
OFFLINE |= dict.fromkeys(("FOMAML", "Reptile"), learning)
OFFLINE |= dict.fromkeys(("nearest", "interpolated", "frozen"), branch)

# %% [markdown]
# Medians over seeds and published viscosities; the last column is the worst of all seeds and of all six test
# viscosities.


# %% tags=["hide-input"]
def line(name):
    """Return a row of the table."""
    row = {"start": name, "offline_steps": OFFLINE[name]}
    if name in errors:
        medians = np.median(errors[name][:, : len(PUBLISHED)], axis=(0, 1))
        pairs = zip(STEPS, medians, strict=True)
        row |= {f"{k}_steps": f"{e:.0e}" for k, e in pairs if np.isfinite(e)}
    return row | {"worst_at_10": f"{worst[name]:.1e}"}


columns = " ".join(f"{k}_steps" for k in STEPS)
Table(
    "Relative L2 error after so many steps",
    [line(name) for name in worst],
    f"start offline_steps {columns} worst_at_10",
)

# %% tags=["hide-input"]
BOUNDS = {
    "single": 2e-5,
    "interpolated": 5e-6,
    "nearest": 5e-6,
    "frozen": 5e-6,
    "conditioned": 4e-5,
    "middle": 5e-4,
    "joint": 5e-4,
    "reptile": 8e-4,
    "fomaml": 3e-2,
}
for name, error in worst.items():
    key = name.lower()
    if key in BOUNDS:
        record(
            f"starting_from_neighbors.{key}",
            error,
            at_most=BOUNDS[key],
            unit="relative L2",
        )

# %% tags=["hide-input"]
LIBRARY = ("nearest", "interpolated", "frozen")
others = min(error for name, error in worst.items() if name not in LIBRARY)
best = max(worst[name] for name in LIBRARY)
untouched = {name: e[:, :, 0].max() for name, e in errors.items()}
conditioned_at_0 = untouched.pop("conditioned")
ratios = {
    "conditioned_start": (min(untouched.values()) / conditioned_at_0, 2),
    "library_gain": (others / best, 2),
    "meta_over_single": (
        min(worst["Reptile"], worst["FOMAML"]) / worst["single"],
        1.1,
    ),
}

# %% tags=["hide-input"]
for key, (ratio, least) in ratios.items():
    record(
        f"starting_from_neighbors.{key}",
        ratio,
        at_least=least,
        unit="ratio of errors",
        loose=f"yes or no: at least {least:g} times",
    )
_ = record(
    "starting_from_neighbors.library_seconds",
    max(r.seconds for r in runs),
    unit="s",
)

# %% [markdown]
# **The library of donors wins.** Ten steps from there, the worst test viscosity of the worst seed is right to
# {glue:text}`starting_from_neighbors.interpolated:.1e` with interpolated weights,
# {glue:text}`starting_from_neighbors.nearest:.1e` from the nearest donor,
# {glue:text}`starting_from_neighbors.frozen:.1e` with the frozen features of all; the best of the others is
# {glue:text}`starting_from_neighbors.library_gain:.0f` times less accurate than the worst of these three. All
# nine donors took at most {glue:text}`starting_from_neighbors.library_seconds:.0f` s, compilation included. The
# conditioned network begins best: before any step its worst error is
# {glue:text}`starting_from_neighbors.conditioned_start:.0f` times smaller than that of any other start. After
# ten steps it is at {glue:text}`starting_from_neighbors.conditioned:.1e`.
#
# As a single start for the whole range the meta-learned ones
# ({glue:text}`starting_from_neighbors.reptile:.1e` for Reptile, {glue:text}`starting_from_neighbors.fomaml:.1e`
# for FOMAML, which nine meta-steps hardly move) lose to *one* network solved at *one* small viscosity
# ({glue:text}`starting_from_neighbors.single:.1e`, {glue:text}`starting_from_neighbors.meta_over_single:.0f`
# times less than the better of the two, worst case against worst case). That viscosity was chosen among
# three, by errors on such tests; the middle of the range, which needs no choice, gives
# {glue:text}`starting_from_neighbors.middle:.1e`, joint training
# {glue:text}`starting_from_neighbors.joint:.1e`: not much better than Reptile. {numref}`fig-start-paths` follows five
# of the starts step by step, {numref}`fig-lm-transfer` has their errors after ten steps for each viscosity.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-start-paths", "caption": "Error against steps: median and range over five seeds and the four published viscosities. The conditioned network begins best and gains slowly; interpolated weights begin at a larger error and are far below it after five steps. From random weights the way is long."}}
figure, axes = plt.subplots(figsize=(8, 4))
seen = np.flatnonzero(STEPS <= 20)
shown = ("random", "Reptile", "single", "conditioned", "interpolated")
for i, name in enumerate(shown):
    every = errors[name][:, : len(PUBLISHED), seen].reshape(-1, len(seen))
    look = {"color": COLORS[i], "ls": LINE_STYLES[i], "marker": MARKERS[i]}
    axes.plot(STEPS[seen], np.median(every, axis=0), label=name, **look)
    band = every.min(axis=0), every.max(axis=0)
    axes.fill_between(STEPS[seen], *band, color=COLORS[i], alpha=0.12, lw=0)
axes.set(xlabel="steps", ylabel="relative L2 error", yscale="log")
axes.set_xticks(STEPS[seen])
figure.legend(loc="outside right upper")
show(
    figure,
    alt="Error against steps for five starts. Random begins highest and falls "
    "slowly, Reptile and single lie below it; conditioned begins lowest; "
    "interpolated crosses all others within five steps.",
)

# %% mystnb={"figure": {"name": "fig-lm-transfer", "caption": "Error after ten steps against viscosity: median and range of five seeds. Near the viscosity that it solves the single start comes close to the library; far from it, it does not."}} tags=["hide-input"]
figure, axes = plt.subplots(figsize=(8, 4.4))
order = np.argsort(HELD_OUT)
shown = ("random", "FOMAML", "Reptile", "single", "interpolated")
for i, name in enumerate(shown):
    ten, look = (
        errors[name][:, order, 2],
        {"color": COLORS[i], "ls": LINE_STYLES[i]},
    )
    middle = np.median(ten, axis=0)
    axes.plot(
        HELD_OUT[order], middle, marker=MARKERS[i], ms=5, label=name, **look
    )
    band = ten.min(axis=0), ten.max(axis=0)
    axes.fill_between(HELD_OUT[order], *band, color=COLORS[i], alpha=0.12, lw=0)
axes.set(xlabel="viscosity ν (length² / time)", xscale="log")
ticks = [0.006, 0.01, 0.02, 0.04]
axes.set_xticks(ticks, [f"{nu:g}" for nu in ticks])
axes.set_xticks([], minor=True)
axes.set(ylabel="relative L2 error", yscale="log")
figure.legend(loc="outside right upper")
show(
    figure,
    alt="Error after ten steps against viscosity for five starts. Random and "
    "FOMAML are highest; the interpolated library is the lowest.",
)

# %% [markdown]
# Why can weights be interpolated at all? {numref}`fig-donor-weights` looks at them.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-donor-weights", "caption": "The twelve weights that change most along the branch of one seed, against the viscosity of the donor. They move slowly, on curves that lines between neighbors follow well: weights in between are nearly the weights of a solution."}}
one = runs[0].library.parameters
moved = np.ptp(one, axis=0).argsort()[-12:]
ticks = [0.005, 0.01, 0.02, 0.05]
figure, axes = plt.subplots(figsize=(7, 3.6))
for i, k in enumerate(moved):
    look = {"color": COLORS[i % 5], "ls": LINE_STYLES[i % 5], "ms": 4}
    axes.plot(DONORS, one[:, k], marker=MARKERS[i % 5], **look)
axes.set(xlabel="viscosity ν (length² / time)", xscale="log", ylabel="weight")
axes.set_xticks(ticks, [f"{nu:g}" for nu in ticks])
axes.set_xticks([], minor=True)
show(
    figure,
    alt="Twelve lines with nine marks each, weights against viscosity. All of "
    "them are smooth; some rise, some fall, none jumps.",
)

# %% [markdown]
# What does an interpolated start look like, before any step? In {numref}`fig-live-donors` the page evaluates the donors of the first
# seed, and the exact solution by the quadrature of `BurgersProblem.exact`. Move the viscosity from donor to
# donor, every eighth position of the slider, and in between.


# %% tags=["hide-input"]
def draw_start(x, library, time, nu):
    """Return a figure of an interpolated start, and its curves."""
    problem, points = task(nu), (np.full_like(x, time), x)
    u = program.evaluate(problem, library.interpolate(nu), points)
    exact = problem.exact(*points)
    error = np.abs(u - exact).clip(1e-9)
    figure, (top, bottom) = plt.subplots(2, sharex=True, figsize=(7, 5.6))
    curves = {
        "exact": top.plot(x, exact, color=COLORS[4], lw=4, alpha=0.6)[0],
        "network": top.plot(x, u, color=COLORS[1])[0],
        "error": bottom.plot(x, error, color=COLORS[0])[0],
    }
    top.legend([curves["network"], curves["exact"]], ["network", "exact"])
    top.set(ylabel="velocity u (length / time)", ylim=(-1.1, 1.1))
    bottom.set(xlabel="position x (length)", ylabel="size of the error")
    bottom.set(yscale="log", ylim=(1e-9, 1))
    return figure, curves


# %% mystnb={"figure": {"name": "fig-live-donors", "caption": "A network with interpolated weights and the exact solution, and below the error. At a donor the network is a solution; between two of them the error rises, and steps from there begin with it."}} tags=["hide-input"]
from scipy.special import roots_hermite

from opifex_tutorials.live import live
from opifex_tutorials.losses.burgers import LAYER_WIDTHS
from opifex_tutorials.problems.burgers import NODES

library, nu = runs[0].library, DONORS[2] ** 0.5 * DONORS[3] ** 0.5
even = np.linspace(0, 1, 61)
half = (even + np.sinh(even * np.arcsinh(50)) / 50) / 2
places = np.concatenate([-half[:0:-1], half])  # dense in the layer
rule = dict(zip(("nodes", "weights"), roots_hermite(NODES), strict=True))
donors = {"viscosities": DONORS, "donors": library.parameters}
live(
    "burgers",
    *draw_start(places, library, 0.5, nu),
    alt="Above: a network and the exact solution, which fall together through "
    "zero in the middle. Below: the size of the difference, largest in the "
    "layer.",
    **rule | donors | {"widths": program.widths, "finalTime": 0.5},
    **{"layerWidth": LAYER_WIDTHS, "x": places, "viscosity": nu, "time": 0.5},
)

# %% [markdown]
# ## Outside of the range, and a range of two decades
#
# The library has seen nothing below $0.005$ or above $0.05$. A second one, of seven donors, spans $0.001$ to
# $0.1$.

# %% tags=["hide-input"]
outside, wide = (
    np.max([getattr(r, key) for r in runs], axis=0)
    for key in ("outside", "wide")
)
cases = [("narrow", OUTSIDE, outside), ("wide", WIDE, wide)]
rows = [
    {"library": name, "viscosity": float(nu), "worst_at_10": float(error)}
    for name, viscosities, found in cases
    for nu, error in zip(viscosities, found, strict=True)
]
bounds = {"outside": 6e-5, "wide": 2e-5, "above": 1.5e-6}
largest = (outside.max(), wide.max(), outside[-1])
for (key, most), value in zip(bounds.items(), largest, strict=True):
    record(
        f"starting_from_neighbors.{key}",
        value,
        at_most=most,
        unit="relative L2",
    )
Table(
    "Ten steps: the worst of five seeds", rows, "library viscosity worst_at_10"
)

# %% [markdown]
# At these viscosities the error after ten steps is at most
# {glue:text}`starting_from_neighbors.outside:.0e` outside of the range of the first library, and at most
# {glue:text}`starting_from_neighbors.wide:.0e` inside of that of the second. The small viscosities, whose
# layer is thinner, are the hard side; above the range, at $\nu = 0.1$, extrapolated weights lead to
# {glue:text}`starting_from_neighbors.above:.0e`.
#
# What the steps have to repair is in {numref}`fig-outside-donors`: the error of the interpolated weights as they are,
# all over the range and beyond.

# %% tags=["hide-input"]
sweep = np.geomspace(DONORS[0] / 10**0.375, DONORS[-1] * 10**0.375, 57)
TRUTH |= {float(nu): task(nu).exact(*points_of_error) for nu in sweep}
untrained = np.array(
    [[distance(nu, r.library.interpolate(nu)) for nu in sweep] for r in runs]
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-outside-donors", "caption": "Interpolated weights across the range of the donors (gray, with a tick for each donor) and beyond it. Line: error before any step, median and range of five seeds. It has an arc between each pair of donors, as interpolation has, and grows quickly outside. Squares: the worst seed after ten steps."}}
figure, axes = plt.subplots(figsize=(7.4, 4))
axes.axvspan(DONORS[0], DONORS[-1], color=COLORS[4], alpha=0.12, lw=0)
seed_band(axes, sweep, untrained, "before the first step")
after = [*errors["interpolated"][:, :, 2].max(axis=0), *outside]
asked = [*HELD_OUT, *OUTSIDE]
axes.plot(asked, after, "s", color=COLORS[1], label="after ten steps (worst)")
axes.set(xscale="log", xlabel="viscosity ν (length² / time)")
axes.set(yscale="log", ylabel="relative L2 error")
bottom = np.full(len(DONORS), axes.get_ylim()[0])
axes.plot(DONORS, bottom, "|", color=COLORS[4], ms=14)
axes.legend(fontsize=10)
show(
    figure,
    alt="Error against viscosity. Before any step a line of eight arcs between "
    "nine donors, rising steeply at both ends outside of them; squares some "
    "digits below it, highest at the smallest viscosities.",
)

# %% [markdown]
# ## Is it paid back?
#
# Offline work is an investment. It pays off after
#
# $$
# n = \frac{\text{offline steps}}{\text{steps from scratch to the same error} - \text{steps per query}}
# $$ (eq-donors-paid)
#
# queries. From scratch means the best we know for it: the same formulation and optimizer, a tuned first
# damping, and a stop as soon as it is as good as the adapted start after its 10 steps, looked at every ten
# steps, or after 100 steps, even if it is not: that counts in its favor. Means are taken over seeds and
# published viscosities. The search for the viscosity of *single* is not charged.

# %%
scratch = np.array(
    [r.every_tenth for r in runs]
)  # seeds, tests, every tenth step
needed, queries = {}, {}
for name in ("single", "interpolated"):
    reached = scratch <= errors[name][:, : len(PUBLISHED), 2, None]
    never = reached.shape[-1] - 1
    first = np.where(reached.any(axis=-1), reached.argmax(axis=-1), never)
    needed[name] = 10 * (first.mean() + 1)
    queries[name] = OFFLINE[name] / (needed[name] - 10)

# %% tags=["hide-input"]
for name, bound in (("single", 4), ("interpolated", 6)):
    record(
        f"starting_from_neighbors.break_even_{name}",
        queries[name],
        at_most=bound,
        unit="queries",
    )
rows = [
    {"start": name, "from_scratch": needed[name], "break_even": queries[name]}
    for name in needed
]
Table(
    "Steps from scratch to the same error, and queries that pay",
    rows,
    "start from_scratch break_even",
)

# %% [markdown]
# The library is paid back after {glue:text}`starting_from_neighbors.break_even_interpolated:.1f` queries, the
# single start, for its lower accuracy, after {glue:text}`starting_from_neighbors.break_even_single:.1f`.
# {numref}`fig-donors-paid` draws both sides of {eq}`eq-donors-paid`.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-donors-paid", "caption": "When the library is paid back: steps in total against the number of queries, means over seeds and published viscosities. Solid: nine donors first, then ten steps a query. Dashed: every query from scratch, to the same error. They cross (circle) where the saving has paid for the donors."}}
figure, axes = plt.subplots(figsize=(6.6, 3.6))
asked = np.arange(9)
for i, name in enumerate(("interpolated", "single")):
    look = {"color": COLORS[i], "marker": MARKERS[2 * i], "ms": 4}
    start = f"with {name}"
    axes.plot(asked, OFFLINE[name] + 10 * asked, ls="-", label=start, **look)
    scratch_label = f"from scratch, as good as {name}"
    axes.plot(asked, needed[name] * asked, ls="--", label=scratch_label, **look)
    crossing = queries[name], needed[name] * queries[name]
    axes.plot(*crossing, "o", color=COLORS[i], ms=11, mfc="none")
axes.set(xlabel="queries", ylabel="steps in total", ylim=0)
axes.legend(fontsize=10)
show(
    figure,
    alt="Total steps against queries. Two solid lines begin high and rise "
    "slowly, two dashed lines begin at zero and rise steeply; circles mark "
    "where they cross, after a few queries.",
)

# %% [markdown]
# ## The classical neighbor
#
# The spectral solver of {doc}`first_pinn` needs none of this:

# %%
from opifex_tutorials.solvers import solve_burgers_grid

grids = [solve_burgers_grid(task(nu), points=512, steps=256) for nu in HELD_OUT]
classical = max(
    relative_l2(grid(*points_of_error), TRUTH[float(nu)])
    for nu, grid in zip(HELD_OUT, grids, strict=True)
)
slowest = max(grid.history.seconds[-1] for grid in grids)
print(f"classical: worst {classical:.1e} in at most {slowest:.3f} s")

# %% tags=["hide-input"]
record(
    "starting_from_neighbors.classical",
    classical,
    at_most=1.5e-7,
    unit="relative L2",
)
record("starting_from_neighbors.classical_seconds", slowest, unit="s")
query = max(run.query for run in runs)
record("starting_from_neighbors.query_seconds", query, unit="s")
_ = record(
    "starting_from_neighbors.classical_gain",
    worst["interpolated"] / classical,
    at_least=2,
    unit="ratio of errors",
    loose="yes or no: at least twice as accurate",
)

# %% [markdown]
# It is more accurate, {glue:text}`starting_from_neighbors.classical_gain:.0f` times in the worst case, and
# takes {glue:text}`starting_from_neighbors.classical_seconds:.2f` s a query at most, with nothing to solve
# before; ten steps from the library take {glue:text}`starting_from_neighbors.query_seconds:.2f` s (slowest seed).
# On this family nobody needs a network. What transfers is the method: it asks for residuals only,
# and a family.
#
# ## Results
#
# Everything this chapter recorded, with the bounds that would have stopped the build.

# %% tags=["hide-input"]
close_chapter("starting_from_neighbors")

# %% [markdown]
# ## Exercises
#
# ```{exercise} Warm-up: the tangent by hand
# :label: exercise-branch-tangent
#
# Let there be one weight, with the residual $r = \theta^2 - \nu$, so that $\theta = \sqrt\nu$ solves it. Evaluate
# {eq}`eq-branch-tangent` from $\nu = 1$ to $1 + \delta$. By how much does this step miss the root, to leading order?
# Then take one step of `adapt`: does it miss by as much?
# ```

# %% [markdown]
# ````{solution-start} exercise-branch-tangent
# :class: dropdown
# ````
#
# $J = 2$ and $\partial_\nu r = -1$, so $d = \delta / 2$. The root is $1 + \delta/2 - \delta^2/8 + \delta^3/16 - \dots$,
# which the tangent misses by about $\delta^2/8$. A step of `adapt` has the geodesic acceleration in it, which is the
# next term: it misses by about $\delta^3/16$, and by an eighth of this when $\delta$ is halved.


# %% tags=["hide-input"]
class Square:
    """One weight whose square shall be a number: the residual is θ² - ν."""

    def __init__(self, nu):
        self.nu = nu

    def residuals(self, theta):
        """Return the residual."""
        return theta**2 - self.nu

    def linearize(self, theta):
        """Return the residual and its derivative."""
        return self.residuals(theta), np.diag(2 * theta)


# %% tags=["hide-input"]
misses = {}
for delta in (0.1, 0.05):
    path = adapt(Square(1 + delta), np.ones(1), 1, damping=1e-12)
    root = np.sqrt(1 + delta)
    tangent, misses[delta] = abs(1 + delta / 2 - root), abs(path[-1, 0] - root)
    print(f"δ = {delta}: off by {tangent:.1e} (tangent), {misses[delta]:.1e}")
    assert 0.8 < tangent / (delta**2 / 8) < 1.1
assert 7 < misses[0.1] / misses[0.05] < 9

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Half as many donors
# :label: exercise-half-donors
#
# Leave out every other donor. By which factor should the error of interpolated weights, before any step, grow
# halfway between two donors? Compare with what you measure.
# ```

# %% [markdown]
# ````{solution-start} exercise-half-donors
# :class: dropdown
# ````
#
# Linear interpolation is of second order: twice the distance in $\log \nu$, four times the error, as long as the
# weights lie on a smooth curve. The donors left out are halfway between those that stay.

# %% tags=["hide-input"]
from opifex_tutorials.training.transfer import DonorLibrary

every_other = [
    DonorLibrary(r.library.members[::2], r.library.parameters[::2])
    for r in runs
]
left_out = sweep[16:-12:8]  # the donors; four points of the sweep apart
assert np.allclose(left_out, DONORS[1::2])
of_half = np.median(
    [[distance(nu, m.interpolate(nu)) for nu in left_out] for m in every_other]
)
of_all = np.median(untrained[:, 14:-12:4])
print(f"nine {of_all:.1e}, five {of_half:.1e}: {of_half / of_all:.1f} times")
assert 2.5 < of_half / of_all < 6

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Another family
# :label: exercise-family
#
# Nothing in `solve_branch` knows Burgers. Make a library of four donors for the heat equation with
# diffusivities from $0.02$ to $0.2$, and solve $0.07$ in ten steps. Are five digits right?
# ```

# %% [markdown]
# ````{solution-start} exercise-family
# :class: dropdown
# ````
#
# Only the formulation and the problem change, and they are.

# %% tags=["hide-input"]
from opifex_tutorials.losses.linear import linear_hard
from opifex_tutorials.problems.linear import HeatProblem

heat = Program(linear_hard, HeatProblem(), points=512, hidden=(12, 12))


def heat_system(diffusivity):
    """Return the system of one heat equation."""
    problem = HeatProblem(diffusivity=diffusivity)
    return System(heat, problem, heat.sample(problem, (0, 0)))


start = heat.initial_parameters(0)
branch = solve_branch(
    heat_system, [0.02, 0.045, 0.1, 0.2], start, first_steps=60
)
found = adapt(heat_system(0.07), branch.interpolate(0.07), 10)[-1]
problem = HeatProblem(diffusivity=0.07)
where = [
    a.ravel() for a in np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 21))
]
u = heat.evaluate(problem, found, tuple(where))
heat_error = relative_l2(u, problem.exact(*where))
print(f"relative L2 error {heat_error:.1e}")
assert heat_error < 1e-5

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Strangers
# :label: exercise-strangers
#
# Interpolate between two networks that were trained from *different* random weights, halfway between
# their viscosities. Is the mean of their weights closer to the solution there than either of them?
# ```

# %% [markdown]
# ````{solution-start} exercise-strangers
# :class: dropdown
# ````
#
# No, it is farther away than both: their hidden units are in another order. (One pair, before any step.)

# %% tags=["hide-input"]
ends, between = (0.01, 0.02), np.sqrt(0.01 * 0.02)


def solve_alone(seed):
    """Solve one of the two from weights of its own."""
    system = system_of(ends[seed], 0)
    return adapt(system, program.initial_parameters(seed), 60, damping=None)[-1]


strangers = side_by_side(solve_alone, [0, 1], "strangers")
TRUTH[float(between)] = task(between).exact(*points_of_error)
mixed = distance(between, sum(strangers) / 2)
alone = [distance(between, theta) for theta in strangers]
print(f"either: {alone[0]:.0e}, {alone[1]:.0e}; mean of weights: {mixed:.0e}")
assert mixed > max(alone)

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Research: a better rule between donors?
# :label: exercise-between-donors
#
# Put a cubic spline in $\log \nu$ through the weights of all donors, and the polynomial of degree eight, in place of the
# line between two. Which start is best inside of the range, and outside? Is anything left of the differences a few steps
# later? What would you have to change for a better rule to pay?
# ```

# %% [markdown]
# ````{solution-start} exercise-between-donors
# :class: dropdown
# ````
#
# Inside of the range the spline gives the best start, and the polynomial, which swings at the ends, is no better
# than lines. Outside both are worse than the line, the polynomial hopelessly. Three steps later
# nothing is left of the differences: from the basin of a solution Levenberg–Marquardt needs as many steps from all of them. A
# better rule pays where there are fewer donors, far apart, or fewer steps.


# %% tags=["hide-input"]
from scipy.interpolate import CubicSpline, KroghInterpolator


def rule_of(kind, library):
    """Return ν -> weights, a curve through all donors."""
    if kind == "lines":
        return library.interpolate
    curve = {"spline": CubicSpline, "polynomial": KroghInterpolator}[kind]
    through = curve(np.log(library.members), library.parameters)
    return lambda nu: through(np.log(nu))


def error_of_starts(kind, viscosities):
    """Return the median error before any step."""
    rules = [rule_of(kind, r.library) for r in runs]
    return np.median(
        [[distance(nu, f(nu)) for nu in viscosities] for f in rules]
    )


# %% tags=["hide-input"]
inside, beyond, later = {}, {}, {}
for kind in ("lines", "spline", "polynomial"):
    inside[kind] = error_of_starts(kind, HELD_OUT)
    beyond[kind] = error_of_starts(kind, OUTSIDE)
    start = rule_of(kind, runs[0].library)
    ends = [adapt(system_of(nu, 0), start(nu), 3)[-1] for nu in PUBLISHED]
    later[kind] = np.median(
        [distance(nu, end) for nu, end in zip(PUBLISHED, ends, strict=True)]
    )
    print(
        f"{kind}: inside {inside[kind]:.1e}, outside {beyond[kind]:.1e}, "
        f"three steps later (inside) {later[kind]:.1e}"
    )
assert inside["spline"] < inside["lines"]
assert inside["polynomial"] > inside["lines"]
assert beyond["polynomial"] > 10 * beyond["lines"]
assert later["lines"] < 2 * later["spline"]

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ## Experiments to try
#
# - Reduce the library to two donors. How many steps does that cost?
# - Solve the donors from the largest viscosity downward. Does the order matter?
# - Give FOMAML ninety meta-steps instead of nine. When does it leave the random start behind?
#
# ## Troubleshooting
#
# **The first step from a good start destroys it.** The optimizer's first step is made for random
# weights. Lower the first damping of Levenberg–Marquardt (or the rate of Adam).
#
# **Interpolated weights give nonsense.** The donors were trained from different random starts: hidden
# units are in another order. Start each donor from its neighbor.
#
# **Each donor needs as many steps as the first.** The neighbors are too far apart: put more donors in
# between, evenly in $\log \nu$.
#
# ## Related chapters
#
# - {doc}`meta_optimization`: the published experiment on this family, with Adam.
# - {doc}`first_pinn`: the formulation, the optimizer and the classical solver used here.
# - {doc}`../book/how_we_verify` explains bounds, the ledger and the independent references.
