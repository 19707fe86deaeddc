# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scaling out
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
#   - {glue:text}`scaling_out.seconds:.0f` s
#   - {doc}`first_pinn`
#   - notebook, in JAX
#   - {glue:text}`scaling_out.peak_memory:.0f` MB
# ```
#
# One process is not enough any more. What will more of them buy? That depends on what you need more of:
# runs, points or parameters. {numref}`fig-three-ways` has the three, and each grows along another edge of
# the same picture. This chapter does the first two with two processes, on one machine, and measures what a
# step costs there. From that it predicts, on paper, what up to 1,024 processes would do, and from where on more of
# them make a step slower.

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np

from opifex_tutorials.plotting import COLORS, LINE_STYLES, MARKERS, show, style

style()


def block(axes, x, y, width, height, text="", color=0, **look):
    """Draw a rectangle with a text in its middle."""
    look = {"fc": "none", "ec": COLORS[color], "lw": 1.6} | look
    axes.add_patch(plt.Rectangle((x, y), width, height, **look))
    middle = x + width / 2, y + height / 2
    axes.text(*middle, text, ha="center", va="center", fontsize=11)


arrow = {"arrowprops": {"arrowstyle": "->", "color": COLORS[4], "lw": 1.3}}


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-three-ways", "caption": "The question: what do you need more of? Each rectangle is the Jacobian of a training, a row for each point and a column for each parameter. More runs: more rectangles, which need nothing of each other. More points: it grows downward and is cut into rows; one sum joins the parts. More parameters: it grows sideways, and the square matrix that a step solves grows as the square."}}
figure, axes = plt.subplots(figsize=(8, 3.4))
axes.set(xlim=(0, 13.5), ylim=(0, 6.6))
axes.axis("off")
for k in range(3):
    block(axes, 0.3 + 1.35 * k, 3, 1, 2, "$J$")
axes.text(4.5, 4, "…", fontsize=16)
for k in range(4):
    block(axes, 6.4, 0.6 + 1.12 * k, 1, 1.0, f"$J_{4 - k}$", color=1)
axes.annotate("", (8.6, 2.8), (7.6, 2.8), **arrow)
block(axes, 8.7, 2.3, 1, 1, "$J^TJ$", color=1)
block(axes, 11, 3, 2.2, 2, "$J$", color=2)
axes.annotate("", (12.1, 2.4), (12.1, 2.9), **arrow)
block(axes, 11, 0.1, 2.2, 2.2, "$J^TJ$", color=2)
for x, text in (
    (2.3, "more runs"),
    (8, "more points"),
    (12.3, "more parameters"),
):
    axes.text(x, 5.9, text, ha="center", fontsize=13)
show(
    figure,
    alt="Three drawings. Left: several equal rectangles side by side. Middle: "
    "four rectangles on top of each other and an arrow to one small square. "
    "Right: a wide rectangle, and below it a square as wide.",
)

# %% [markdown]
# ## What you will learn
#
# - which of the three you need, and what each costs;
# - to send many runs to another engine, by one line;
# - to spread the rows of a Jacobian over devices and processes, with one large sum a step;
# - a model of a step's time, its constants measured, and how well it predicts;
# - where more processes make a step slower;
# - what replaces a matrix that is too large, and where that loses;
# - to stop a run and go on.
#
# Nothing here needs a cluster, and no cluster was used. What is said about more than two processes is a
# prediction, and is called so.

# %% [markdown]
# ## Which of the three?
#
# | you have | you need more | what is exchanged | what ends it |
# |---|---|---|---|
# | a family, seeds, a search | *runs* | nothing: arguments out, results back | starting, compiling, the slowest run |
# | a solution with structure at many scales | *points* | a matrix of $P^2$ numbers a step | the sum, and what every process repeats |
# | a network that is too small | *parameters* | the same | $P^3$ work and $P^2$ memory |
#
# Ask in this order. Runs side by side are free of any exchange and nearly free of code. More points cost more code, and pay only
# if the points are what limits you: the held-out residual tells ({doc}`first_pinn`). More parameters change the
# method.
#
# All examples solve the Burgers equation, because its solution is known. Nobody needs many processes for
# it: a spectral solver has it in a fraction of a second.

# %% [markdown]
# ## More runs
#
# `side_by_side` calls a function for each of some arguments, in one process per core. Here it solves
# six members of a family of viscosities, and returns for each the weights, the error, and when and where it ran.
# (What JAX is told here is for later, and has to be told before it starts: eight devices, one thread for each product.)

# %%
import os
import time

import jax

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
jax.config.update("jax_num_cpu_devices", 8)
# %% [markdown]
# From the package, the problem and its solver, and where errors are measured:

# %%
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.parallel import side_by_side
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.solvers import solve_burgers_pinn
from opifex_tutorials.verification import relative_l2

enable_float64()
t, x = np.linspace(0.02, 1.0, 50)[:, None], np.linspace(-1.0, 1.0, 201)
FAMILY = np.geomspace(0.01, 0.05, 6)

# %% [markdown]
# Each run is a small solve, of fifty steps:


# %%
def solve(viscosity):
    """Return weights, error, and which process worked from when to when."""
    begin, problem = time.time(), BurgersProblem(float(viscosity), 1.0)
    solution = solve_burgers_pinn(problem, seed=0, steps=50)
    error = relative_l2(solution(t, x), problem.exact(t, x))
    return solution.parameters, error, (os.getpid(), begin, time.time())


here = side_by_side(solve, FAMILY)

# %% [markdown]
# Another *engine* takes the same runs elsewhere: joblib, which starts the processes, knows Dask and Ray, and either
# knows clusters. This starts a scheduler of Dask and two workers, on this machine, the way a cluster starts them: as
# processes of their own. One line, the last before the call, switches:

# %%
import joblib
from distributed import Client
from distributed.deploy.subprocess import SubprocessCluster

TWO = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
started = time.time()
with SubprocessCluster(**TWO) as cluster, Client(cluster) as client:
    client.wait_for_workers(2)
    with joblib.parallel_config("dask"):
        there = side_by_side(solve, FAMILY)

# %% [markdown]
# The results should not depend on who computed them, to the last bit:

# %%
pairs = zip(here, there, strict=True)
apart = max(np.abs(one[0] - other[0]).max() for one, other in pairs)
worst = max(error for _, error, _ in there)
print(f"largest difference {apart}, worst error {worst:.1e}")

# %% tags=["hide-input"]
from opifex_tutorials.results import close_chapter, record
from opifex_tutorials.tables import Table

L2, RELATIVE = "relative L2", "relative difference"


def note(name, value, unit, **bound):
    """Record a result of this chapter; a missed bound stops the build."""
    record(f"scaling_out.{name}", value, unit=unit, **bound)


note("runs_apart", apart, "difference", at_most=0, loose="yes or no: equal")
note("runs_error", worst, L2, at_most=2.5e-5)

# %% [markdown]
# They are equal. Of a cluster that is elsewhere only the address changes: `Client("tcp://…")` in place of the two
# lines that start one here. {numref}`fig-who-did-what` has the times. The scheduler starts, and a worker first imports and
# compiles: $s$ seconds together. Then a run takes $t$ seconds. If $R$ runs meet $p$ workers, the whole takes
#
# $$
# T(p) = s + t \lceil R / p \rceil .
# $$ (eq-runs)
#
# Both constants come from these very runs, so that this tests {eq}`eq-runs` only, which leaves out that runs differ:

# %%
stamps = sorted([run[2] for run in there], key=lambda stamp: stamp[1])
lengths = [end - begin for _, begin, end in stamps]
each = float(np.median(lengths))
start = stamps[0][2] - started - each
predicted = start + each * np.ceil(len(FAMILY) / 2)
took = max(end for *_, end in stamps) - started
print(f"by the formula {predicted:.1f} s, took {took:.1f} s")

# %% tags=["hide-input"]
note("runs_start", start, "s")
note("runs_each", each, "s")
note("runs_took", took, "s")
note("runs_predicted_to_took", predicted / took, "s/s")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-who-did-what", "caption": "Six runs on two workers of Dask, and the same on paper. Left: who did what, from the moment the cluster was asked for; a first run on a worker imports and compiles. Right: the time of a thousand runs of this kind against the number of workers, from the measured start and length of a run. It cannot fall below one start and one run (dotted)."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2))
workers = sorted({pid for pid, *_ in stamps})
for pid, begin, end in stamps:
    row, look = workers.index(pid), {"ec": "white", "height": 0.6}
    left.barh(row, end - begin, left=begin - started, color=COLORS[row], **look)
left.set(xlabel="time (s)", yticks=range(len(workers)), xlim=(0, None))
left.set_yticklabels([f"worker {row + 1}" for row in range(len(workers))])
several = 2 ** np.arange(11)
on_paper = start + each * np.ceil(1000 / several)
right.loglog(several, on_paper, "o-", ms=4, label="prediction")
right.axhline(start + each, color=COLORS[4], ls=":")
right.set(xlabel="workers", ylabel="time of 1,000 runs (s)")
right.legend()
show(
    figure,
    alt="Left: two rows of bars over time, in each a long one first and then "
    "shorter ones. Right: a line that falls with the number of workers and "
    "flattens toward a dotted level.",
)

# %% [markdown]
# Starting a worker costs as much as {glue:text}`scaling_out.runs_start_in_runs:.0f` of these runs. So a worker should live
# long: start it once and give it many runs. More workers shorten the whole, but never below one start and one run. What a cluster needs besides is at the end of this chapter.

# %% tags=["hide-input"]
note("runs_start_in_runs", start / each, "s/s")

# %% [markdown]
# ## More points
#
# A step of Levenberg–Marquardt needs of the Jacobian no more than two sums over its rows, whatever their number. If
# the rows are dealt out to $p$ devices, so that device $k$ has the residuals $r_k$ and their Jacobian $J_k$, then
#
# $$
# J^T J = \sum_{k=1}^{p} J_k^T J_k, \qquad J^T r = \sum_{k=1}^{p} J_k^T r_k ,
# $$ (eq-rows)
#
# and each device can form its terms without asking the others. Only the sums are exchanged: $P^2 + P$ numbers for
# $P$ parameters. Then every device takes the same step, from the same numbers, so that nobody has to tell it to the others
# ({numref}`fig-rows`).

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-rows", "caption": "A step on four devices. Each has a share of the points, forms its rows of the Jacobian and its own Gram matrix. One sum of these small matrices (all-reduce) is exchanged; then all solve the same equations and hold the same weights again. A second-order step adds a sum of P numbers and the loss."}}
figure, axes = plt.subplots(figsize=(8.4, 3.6))
axes.set(xlim=(0, 17), ylim=(0, 7.2))
axes.axis("off")
axes.text(0.1, 6.6, "points")
for k in range(4):
    y = 4.9 - 1.55 * k
    block(axes, 0.1, y, 2, 1.1, f"share {k + 1}", color=4)
    block(axes, 3.6, y, 2, 1.1, f"$J_{k + 1},\\ r_{k + 1}$", color=k)
    block(axes, 7.1, y, 2, 1.1, f"$J_{k + 1}^TJ_{k + 1}$", color=k)
    block(axes, 14.7, y, 2, 1.1, "$\\theta + d$", color=k)
    for begin, end in ((2.2, 3.5), (5.7, 7.0), (9.2, 10.3), (13.4, 14.6)):
        axes.annotate("", (end, y + 0.55), (begin, y + 0.55), **arrow)
block(axes, 10.4, 0.25, 2.9, 5.75, "one sum:\n$J^TJ,\\ J^Tr$", color=4)
show(
    figure,
    alt="Four rows of boxes, one for each device: a share of the points, rows "
    "of the Jacobian, a Gram matrix. They meet in one tall box, the sum, and "
    "from there four arrows lead to four equal new weights.",
)

# %% [markdown]
# ### Written down
#
# A *device* is what JAX computes on. The first cell asked for eight *virtual* ones, which share the cores of this
# machine. For a program they are eight devices; only the clock can tell.
#
# The problem is that of {doc}`first_pinn`, with 4,096 points. They are dealt out along the axis `rows` of a *mesh*:

# %%
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

from opifex_tutorials.losses.burgers import burgers_layer
from opifex_tutorials.losses.jax_system import Program, System

problem = BurgersProblem(0.01 / np.pi, final_time=1.0)
program = Program(burgers_layer, problem, points=4096, hidden=(16, 16))
theta = program.initial_parameters(seed=0)

# %% [markdown]
# Each device receives an eighth of them:

# %%
[points] = program.sample(problem, (0, 0))
mesh = jax.make_mesh((8,), ("rows",))
dealt = jax.device_put(points, NamedSharding(mesh, Spec("rows")))
print({shard.data.shape for shard in dealt.addressable_shards})

# %% [markdown]
# What a device does with its share is {eq}`eq-rows` without the sum, and `psum` is the sum:


# %%
def equations(theta, share):
    """Return JᵀJ and Jᵀr over the points of all devices."""
    r, J = program.linearize(problem, theta, (share,))
    return jax.lax.psum((J.T @ J, J.T @ r), "rows")


# %% [markdown]
# `shard_map` runs it on all devices at once. Weights go to all of them (`Spec()`), points by rows, and what comes
# back is the same everywhere. (`check_vma=False` because with this check on, JAX adds a sum of its own to each
# derivative with respect to what all devices share: right for a gradient of the loss, wrong for the rows of a Jacobian.)

# %%
over_rows = {"mesh": mesh, "out_specs": Spec(), "check_vma": False}
specs = (Spec(), Spec("rows"))
sharded = jax.jit(jax.shard_map(equations, in_specs=specs, **over_rows))

gram, right = map(np.asarray, sharded(theta, dealt))
r, J = map(np.asarray, program.linearize(problem, theta, (points,)))
gram_apart = np.abs(gram - J.T @ J).max() / np.abs(gram).max()
print(f"sharded against whole: {gram_apart:.0e}")

# %% [markdown]
# Second-order steps need one thing more: the second derivative of the residuals along the step $d$, pulled back,
#
# $$
# J^T r_{dd} = \sum_k J_k^T\, \frac{\mathrm{d}^2}{\mathrm{d} \varepsilon^2} r_k(\theta + \varepsilon d) \Big|_{\varepsilon = 0} ,
# $$ (eq-pulled)
#
# By {eq}`eq-pulled` it is a sum over rows as well. Nested forward derivatives give the second derivative, `vjp` the product with $J_k^T$:


# %%
def pulled(theta, d, share):
    """Return Jᵀ times the second derivative of the residuals along d."""

    def residuals(theta):
        return program.residuals(problem, theta, (share,))

    def slope(theta):
        return jax.jvp(residuals, (theta,), (d,))[1]

    r_dd = jax.jvp(slope, (theta,), (d,))[1]
    return jax.lax.psum(jax.vjp(residuals, theta)[1](r_dd)[0], "rows")


# %% [markdown]
# The step itself is that of {doc}`first_pinn`: two systems with one matrix.

# %%
specs = (Spec(), Spec(), Spec("rows"))
bent = jax.jit(jax.shard_map(pulled, in_specs=specs, **over_rows))

damping = 1.0
damped = gram + damping * np.eye(theta.size)
d = -np.linalg.solve(damped, right)
second = -np.linalg.solve(damped, np.asarray(bent(theta, d, dealt)))
by_hand = theta + d + second / 2

# %% [markdown]
# The package takes the same step with the whole Jacobian, and a difference in place of the second derivative:

# %%
from opifex_tutorials.training.levenberg_marquardt import (
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)

whole = System(program, problem, (points,))
state = LevenbergMarquardtState(theta, damping)
expected = levenberg_marquardt_step(whole, state).parameters
step_apart = np.abs(by_hand - expected).max() / np.abs(d).max()
print(f"by hand against the package: {step_apart:.0e} of the step")

# %% tags=["hide-input"]
note("gram_apart", gram_apart, RELATIVE, at_most=1e-14, loose="rounding level")
note("step_apart", step_apart, "share of the step", at_most=1e-5)

# %% [markdown]
# ### In which order?
#
# A sum of floating-point numbers depends on its order, in the last digits. Does that matter? Train twice on the same
# points, in one process; the second time they come in reverse. (Threads of BLAS would share a sum in an order of their
# own. The solvers of the package use one, and so does this loop.)

# %%
from threadpoolctl import threadpool_limits


@threadpool_limits.wrap(limits=1)
def follow(system, steps):
    """Return the weights after each step, the first ones included."""
    state = LevenbergMarquardtState(theta)
    path = [theta]
    for _ in range(steps):
        state = levenberg_marquardt_step(system, state)
        path.append(state.parameters)
    return np.array(path)


forward = follow(whole, 50)
backward = follow(System(program, problem, (points[::-1],)), 50)

# %% [markdown]
# The weights drift apart, and the solutions:


# %%
def error_of(theta):
    """Return the relative error of the network with these weights."""
    at = [z.ravel() for z in np.broadcast_arrays(t, x)]
    return relative_l2(program.evaluate(problem, theta, at), exact)


exact = problem.exact(t, x).ravel()
drift = np.linalg.norm(backward - forward, axis=1)
drift /= np.linalg.norm(forward, axis=1)
error, error_reversed = error_of(forward[-1]), error_of(backward[-1])
print(
    f"weights {drift[-1]:.0e} apart; errors {error:.3e}, {error_reversed:.3e}"
)

# %% tags=["hide-input"]
note("drift", drift[-1], RELATIVE, at_least=1e-9, loose="rounding, amplified")
note("dense_error", error, L2, at_most=6e-5)
change = abs(error_reversed - error) / error
note("drift_of_error", change, RELATIVE, at_most=5e-3, loose="two digits")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-drift", "caption": "Rounding, amplified: the relative distance between the weights of two trainings that differ in the order of their points only (solid). Both are equally right: the error against the exact solution (dashed, of the first) ends equal to two digits. Between numbers of devices a fixed tree of sums keeps the distance at zero."}}
figure, axes = plt.subplots()
axes.semilogy(range(1, 51), drift[1:], label="weights, one to the other")
watched = range(0, 51, 5)
errors = [error_of(forward[k]) for k in watched]
axes.plot(watched, errors, "s--", ms=4, label="solution to the exact one")
axes.set(xlabel="steps", ylabel="relative distance")
axes.legend()
show(
    figure,
    alt="A line that rises over fifty steps from the level of rounding by many "
    "orders of magnitude, and a dashed line above it that falls; they end some "
    "orders apart.",
)

# %% [markdown]
# {numref}`fig-drift` shows what an optimizer with a nearly singular matrix makes of rounding. Nothing is wrong with either result.
# But if every number of processes gives other digits, no test can tell a bug from rounding. The remedy is an order
# that does not depend on the number of devices: divide the points into a fixed number of equal *leaves*, 16 say, sum
# within each leaf, and add the leaves as a balanced binary tree. Its lower levels lie within a device, its upper ones
# between devices, and a sum of two numbers has only one order. (The package also tells the compiler not to rearrange
# the terms of a formula, which it did in one way for one device and in another for two.)
#
# ### In the package
#
# `Layout` says over how many devices, and how many rows a device forms at a time: a *block*. All solvers that train
# by Levenberg–Marquardt in JAX take it.

# %%
from opifex_tutorials.losses.sharded import Layout
from opifex_tutorials.solvers.pinn import train_pinn


def train(layout, **options):
    """Return the weights after fifty steps on 4,096 points."""
    options |= {"steps": 50, "points": 4096, "tolerance": np.inf}
    trained = train_pinn(
        problem, burgers_layer, seed=0, layout=layout, **options
    )
    return trained.parameters


# %% [markdown]
# On one device and on eight:

# %%
weights = {k: train(Layout(devices=k)) for k in (1, 8)}
print("apart by", np.abs(weights[8] - weights[1]).max())

# %% [markdown]
# ### Two processes
#
# Devices of another process, on this machine or on another one, join when JAX is told where they meet. This is a
# whole worker: it joins, reads a function, calls it. The first process writes down the result. (Where it is *bound*, it
# keeps to a core of its own, if the system can do that, as Linux can.)

# %%
WORKER = """
import os, pickle, sys
rank, processes, meeting, file, bound = sys.argv[1:]
if bound and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(rank) % len(cores)]})
import jax
jax.config.update("jax_enable_x64", True)
if int(processes) > 1:
    jax.distributed.initialize(meeting, int(processes), int(rank))
with open(file, "rb") as call:
    function, argument = pickle.load(call)
result = function(argument)
if rank == "0":
    with open(file + ".result", "wb") as place:
        pickle.dump(result, place)
"""

# %% [markdown]
# Starting some of them is what a cluster does for you. Here we do it, each with one thread of BLAS:

# %%
import pickle
import socket
import subprocess
import sys
import tempfile

import cloudpickle

FOLDER = tempfile.mkdtemp()
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}

# %% [markdown]
# They meet at a port of the first one:


# %%
def free_port():
    """Return a port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# %% [markdown]
# All of them get the same file, and each its number:


# %%
def on_processes(function, argument, processes=2, bound=False):
    """Call a function in so many processes; return the first one's result."""
    file, meeting = f"{FOLDER}/call", f"127.0.0.1:{free_port()}"
    with open(file, "wb") as call:
        cloudpickle.dump((function, argument), call)
    command = [sys.executable, "-c", WORKER]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    started = []
    for rank in range(processes):
        words = [*command, str(rank), str(processes), meeting, file]
        words.append("bound" * bound)
        started.append(subprocess.Popen(words, env=ONE_THREAD, **output))
    said = [process.communicate()[0].decode() for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError("\n".join(said))
    with open(f"{file}.result", "rb") as result:
        return pickle.load(result)


# %% [markdown]
# The training that ran here on one device and on eight, now on two processes:

# %%
weights["two processes"] = on_processes(train, Layout())
two_apart = np.abs(weights["two processes"] - weights[1]).max()
print(f"apart by {two_apart}, error {error_of(weights[1]):.3e}")

# %% tags=["hide-input"]
size = np.linalg.norm(weights[1])
for name, key in (("eight_devices", 8), ("two_processes", "two processes")):
    off = np.linalg.norm(weights[key] - weights[1]) / size
    equal = {"at_most": 1e-10, "loose": "rounding level, by a fixed order"}
    note(f"{name}_apart", off, RELATIVE, **equal)
sharded_error = error_of(weights["two processes"])
note("sharded_error", sharded_error, L2, at_most=6e-5)
same = abs(sharded_error - error) / error
note("sharded_to_dense", same, RELATIVE, at_most=5e-3, loose="two digits")

# %% [markdown]
# Fifty steps, one device, eight, two processes: the weights are apart by
# {glue:text}`scaling_out.eight_devices_apart:.1g` and {glue:text}`scaling_out.two_processes_apart:.1g`. The error
# against the exact solution, {glue:text}`scaling_out.sharded_error:.1e`, is that of the whole Jacobian,
# {glue:text}`scaling_out.dense_error:.1e`, to two digits.
#
# ### What a step costs
#
# Per step and process: its share of the products of {eq}`eq-rows`, the sum, the solution of the equations, which
# every process repeats, and what a step costs in any case. With $N$ points, $P$ parameters, $p$ processes on
# cores of their own and a matrix of $8 P^2$ bytes,
#
# $$
# T = \frac{a N P^2}{p} + 8 b P^2 \log_2 p + c P^3 + t_0 .
# $$ (eq-step-time)
#
# ($\log_2 p$, because the tree of sums has so many levels.) For $p$ *virtual* devices on $q$ cores, the first term is
# divided by $\min(p, q)$ only.
#
# Three of the four constants are measured where they are nearly alone, and $t_0$ is what they leave of a small step; then the
# model has to predict the rest. A step
# is timed without the search for the damping: from equal weights, so that each does the same work.


# %%
def system_of(points, width, layout):
    """Return the sharded problem with a network of two equal layers."""
    from opifex_tutorials.losses.sharded import ShardedSystem, compile_sharded

    program = Program(burgers_layer, problem, points, (width, width))
    sharded = compile_sharded(program, layout)
    dealt = sharded.spread(program.sample(problem, (0, 0)))
    start = LevenbergMarquardtState(program.initial_parameters(0), 1.0)
    return ShardedSystem(sharded, problem, dealt), start


# %% [markdown]
# The time of a step is the least of a few, after one that compiles. (All processes must take equally many, since
# none can sum alone.)


# %%
def seconds_of(work, times):
    """Return the least time of some calls, after a first one."""
    work()
    taken = []
    for _ in range(times):
        clock = time.perf_counter()
        work()
        taken.append(time.perf_counter() - clock)
    return min(taken)


# %% [markdown]
# For each size, from the same weights:


# %%
def seconds_of_steps(sizes, layout):
    """Return the seconds of a step for each (points, width)."""
    seconds = {}
    for points, width in sizes:
        system, start = system_of(points, width, layout)
        work = partial(levenberg_marquardt_step, system, start)
        seconds[points, width] = seconds_of(work, 2 if points > 2**14 else 8)
    return seconds


# %% [markdown]
# The sums, alone, as a step asks for them: one of $P^2$ numbers, one of $P$ for the curvature, and the loss.


# %%
def seconds_of_sums(layout, P):
    """Return the seconds of the sums of one step, level by level."""
    mesh = layout.mesh()

    def total(z):
        for axis in mesh.axis_names:
            z = jax.lax.psum(z, axis)
        return z

    look = {"mesh": mesh, "in_specs": Spec(), "out_specs": Spec()}
    summed = jax.jit(jax.shard_map(total, check_vma=False, **look))
    values = [np.ones(count) for count in (P**2, P, 1)]
    return seconds_of(lambda: [np.asarray(summed(z)) for z in values], 20)


# %% [markdown]
# The sizes: from 256 points, where a step does next to nothing, to 262,144, and one network that is wider. Two processes get
# 8,192 points where one gets 4,096, for a comparison below.

# %%
from functools import partial

NARROW, WIDE = 16, 32
POINTS = {1: [2**8, 2**12, 2**17, 2**18], 2: [2**8, 2**13, 2**17, 2**18]}
SIZES = {p: [*((n, NARROW) for n in POINTS[p]), (2**12, WIDE)] for p in (1, 2)}


def parameters_of(width):
    """Return the number of parameters of a network of this width."""
    return 3 * width + width + width * width + width + width + 1


def measure(sizes, layout):
    """Return the seconds of steps, and of the sums of one."""
    sums = seconds_of_sums(layout, parameters_of(NARROW))
    return seconds_of_steps(sizes, layout), sums


# %% [markdown]
# One process and two, each bound to its core, then 2, 4 and 8 virtual devices in this one. Each leaf costs a step some
# time, so here are no more of them than devices:

# %%
processes = {}
for p in (1, 2):
    work = partial(measure, SIZES[p])
    processes[p] = on_processes(work, Layout(leaves=p), p, bound=True)
virtual = {1: processes[1]}
for k in (2, 4, 8):
    virtual[k] = measure(SIZES[1][2:3], Layout(devices=k, leaves=k))

# %% [markdown]
# Now the constants. $c$ comes from two solutions with a matrix of its own, $t_0$ from 256 points and $a$ from 131,072, each on
# one process, $b$ from the sums: one for processes, which talk over the loopback network, one for virtual devices,
# which talk through memory.

# %%
from scipy.linalg import cho_factor, cho_solve


def solve_twice(size):
    """Factorize a matrix once and solve with it twice, as a step does."""
    matrix = np.eye(size) + 1 / size
    factor = cho_factor(matrix)
    return cho_solve(factor, matrix[0]), cho_solve(factor, matrix[1])


# %% [markdown]
# In this order:

# %%
few, many = processes[1][0][2**8, NARROW], processes[1][0][2**17, NARROW]
P, cores = parameters_of(NARROW), joblib.cpu_count()
LARGE = 2000
c = seconds_of(lambda: solve_twice(LARGE), 2) / LARGE**3
a = (many - few) / ((2**17 - 2**8) * P**2)
t_0 = few - a * 2**8 * P**2 - c * P**3
b = {"processes": processes[2][1] / (8 * P**2)}
b["virtual devices"] = virtual[8][1] / (8 * P**2 * 3)

# %% [markdown]
# With them {eq}`eq-step-time` is a function:


# %%
def step_time(N, P, p, b, cores=np.inf):
    """Return the seconds that the model gives to a step."""
    products = a * N * P**2 / np.minimum(p, cores)
    return products + b * 8 * P**2 * np.log2(p) + c * P**3 + t_0


# %% tags=["hide-input"]
note("a", a, "s")
note("b_processes", b["processes"], "s")
note("b_virtual", b["virtual devices"], "s")
note("c", c, "s")
note("t_0", t_0, "s")
rows = []
for kind, runs in (("processes", processes), ("virtual devices", virtual)):
    for p, (seconds, _) in sorted(runs.items()):
        for (N, width), measured in seconds.items():
            predicted = step_time(N, parameters_of(width), p, b[kind], cores)
            known = p == 1 and width == NARROW and N in (2**8, 2**17)
            row = {"kind": kind, "p": p, "N": N, "P": parameters_of(width)}
            row |= {"measured": measured, "predicted": float(predicted)}
            row["ratio"] = row["predicted"] / measured
            if not known and not (kind == "virtual devices" and p == 1):
                rows.append(row)
ratios = [row["ratio"] for row in rows]
note("ratio_least", min(ratios), "s/s")
note("ratio_most", max(ratios), "s/s")
times = [row["measured"] for row in rows]
note("times_apart", max(times) / min(times), "s/s")
columns = "kind p N P measured predicted ratio"
Table("Seconds of a step, measured and predicted", rows, columns)

# %% [markdown]
# {numref}`fig-predicted` has all of them but the two that gave the constants. The model is off by a factor between
# {glue:text}`scaling_out.ratio_least:.2f` and {glue:text}`scaling_out.ratio_most:.2f`, over sizes whose times differ by
# a factor of {glue:text}`scaling_out.times_apart:.0f`.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-predicted", "caption": "A step's time, predicted against measured, for all sizes of the table: processes (filled) and virtual devices (open), their number beside them. On the line both are equal; dashed: half and twice as much."}}
figure, axes = plt.subplots(figsize=(6.4, 4.4))
ends = np.array([min(r["measured"] for r in rows) / 2, 5])
axes.loglog(ends, ends, "-", color=COLORS[4])
for factor in (0.5, 2):
    axes.loglog(ends, factor * ends, "--", color=COLORS[4], lw=1)
for row in rows:
    own = row["kind"] == "processes"
    look = {"color": COLORS[0 if own else 1], "ls": "", "ms": 7}
    look |= {"marker": "o" if own else "s", "mfc": None if own else "none"}
    axes.plot(row["measured"], row["predicted"], **look)
    below = 1 if own else 0.75 ** (np.log2(row["p"]))  # their points are close
    at = row["measured"] * 1.08, row["predicted"] * 0.86 * below
    axes.text(*at, row["p"], fontsize=9)
axes.set(xlabel="measured (s)", ylabel="predicted (s)")
show(
    figure,
    alt="A cloud of points along the diagonal, over more than two orders of "
    "magnitude, between two dashed lines beside it.",
)

# %% [markdown]
# ### Where it gets slower
#
# With {eq}`eq-step-time`, two processes are as fast as one where $a N P^2 / 2 = 8 b P^2$: at
#
# $$
# N = 16\, b / a
# $$ (eq-crossing)
#
# points, whatever $P$. With fewer the sum costs more than it saves. {numref}`fig-strong` shows it measured.

# %%
crossing = 16 * b["processes"] / a
speedup = processes[1][0][2**18, NARROW] / processes[2][0][2**18, NARROW]
slower = processes[2][0][2**8, NARROW] / processes[1][0][2**8, NARROW]
print(
    f"equal at {crossing:.0f} points; at 262,144 {1 / speedup:.2f} of the time"
)

# %% tags=["hide-input"]
machine = {"at_least": 1, "at_most": 2**17, "loose": "belongs to the machine"}
note("crossing", crossing, "points", **machine)
note("two_over_one", 1 / speedup, "s/s")
note("slower", slower, "s/s")


# %% tags=["hide-input"]
def draw_sizes(axes):
    """Draw time against points, for one process and for two."""
    sizes = np.geomspace(2**7, 2**18)
    for k, p in enumerate((1, 2)):
        seconds = [processes[p][0][N, NARROW] for N in POINTS[p]]
        look, label = {"color": COLORS[k]}, f"{p} process{'es' * (p > 1)}"
        model = step_time(sizes, P, p, b["processes"])
        axes.loglog(sizes, model, ls=LINE_STYLES[k], **look)
        axes.plot(POINTS[p], seconds, MARKERS[k], label=label, **look)
    axes.axvline(crossing, color=COLORS[4], ls=":")
    axes.set(xlabel="points N", ylabel="time of a step (s)")
    axes.legend()


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-strong", "caption": "Strong scaling. Left: time of a step against the number of points on one process and on two, measured (markers) and predicted (lines); they cross where the sum costs what it saves. Right: time on p of them over that of one core, for two numbers of points; below the dotted line it is faster. Processes (filled) are two; virtual devices (open), for the larger number of points, share the cores of this machine."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.8))
draw_sizes(left)
shared = [virtual[p][0][2**17, NARROW] for p in (1, 2, 4, 8)]
look = {"color": COLORS[1], "mfc": "none", "label": "virtual devices"}
right.plot((1, 2, 4, 8), np.array(shared) / shared[0], "s-", **look)
for k, N in enumerate((2**8, 2**17)):
    one, two = (processes[p][0][N, NARROW] for p in (1, 2))
    look = {"color": COLORS[k], "ls": LINE_STYLES[k], "marker": MARKERS[k]}
    right.plot((1, 2), (1, two / one), label=f"{N:,} points", **look)
right.axhline(1, color=COLORS[4], ls=":")
right.set(xlabel="devices or processes p", xticks=[1, 2, 4, 8])
right.set(ylabel="time over that of one", ylim=0)
right.legend(fontsize=10)
show(
    figure,
    alt="Left: two lines of time against points, flat and then rising; that of "
    "two processes is higher at first and lower later. Right: relative time "
    "against p: below one for many points, and flat beyond a few devices; "
    "above one for few points.",
)

# %% [markdown]
# With 262,144 points two processes take {glue:text}`scaling_out.two_over_one:.2f` of the time of one (*strong
# scaling*). With 256 points two processes take {glue:text}`scaling_out.slower:.1f` times as long as one, and
# by {eq}`eq-crossing` they lose below {glue:text}`scaling_out.crossing:.0f` points.
#
# Is one core the rival of two? A single process that is not bound uses both, also with a single device: XLA computes
# products that do not depend on each other at the same time.

# %%
most = 2**18, NARROW
work = partial(seconds_of_steps, [most])
free = on_processes(work, Layout(leaves=1), 1)[most]
free_over_one = free / processes[1][0][most]
two_over_free = processes[2][0][most] / free
two_over_virtual = processes[2][0][SIZES[1][2]] / virtual[8][0][SIZES[1][2]]
print(f"one process, all cores: {free_over_one:.2f} of the time of one core")

# %% tags=["hide-input"]
note("free_over_one", free_over_one, "s/s")
note("two_over_free", two_over_free, "s/s")
note("two_over_virtual", two_over_virtual, "s/s")

# %% [markdown]
# It takes {glue:text}`scaling_out.free_over_one:.2f` of the time of one core, and two processes on the same two cores
# {glue:text}`scaling_out.two_over_free:.2f` of *its* time. Eight virtual devices in one process come closer still: with 131,072 points two
# processes take {glue:text}`scaling_out.two_over_virtual:.2f` of their time. So within a machine a second process is worth little. Where the
# cores of a machine end, only processes are left.
#
# *Weak scaling* asks another question: twice the points on twice the processes, so that each has as many as before. Does
# a step take as long as before?


# %%
def twice(N):
    """Return the time of 2N points on two over that of N on one."""
    two, one = processes[2][0][2 * N, NARROW], processes[1][0][N, NARROW]
    return two / one


weak = {N: twice(N) for N in (2**12, 2**17)}
print({N: round(ratio, 2) for N, ratio in weak.items()})

# %% tags=["hide-input"]
for name, ratio in zip(("few", "many"), weak.values(), strict=True):
    note(f"weak_{name}", ratio, "s/s")

# %% [markdown]
# With 131,072 points for each process a step takes {glue:text}`scaling_out.weak_many:.2f` times as long as on one, with 4,096
# {glue:text}`scaling_out.weak_few:.2f` times. {numref}`fig-weak`, below, has both beside the model.
#
# ### Memory
#
# The whole Jacobian has $8 N P$ bytes, a block of it as many as you like. A million points
# (2²⁰), in a process of its own, which tells how much memory it ever had:

# %%
from opifex_tutorials.results import peak_memory


def one_large_step(points):
    """Return the loss after a step, its seconds, and the peak memory."""
    clock = time.perf_counter()
    state = levenberg_marquardt_step(*system_of(points, NARROW, Layout()))
    return state.loss, time.perf_counter() - clock, peak_memory()


MILLION = 2**20
loss, large_seconds, large_memory = on_processes(one_large_step, MILLION, 1)
whole_memory = 8 * MILLION * P / 1e6
print(f"{large_memory:.0f} MB in place of {whole_memory:.0f}")

# %% tags=["hide-input"]
note("whole_memory", whole_memory, "MB")
note("large_memory", large_memory, "MB")
note("large_seconds", large_seconds, "s")

# %% [markdown]
# {glue:text}`scaling_out.large_memory:.0f` MB for the whole process, JAX included, where the Jacobian alone would take
# {glue:text}`scaling_out.whole_memory:.0f` MB. So memory is no reason for more processes, as far as points are concerned;
# time is: {glue:text}`scaling_out.large_seconds:.0f` s for this first step, compilation included.
#
# ## More parameters
#
# More processes shrink neither the memory nor the time of the solution: each holds the matrix, $8P^2$ bytes, and solves with
# it, $c P^3$ seconds, whatever $p$ is. Ten thousand parameters make a matrix of 800 MB, and a hundred thousand one of 80 GB. (Libraries such as
# ScaLAPACK spread it over machines; none is used here.) What replaces it is never to form it.
#
# *Conjugate gradients* {cite}`hestenes1952` solve with a symmetric positive definite matrix by products with it, and a product needs no
# matrix:
#
# $$
# (J^T J + \lambda I)\, v = J^T (J v) + \lambda v ,
# $$ (eq-matrix-free)
#
# where $J v$ is a derivative of the residuals in direction $v$, forward, and $J^T$ times it one in reverse:


# %%
def matrix_free(program, points):
    """Return the function (θ, v) -> JᵀJv; it stores no matrix."""

    @jax.jit
    def product(theta, v):
        residuals = partial(program.residuals, problem, points=(points,))
        _, Jv = jax.jvp(residuals, (theta,), (v,))
        _, pull_back = jax.vjp(residuals, theta)
        return pull_back(Jv)[0]

    return product


# %% [markdown]
# The method itself, as in every textbook; each iteration is one product:


# %%
def conjugate_gradients(product, right, tolerance=1e-10, most=3000):
    """Return the solution and the number of products."""
    x, r, p, rho = 0 * right, right, right, right @ right
    goal, count = tolerance**2 * rho, 0
    while rho > goal and count < most:
        q = product(p)
        x, r = x + rho / (p @ q) * p, r - rho / (p @ q) * q
        rho, before = r @ r, rho
        p, count = r + rho / before * p, count + 1
    return x, count


# %% [markdown]
# Follow a training by Cholesky's factors, and at some of its steps solve the same equations without a matrix. A quarter of the points
# are enough here.

# %%
FEWER = 1024
small = Program(burgers_layer, problem, FEWER, (NARROW, NARROW))
[fewer] = small.sample(problem, (0, 0))
plain, times_gram = System(small, problem, (fewer,)), matrix_free(small, fewer)

# %% [markdown]
# The comparison at one step:


# %%
def compare_steps(state):
    """Return damping over the largest entry, products, and difference."""
    theta = state.parameters
    r, J = plain.linearize(theta)
    gram, right = J.T @ J, -J.T @ r
    damping = state.damping or gram.diagonal().max()
    d = cho_solve(cho_factor(gram + damping * np.eye(len(gram))), right)

    def product(v):
        return np.asarray(times_gram(theta, v)) + damping * v

    x, count = conjugate_gradients(product, right)
    apart = np.linalg.norm(x - d) / np.linalg.norm(d)
    return damping / gram.diagonal().max(), count, apart


# %% [markdown]
# Every fifth step of the first twenty:

# %%
state, looks = LevenbergMarquardtState(theta), []
for step in range(21):
    if step % 5 == 0:
        looks.append((step, *compare_steps(state)))
    state = levenberg_marquardt_step(plain, state)
for step, relative, count, apart in looks:
    print(f"step {step}: λ {relative:.0e}, {count} products, {apart:.0e} apart")

# %% tags=["hide-input"]
_, _, counts, aparts = zip(*looks, strict=True)
note("cg_first", counts[0], "products", at_most=16)
few_and_many = {"at_least": 250, "at_most": 1600}
note("cg_last", counts[-1], "products", **few_and_many)
level = "rounding times the condition of the matrix"
note("cg_apart", max(aparts), RELATIVE, at_most=1e-6, loose=level)

# %% [markdown]
# The same step, to {glue:text}`scaling_out.cg_apart:.0e` at worst. But look at the number of products: {glue:text}`scaling_out.cg_first:.0f` at
# first, {glue:text}`scaling_out.cg_last:.0f` after 20 steps. Their number grows as the root of the
# condition of the damped matrix, roughly $(\lambda_{\max} / \lambda)^{1/2}$, and Levenberg–Marquardt lowers
# $\lambda$ as long as its steps succeed ({numref}`fig-cg`).
#
# How many may it take? A product by {eq}`eq-matrix-free` costs time in proportion to $N P$. The other way costs $a N P^2 + c P^3$. Their
# quotient, the number of products that one factorization is worth, grows with $P$ at least in proportion:


# %%
def worth_of(width):
    """Return P, and how many products take as long as a factorization."""
    program = Program(burgers_layer, problem, FEWER, (width, width))
    theta = program.initial_parameters(0)
    product, P = matrix_free(program, fewer), theta.size
    seconds = seconds_of(lambda: np.asarray(product(theta, theta)), 5)
    return P, (a * FEWER * P**2 + c * P**3) / seconds


many_parameters, worth = zip(*map(worth_of, (16, 48, 96)), strict=True)
for size, number in zip(many_parameters, worth, strict=True):
    print(f"{size:,} parameters: as long as {number:.0f} products")

# %% tags=["hide-input"]
note("worth_narrow", worth[0], "s/s")
note("worth_wide", worth[-1], "s/s")
note("matrix_gain", counts[-1] / worth[0], "s/s")
assert counts[-1] > 10 * worth[0]  # the verdict on small networks
exactly = {"at_least": 9793, "at_most": 9793}
note("largest_network", many_parameters[-1], "parameters", **exactly)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-cg", "caption": "Where conjugate gradients lose. Left: products to solve one system to ten digits, during a training with 353 parameters, against the damping relative to the largest entry of the matrix; training goes from right to left, and the line has the slope of a root. Right: the number of products that take as long as forming and factorizing the matrix, from measured products and the model, against the number of parameters. Horizontal lines: what the steps on the left took, first and last."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.6))
dampings = np.array([relative for _, relative, _, _ in looks])
left.loglog(dampings, counts, "o", label="measured")
left.plot(dampings, counts[-1] * (dampings / dampings[-1]) ** -0.5, "--")
left.set(xlabel="damping, relative", ylabel="products")
right.loglog(
    many_parameters, worth, "s-", color=COLORS[2], label="are worth it"
)
for k, count in enumerate((counts[0], counts[-1])):
    right.axhline(count, color=COLORS[k], ls=LINE_STYLES[k])
right.set(xlabel="parameters P", ylabel="products")
right.legend()
show(
    figure,
    alt="Left: points that rise from right to left, near a dashed line; the "
    "first lies above it. Right: a rising line of products against "
    "parameters, and two horizontal lines.",
)

# %% [markdown]
# With {glue:text}`scaling_out.largest_network:.0f` parameters a factorization is worth {glue:text}`scaling_out.worth_wide:.0f` products, with 353 it is worth
# {glue:text}`scaling_out.worth_narrow:.0f`. So for the small network, whose products were counted, the matrix is the better tool at the
# last of these steps by a factor of {glue:text}`scaling_out.matrix_gain:.0f`, and the more so the further the damping falls. For the large one
# conjugate gradients would still win there, if it needed no more products, which was not measured. Where the matrix does not fit
# there is no choice. Cut short, conjugate gradients give another direction, still one of descent: after a single product, that of
# the gradient. An exercise tries what is usually recommended against so many products, and fails.
#
# ## A run that must survive
#
# The more processes and the longer they work, the likelier it is that one of them ends before its time; then all end. `checkpoints` saves a training every so
# many steps: weights, damping, points, history. The same lines, run again, go on from there. This run kills itself at step 30, as a machine would, without a word:

# %%
import signal

from opifex_tutorials.training.checkpoints import checkpoints

watched = []


def long_run(last):
    """Train for fifty steps with checkpoints; die at one of them."""

    def watch(solution):
        watched.append(solution.history.steps[-1])
        if watched[-1] == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0

    with checkpoints(f"{FOLDER}/long_run", every=10):
        return train(None, record_every=10, monitor=watch)


# %% [markdown]
# It is started twice, in a process of its own and then here, where nothing kills it:

# %%
try:
    on_processes(long_run, 30, 1)
except RuntimeError:
    saved = sorted(os.listdir(f"{FOLDER}/long_run/0"))
    print("killed; saved at steps", *saved)
else:
    raise AssertionError("nobody was killed")

resumed = long_run(None)
resumed_apart = np.abs(resumed - forward[-1]).max()
print("went on to steps", *watched, "and is apart by", resumed_apart)

# %% tags=["hide-input"]
equal = {"at_most": 0, "loose": "yes or no: equal to the last bit"}
note("resumed_apart", resumed_apart, "difference", **equal)
thirty = {"at_least": 30, "at_most": 30}
note("resumed_at", watched[0], "steps", **thirty)

# %% [markdown]
# The resumed run did not repeat the first twenty steps, and ends with the same weights as the one of {numref}`fig-drift` that nobody killed, to the last bit. All trainings
# of this book can be resumed like this, those in PyTorch and those with a `Layout` too (a meta-training if it is done by `in_parts`).
#
# ## On paper: up to 1,024
#
# Here measurement ends and prediction begins. Let $p$ processes each have a core as fast as ours, and a network between them.
# We assume one of 10 Gbit/s, so that $b$ is `8e-10` s a byte, and leave out its latency, which adds
# some microseconds at each level. With $a$, $c$ and $t_0$ as measured, {eq}`eq-step-time` says:

# %%
b["network"] = 8e-10
several = 2 ** np.arange(11)


def on_paper(N, P):
    """Return the best number of processes, the times on one and on these."""
    times = step_time(N, P, several, b["network"])
    best = times.argmin()
    return int(several[best]), times[0], times[best]


# %% tags=["hide-input"]
rows = []
for N in (2**12, 2**18, 2**24):
    for size in (353, 1217, 9793):
        best, one, least = on_paper(N, size)
        row = {"N": N, "P": size, "one": float(one), "best p": int(best)}
        row |= {"least": float(least), "gain": float(one / least)}
        rows.append(row | {"share": float(one / least / best)})
rows = [{k.replace(" ", "_"): v for k, v in row.items()} for row in rows]
best, one, least = on_paper(2**18, P)
belongs = {"loose": "a prediction, which belongs to the machine"}
note("best_p", best, "processes", at_least=8, **belongs)
note("best_gain", one / least, "s/s")
best_small, *_ = on_paper(2**12, P)
note("best_p_small", best_small, "processes", at_most=256, **belongs)
solution_share = c * 9793**3 / on_paper(2**12, 9793)[2]
note("solution_share", solution_share, "share", at_least=0.3, **belongs)
Table(
    "Predicted, not measured: seconds", rows, "N P one best_p least gain share"
)

# %% [markdown]
# *One* and *least* are the predicted seconds of a step on one process and on the best number of them, *gain* is their quotient, and *share* what
# each process contributes to it. {numref}`fig-paper` draws the rows of 353 parameters. Two things limit the gain. The sum grows with $p$, and so there is a best
# number: of those looked at, up to 1,024, {glue:text}`scaling_out.best_p_small:.0f` for 4,096 points, {glue:text}`scaling_out.best_p:.0f` for
# 262,144, where a step becomes {glue:text}`scaling_out.best_gain:.0f` times as fast. And what all repeat, $c P^3$, does not shrink: with 9,793
# parameters and 4,096 points it is {glue:text}`scaling_out.solution_share:.0%` of the step on the best number of processes.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-paper", "caption": "Predicted, not measured. Left: time of a step with 353 parameters against the number of processes, for a network of 10 Gbit/s; the marker is at the best of the numbers looked at; where there are more, a step gets slower again. Right: the largest number of processes each of which still does half of the work it does alone, against the number of points, for three numbers of parameters. Of a small network the constant part of a step is repeated everywhere, of a large one the solution of its equations."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.8))
for k, N in enumerate((2**12, 2**18, 2**24)):
    look, label = {"color": COLORS[k], "ls": LINE_STYLES[k]}, f"{N:,} points"
    left.loglog(several, step_time(N, P, several, 8e-10), label=label, **look)
    best, _, least = on_paper(N, P)
    left.plot(best, least, MARKERS[k], color=COLORS[k])
left.set(xlabel="processes p", ylabel="predicted time of a step (s)")
left.legend(fontsize=10)
dense, sizes = np.geomspace(1, 1024, 400), np.geomspace(2**8, 2**26, 60)
for k, size in enumerate((353, 1217, 9793)):
    useful = []
    for N in sizes:
        times = step_time(N, size, dense, 8e-10)
        useful.append(dense[times[0] >= dense * times / 2].max())
    look = {"color": COLORS[k], "ls": LINE_STYLES[k]}
    right.loglog(sizes, useful, label=f"{size:,} parameters", **look)
right.set(xlabel="points N", ylabel="useful processes")
right.legend(fontsize=10)
show(
    figure,
    alt="Left: three lines of time against processes. The lowest falls to a "
    "marker and then rises; the others fall longer, to markers farther right. "
    "Right: three rising lines up to the largest number looked at, two nearly "
    "on each other, the third, of the most parameters, below.",
)

# %% [markdown]
# {numref}`fig-weak` has the other question. By {eq}`eq-step-time` weak scaling loses no more than the sum, which grows as
# $\log_2 p$, and no model of this kind can say what it loses by waiting for the slowest of a thousand.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-weak", "caption": "Weak scaling: the time of a step when each process has the same number of points, relative to one process. Left: two processes of this machine, measured (markers) and predicted (line). Right: predicted, not measured, for a network of 10 Gbit/s. The fewer points each process has, the more of a step is the sum."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.6))
sizes = np.geomspace(2**7, 2**18)
model = step_time(2 * sizes, P, 2, b["processes"]) / step_time(sizes, P, 1, 0)
left.semilogx(sizes, model, label="predicted")
left.plot([*weak], [*weak.values()], "o", color=COLORS[1], label="measured")
left.set(xlabel="points of each process", ylabel="time over that of one")
left.legend()
for k, N in enumerate((2**8, 2**12, 2**17)):
    look = {"color": COLORS[k], "ls": LINE_STYLES[k], "label": f"{N:,} points"}
    every = step_time(N * several, P, several, b["network"])
    right.semilogx(several, every / every[0], **look)
right.set(xlabel="processes p", ylabel="predicted, over that of one")
right.legend(fontsize=10)
for axes in (left, right):
    axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
show(
    figure,
    alt="Left: a line that falls toward one with the number of points, with "
    "two markers near it. Right: three lines that rise with the logarithm of "
    "the number of processes, the lower the more points each has.",
)

# %% [markdown]
# A prediction is worth as much as its assumptions. Here they are that every core is like ours and none waits for another, that points cost
# the same everywhere, and that the network gives all of its bandwidth to us. A cluster may well be slower than this, and GPUs change $a$
# and with it every number in the table. What stays is the procedure: measure the four constants where you are, with the cells above.
#
# ## On a real cluster
#
# These programs are started by a cluster as they are; each solves a Burgers problem and checks it against the known solution:
#
# - {download}`many_runs.py <../book/templates/many_runs.py>`: a family by `side_by_side`, on this machine, on Dask or on Ray;
#   {download}`ray.sh <../book/templates/cluster/ray.sh>` starts a Ray cluster for it;
# - {download}`many_points.py <../book/templates/many_points.py>`: one solve whose rows are spread over all processes;
#   {download}`slurm.sh <../book/templates/cluster/slurm.sh>` hands it to SLURM,
#   {download}`kubernetes.yaml <../book/templates/cluster/kubernetes.yaml>` to Kubernetes.
#
# What was checked, by the tests of this book: both programs, on one process and on several of this machine; the command in `slurm.sh`, with a stand-in for `srun` that
# starts two processes with the variables that SLURM sets; the manifest against the schema of Kubernetes; Dask
# and Ray with two workers each, one of which is killed. What was not: any of it on a cluster, on more than one machine, on a
# GPU, or with more than two processes.
#
# ## The verdict
#
# - **More runs** first: nothing is exchanged, one line changes the engine, and the results are the same bits.
# - **More points**: by the model two processes are faster than one core from {glue:text}`scaling_out.crossing:.0f` points on
#   here; below that a second process makes a step slower. Within a machine, first let one process use all cores. Memory is no reason, blocks are enough.
# - **More parameters** are another method. With some hundreds the matrix is the better one; where it does not fit, conjugate gradients, which
#   need more products the further the damping falls.
# - And if a classical solver exists, none of the three. For this problem one does:

# %%
from opifex_tutorials.solvers import solve_burgers_grid

grid = solve_burgers_grid(problem, points=1024, steps=1024)
grid_error = relative_l2(grid(t, x), problem.exact(t, x))
grid_seconds = grid.history.seconds[-1]
print(f"spectral, one core: {grid_error:.0e} in {grid_seconds:.2f} s")

# %% tags=["hide-input"]
note("grid_error", grid_error, L2, at_most=2.5e-8)
note("grid_seconds", grid_seconds, "s")
assert grid_seconds < start  # of the first workers

# %% [markdown]
# It takes less time than the start of a worker.
#
# ## Results
#
# Everything this chapter recorded, with the bounds that would have stopped the build.

# %%
close_chapter("scaling_out")

# %% [markdown]
# ## Exercises
#
# ```{exercise} Warm-up: the best number
# :label: exercise-best-number
#
# Take {eq}`eq-step-time` as a function of a real $p$. Which $p$ makes it least? Does it depend on the number of
# parameters? Compare with what the table found among powers of two.
# ```

# %% [markdown]
# ````{solution-start} exercise-best-number
# :class: dropdown
# ````
#
# The derivative $-a N P^2 / p^2 + 8 b P^2 / (p \ln 2)$ vanishes at $p = a N \ln 2 / (8 b)$: proportional to the number of
# points, and independent of $P$, since work and exchange both grow as $P^2$. A power of two lies within a factor of
# two of it.

# %% tags=["hide-input"]
for N in (2**12, 2**14, 2**16):
    formula = a * N * np.log(2) / (8 * b["network"])
    found = [on_paper(N, size)[0] for size in (353, 1217, 9793)]
    print(f"{N:,} points: {formula:.1f} by the formula; found {found}")
    assert len(set(found)) == 1
    assert 0.5 <= found[0] / np.clip(formula, 1, 1024) <= 2

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} The sum left out
# :label: exercise-no-sum
#
# Leave the `psum` out of `equations`. Does anything complain? What do you get, and would the training notice? How
# would you find such a mistake?
# ```

# %% [markdown]
# ````{solution-start} exercise-no-sum
# :class: dropdown
# ````
#
# Nothing complains: with `check_vma=False` you promised that all devices have the same, and JAX returns what the
# first one has: the equations of an eighth of the points, and an eighth as large. A training with them goes on, as
# on fewer points. Only a comparison with the whole Jacobian shows it, which is why this chapter, and a test, makes it.


# %% tags=["hide-input"]
def without_sum(theta, share):
    """Return JᵀJ and Jᵀr over the points of this device only."""
    r, J = program.linearize(problem, theta, (share,))
    return J.T @ J, J.T @ r


specs = (Spec(), Spec("rows"))
alone = jax.jit(jax.shard_map(without_sum, in_specs=specs, **over_rows))
own_gram = np.asarray(alone(theta, dealt)[0])
scaled = np.linalg.norm(8 * own_gram - gram) / np.linalg.norm(gram)
print(f"eight times of it: {scaled:.0%} from the whole")
assert np.linalg.norm(own_gram) < np.linalg.norm(gram) / 4
assert 1e-4 < scaled < 0.5

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Runs or rows?
# :label: exercise-runs-or-rows
#
# Eight solves and eight processes. Give each solve a process, or solve one after the other with all eight? Show by {eq}`eq-step-time` that one of the two is
# never slower. Is there still a reason for the other?
# ```

# %% [markdown]
# ````{solution-start} exercise-runs-or-rows
# :class: dropdown
# ````
#
# Side by side a step of all eight takes $T(1) = a N P^2 + c P^3 + t_0$; one after the other $8\,T(8) = a N P^2 + 8\,(b \cdot 24 P^2 + c P^3 + t_0)$,
# which is more, always. Reasons for the other: the first answer comes earlier, up to eight times; and a search may need it before it knows what to solve next.

# %% tags=["hide-input"]
for N in (2**12, 2**18, 2**24):
    side, after = (
        k * step_time(N, P, p, b["network"]) for k, p in ((1, 1), (8, 8))
    )
    print(f"{N:,} points: one after the other takes {after / side:.2f} times")
    assert after > side

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Research: a preconditioner?
# :label: exercise-preconditioner
#
# A preconditioner $M \approx J^T J + \lambda I$ that is easy to solve with should lower the number of products. Try three
# at the 20th step: the diagonal; the Gram matrix of every fourth point; that of an earlier step. Which of them
# helps, and why? What would?
# ```

# %% [markdown]
# ````{solution-start} exercise-preconditioner
# :class: dropdown
# ````
#
# None of the three. The diagonal makes it worse, a fourth of the points changes little, and the matrix of five steps before makes it worse, too. A
# preconditioner has to be right where the matrix is nearly singular, and that is where these
# differ from it: in the many directions in which the residuals hardly change.

# %% tags=["hide-input"]
from scipy.sparse.linalg import LinearOperator, cg

state, earlier = LevenbergMarquardtState(theta), None
for step in range(20):
    if step == 15:
        J = plain.linearize(state.parameters)[1]
        earlier = J.T @ J
    state = levenberg_marquardt_step(plain, state)
r, J = plain.linearize(state.parameters)
damping = state.damping * np.eye(P)
matrix, some = J.T @ J + damping, 4 * J[::4].T @ J[::4]
choices = {"none": np.eye(P), "diagonal": np.diag(matrix.diagonal())}
choices |= {"every fourth": some + damping, "earlier": earlier + damping}

# %% tags=["hide-input"]
products = {}
for name, M in choices.items():
    nearly, count = partial(cho_solve, cho_factor(M)), []
    near = LinearOperator((P, P), nearly)
    limits = {"rtol": 1e-10, "maxiter": 3000, "callback": count.append}
    found, _ = cg(matrix, -J.T @ r, M=near, **limits)
    products[name] = len(count)
    print(f"{name}: {len(count)} products")
ours, count = conjugate_gradients(lambda v: matrix @ v, -J.T @ r)
assert 0.8 < count / products["none"] < 1.2  # SciPy's and ours
assert products["diagonal"] > products["none"]
assert products["every fourth"] > products["none"] / 2
assert products["earlier"] > products["none"]

# %% [markdown]
# SciPy's method and the one above need about as many products without any. (One seed and one step.) What is known to
# help approximates the matrix layer by layer {cite}`martens2015`; whether it keeps the digits that Levenberg–Marquardt
# makes is the question.
#
# ````{solution-end}
# ````
#
# ## Experiments to try
#
# - Change the block of `Layout` from 1,024 to 64 and to 16,384. What happens to time and memory?
# - Give `on_processes` four processes on your machine. Does {eq}`eq-step-time` predict them, with its $\min(p, q)$?
# - Train with conjugate gradients cut short after 50 products. How many digits are left?
# - Start a Ray cluster in place of Dask: `ray.init(num_cpus=2)`, `register_ray()`, and `"ray"` in the one line.
#
# ## Troubleshooting
#
# **A process waits for ever.** All have to do the same calls in the same order; one that takes a step less than the others leaves
# them waiting in a sum. Count steps, never seconds, and let one process decide only what it alone does.
#
# **`jax_num_cpu_devices` has no effect, or an error says that the backend is initialized.** JAX had
# started before. Restart the kernel and set it first.
#
# **Two processes are slower than one.** Threads: give each process one, by `OMP_NUM_THREADS` and by the XLA flag in the first
# cell, and see whether the one had all cores to itself: bind each process to a core to compare. Or there are too few points, see {eq}`eq-crossing`.
#
# **The results differ in the last digits.** Another number of leaves, another block, or several threads on a device: each
# changes the order of the sums.
#
# **`No module named 'distributed'`.** The extra `dask` is missing: `pip install "opifex-tutorials[dask]"`.
#
# ## Related chapters
#
# - {doc}`first_pinn`: the step, the network and the problem of this chapter.
# - {doc}`starting_from_neighbors`: a family of problems for less work than one run each.
# - {doc}`performance_comparison`: what one process can do, and what a classical solver does in that time.
# - {doc}`../book/how_we_verify` explains bounds, the ledger and the independent references.
