# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Environment check: does it work, on what, and at what cost?
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
# * - beginner
#   - {glue:text}`environment_check.seconds:.0f` s
#   - Python, and the package installed
#   - notebook, in JAX and PyTorch
#   - {glue:text}`environment_check.peak_memory:.0f` MB
# ```
#
# You have just installed a gigabyte of software or more.
# Before you trust any result of it, three questions deserve an answer: does it
# work, on which device, and what will a training run cost you?
# This chapter answers them for the machine that runs it. On the page you are
# reading that is the machine that built the book; run the notebook, and it is
# yours.
#
# {numref}`fig-environment-question` shows why the first question is not answered
# by a program that runs:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-environment-question", "caption": "What is asked. One second derivative, that of tanh, three times: by its formula, and by a difference quotient, the same line of code in 64 and in 32 bits. Nothing crashed, nothing warned, and one of the three is noise."}}
import matplotlib.pyplot as plt
import numpy as np

from opifex_tutorials.plotting import COLORS, MARKERS, show, style

style()
figure, axes = plt.subplots(figsize=(7.2, 3.4))
places = np.linspace(-3, 3, 201)
for dtype, look in (
    ("float32", {"color": COLORS[4], "ls": "-", "lw": 1}),
    ("float64", {"color": COLORS[1], "ls": "--", "lw": 3}),
):
    x, h = places.astype(dtype), np.asarray(5e-4, dtype)
    ahead, here, behind = np.tanh(x + h), np.tanh(x), np.tanh(x - h)
    quotient = (ahead - 2 * here + behind) / h**2
    axes.plot(places, quotient, label=f"quotient, {dtype}", **look)
formula = -2 * np.tanh(places) * (1 - np.tanh(places) ** 2)
axes.plot(places, formula, color=COLORS[0], ls="-", lw=1.5, label="formula")
axes.set(xlabel="input x", ylabel="second derivative of tanh")
axes.legend()
show(
    figure,
    alt="A second derivative against x: a smooth wave by the formula, the same "
    "wave by differences in 64 bits, and a jagged curve about it in 32 bits.",
)

# %% [markdown]
# A solver that trusts such numbers fails, and nobody tells it why. So we check
# first, with answers that are known.
#
# ## What you will learn
#
# - to read the report of `python -m opifex_tutorials.environment`, and to repair
#   what it finds;
# - why the solvers of this book need correct second derivatives in 64-bit
#   floating point, and how to test both against a closed form;
# - how NumPy, PyTorch and JAX share one array without copying it;
# - how many training steps per second, and how much memory, to expect of a
#   small, a medium and a large network.

# %% [markdown]
# ## Is everything installed?
#
# One call runs all checks. Each package, each framework and each exchange
# between two of them is tried in a fresh Python process, so that one which
# crashes is a line in the report and not the end of your session.

# %%
from opifex_tutorials.environment import check

report = check()

# %% [markdown]
# The first table compares the versions that were found with those that the
# package asks for in its own metadata.
# A line is *ok*, *outdated* (installed, but outside the required range),
# *missing*, or *broken* (installed in the right version, but the import fails).
# The last column holds the command that repairs the line: for conda if this
# Python belongs to a conda environment and pip did not install the package
# there, for pip otherwise. The one before it says how a broken import failed.

# %%
versions, devices, choices, exchanges = report.tables
versions

# %% [markdown]
# Lightning, Weights & Biases and Optuna are optional: they manage and track
# experiments, and no chapter so far needs them to run.
#
# If something required is not ok, the notebook stops here, after saying what to
# do about it. The cell that does so is folded, like all that only records or
# draws: open it once, to see how a number of this book is checked against its
# bound.

# %% tags=["hide-input"]
from opifex_tutorials.results import close_chapter, record

print(*report.problems or ["The book can run here."], sep="\n")
problems = len(report.problems)
problems = record(
    "environment_check.problems", problems, at_most=0, unit="problems"
)

# %% [markdown]
# ### What a broken set-up looks like
#
# A report that only ever says *ok* teaches little, so let us break something on
# purpose. A classic mistake is to save your first experiment under the name
# `torch.py`: from then on, `import torch` in that folder finds your file, not
# PyTorch. This asks the check what a program in a folder would find:

# %%
import subprocess
import sys

program = """
from opifex_tutorials.environment.versions import check_requirement
line = check_requirement("torch")
print(line["verdict"], line["detail"], line["repair"], sep="\\n")
"""


def verdict_in(folder):
    """Return verdict, detail and repair for PyTorch, as found in a folder."""
    command = [sys.executable, "-c", program]
    return subprocess.check_output(command, cwd=folder, text=True).splitlines()


# %% [markdown]
# We save the experiment under the unlucky name, ask, rename it, and ask again:

# %%
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    experiment = Path(folder) / "torch.py"
    experiment.write_text("import torch\nprint(torch.tensor(1.0))\n")
    broken = verdict_in(folder)
    experiment.rename(experiment.with_name("first_tensor.py"))
    renamed = verdict_in(folder)
print(*broken, f"after renaming the file: {renamed[0]}", sep="\n")
assert (broken[0], renamed[0]) == ("broken", "ok")

# %% [markdown]
# Read the detail before you reach for the repair command. Reinstalling PyTorch
# would have left your file where it was; renaming it was the repair.
#
# Outside a notebook `python -m opifex_tutorials.environment` prints the whole
# report, and with `--json` in a form for machines. Its exit status is 0 only if
# the book can run, so that a script or a batch job can ask before it starts.

# %% [markdown]
# ## Can it differentiate twice?
#
# A *physics-informed neural network* (PINN) approximates the solution $u$ of a
# differential equation by a network and minimizes the *residual*, what is left
# over when the network is put into the equation.
# For the viscous Burgers equation, which this book starts with, the residual is
#
# $$r = u_t + u\,u_x - \nu\,u_{xx},$$
#
# so it needs the second derivative $u_{xx}$.
# The frameworks compute it by *automatic differentiation*, the chain rule
# applied to the program, which is exact up to rounding.
# That claim can be tested. Let a prime mean the derivative by the input $x$, and
# let $z$ be what enters a layer and $a = \tanh z$ what leaves it. The chain rule
# gives, layer by layer,
#
# $$
# a' = (1 - a^2)\,z', \qquad
# a'' = (1 - a^2)\,z'' - 2\,a\,(1 - a^2)\,z'^2 ,
# $$ (eq-chain)
#
# and the next layer's $z$, $z'$ and $z''$ are the same linear function of $a$,
# $a'$ and $a''$, but for the bias. {numref}`fig-chain` shows who depends on whom.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-chain", "caption": "A second derivative on its way through a network. Value and derivatives travel side by side; a linear layer treats all three alike, and tanh mixes the lower ones into the higher."}}
figure, axes = plt.subplots(figsize=(7.2, 2.6))
axes.set(xlim=(-2, 9.5), ylim=(-0.4, 2.8))
axes.axis("off")
center = {"ha": "center", "va": "center"}
arrow = {"arrowstyle": "->", "color": COLORS[4]}
for row, title in enumerate(("value", "first", "second")):
    axes.text(-1, 2 - row, title, ha="right", va="center")
    names = [("$x$", "1", "0")[row]] + [f"${z}{row * chr(39)}$" for z in "zau"]
    for column, name in enumerate(names):
        frame = {"boxstyle": "circle", "fc": "none", "ec": COLORS[row]}
        axes.text(3 * column, 2 - row, name, bbox=frame, **center)
        for source in range(row + 1) if column == 2 else [row]:
            ends = (3 * column - 0.4, 2 - row), (3 * column - 2.6, 2 - source)
            if column:
                axes.annotate("", *ends, arrowprops=arrow)
for column, layer in enumerate(("linear", "tanh", "linear")):
    axes.text(3 * column + 1.5, 2.5, layer, ha="center")
show(
    figure,
    alt="Four columns, the input, z, a and the output u, each with its value "
    "and two derivatives. Arrows go straight through both linear layers; "
    "between z and a those of lower rows also point to the higher ones.",
)

# %% [markdown]
# The next table compares {eq}`eq-chain`, for a small network with given
# weights, with what each framework computes on each device that it offered.
# An entry is the largest error divided by the largest value; the last column
# says what speaks against the device, if anything does.

# %%
devices

# %% tags=["hide-input"]
errors = {
    "float32": "second_derivative_float32",
    "float64": "second_derivative",
}
limits = {"float32": (1.2e-7, 1e-3), "float64": (2.3e-16, 1e-12)}
processors = [line for line in report.devices if line["device"] == "cpu"]
for dtype, (most_rounding, most_error) in limits.items():
    record(
        f"environment_check.{dtype}_rounding",
        np.finfo(dtype).eps,
        at_most=most_rounding,
        unit="relative",
    )
    worst = max(line[dtype] for line in processors)
    record(
        f"environment_check.{errors[dtype]}",
        worst,
        at_most=most_error,
        unit="relative",
        loose="rounding level; the limit is the one of the check",
    )

# %% [markdown]
# There are two columns because a computer keeps only so many digits of a number.
# With 32 bits (`float32`) the next number after 1 is
# {glue:text}`environment_check.float32_rounding:.1e` away, with 64 bits
# (`float64`) {glue:text}`environment_check.float64_rounding:.1e`.
# A derivative is a sum of many products, each of them rounded, and may be
# off by several such steps: on the processor the worst error is
# {glue:text}`environment_check.second_derivative_float32:.1e` in `float32` and
# {glue:text}`environment_check.second_derivative:.1e` in `float64`.
#
# From the table follows which device is fit for use with each framework:

# %%
choices

# %% [markdown]
# `choose_device("torch")` and `choose_device("jax")` return the same answers for
# programs of your own. The rule is short: CUDA (an NVIDIA GPU) if it passes the
# test above, otherwise the CPU. Apple's MPS, the GPU of a Mac, offers no
# `float64` at all, so there the choice falls back to the CPU and says so.
# The chapters of this book need no GPU.

# %% [markdown]
# ## Why 64 bits?
#
# Machine learning is often happy with 32 bits or fewer, so why not here? Because
# a residual is a *difference of large terms*.
# There is an example in which everything is known. The function
#
# $$u(x) = -\tanh\frac{x}{2\nu}$$
#
# solves the steady Burgers equation $u\,u_x = \nu\,u_{xx}$ exactly: a thin layer
# in which $u$ falls from $1$ to $-1$.
# It is also a tanh network, with a single hidden neuron. Its residual is
# therefore zero, and whatever a computer finds instead is rounding.

# %%
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)
viscosity = 0.01 / np.pi

# %% [markdown]
# (The line before the last allows JAX to use 64 bits; more about it below.) The
# residual and its first term, in a precision of our choice. The weight of the
# neuron can be made wrong, relatively by `off`, which we need later:


# %%
def residual_terms(dtype, points=2001, off=0.0):
    """Return x, the residual and its first term, for a weight that is off."""
    nu = jnp.asarray(viscosity, dtype)
    x = jnp.linspace(-0.05, 0.05, points, dtype=dtype)

    def u(x):
        return -jnp.tanh((1 + off) * x / (2 * nu))

    u_x = jax.vmap(jax.grad(u))(x)
    u_xx = jax.vmap(jax.grad(jax.grad(u)))(x)
    return x, u(x) * u_x - nu * u_xx, u(x) * u_x


# %% [markdown]
# The same lines of code in both precisions, with the viscosity of the next
# chapter:

# %%
found = {dtype: residual_terms(dtype) for dtype in ("float32", "float64")}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-cancel", "caption": "The two terms of the residual of an exact solution, across the layer. They are large and equal, and what counts is their difference."}}
figure, axes = plt.subplots(figsize=(6.4, 3.2))
x, residual, first = (np.asarray(z)[600:1401:4] for z in found["float64"])
wide, narrow = {"lw": 5, "alpha": 0.4}, {"lw": 1.5}
axes.plot(x, first, color=COLORS[0], ls="-", label="$u\\,u_x$", **wide)
second = first - residual
label = "$\\nu\\,u_{xx}$"
axes.plot(x, second, color=COLORS[1], ls="--", label=label, **narrow)
axes.plot(x, residual, color=COLORS[2], ls="-.", label="difference", **narrow)
axes.set(xlabel="$x$", ylabel="term of the residual")
axes.set_xticks([-0.02, -0.01, 0, 0.01, 0.02])
axes.legend()
show(
    figure,
    alt="Two curves against x that coincide: both swing high on one side of "
    "zero and low on the other. Their difference is a flat line.",
)

# %% [markdown]
# In {numref}`fig-cancel` both terms reach
# {glue:text}`environment_check.term:.0f`, and cancel. What does the computer make
# of the difference? A training loss would be its mean square:

# %%
noise, loss = {}, {}
for dtype, (_, residual, _) in found.items():
    noise[dtype] = float(jnp.max(jnp.abs(residual)))
    loss[dtype] = float(jnp.mean(residual**2))
    print(f"{dtype}: residual {noise[dtype]:.0e}, loss {loss[dtype]:.0e}")

# %% tags=["hide-input"]
limits = {"float32": (1e-4, 2e-10), "float64": (2e-13, 1e-27)}
for dtype, (most_noise, most_loss) in limits.items():
    for name, value, limit, unit in (
        ("noise", noise[dtype], most_noise, "residual"),
        ("loss", loss[dtype], most_loss, "loss"),
    ):
        key = f"environment_check.{name}_{dtype}"
        record(key, value, at_most=limit, unit=unit, loose="rounding level")
left, right = np.abs(np.split(found["float64"][1][:-1], 2)).mean(axis=1)
record(
    "environment_check.asymmetry",
    left / right,
    at_least=2,
    unit="left / right",
    loose="yes or no: at least twice as much",
)
term = jnp.max(jnp.abs(found["float64"][2]))
record("environment_check.term", term, at_least=60, at_most=61, unit="residual")
ratio = record(
    "environment_check.noise_ratio",
    noise["float32"] / noise["float64"],
    at_least=1e8,
    unit="float32 / float64",
    loose="rounding level",
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-rounding", "caption": "The size of the computed residual of an exact solution, which is pure rounding: many powers of ten larger in 32 bits than in 64. Points at which it happens to be zero are not shown."}}
figure, axes = plt.subplots()
for dtype, color, marker in zip(found, COLORS, MARKERS, strict=False):
    x, r, _ = (np.asarray(z[::20], dtype=float) for z in found[dtype])
    shown = r != 0  # a logarithmic axis has no zero
    size = np.abs(r[shown])
    axes.semilogy(x[shown], size, marker, color=color, label=dtype)
axes.set(xlabel="$x$", ylabel="size of the computed residual")
axes.legend()
show(
    figure,
    alt="Computed residual of an exact solution against x, on a logarithmic "
    "axis: a cloud of points for float32, many powers of ten above the one "
    "for float64.",
)

# %% [markdown]
# What remains in
# {numref}`fig-rounding` (it is not even symmetric, although the mathematics is
# the same on both sides: rounding follows the operations of a program) is up to
# {glue:text}`environment_check.noise_float32:.0e` in `float32` and
# {glue:text}`environment_check.noise_float64:.0e` in `float64`. A training loss
# would therefore report {glue:text}`environment_check.loss_float32:.0e` and
# {glue:text}`environment_check.loss_float64:.0e` for a solution without any
# error.
#
# So rounding puts a floor under a training loss. To see it, let the weight of the
# neuron be wrong by less and less, and watch the loss fall:

# %%
offs = np.logspace(-17, -1, 33)
floors = {
    dtype: [
        float(jnp.mean(residual_terms(dtype, 201, off)[1] ** 2)) for off in offs
    ]
    for dtype in found
}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-floor", "caption": "The loss of a network with one weight, against how wrong that weight is. It falls with the square of the error, until rounding holds it. To the left of its bend, the loss no longer knows whether the weight gets better."}}
figure, axes = plt.subplots()
for dtype, color, marker in zip(floors, COLORS, MARKERS, strict=False):
    look = {"color": color, "marker": marker, "ms": 4, "ls": "-"}
    axes.loglog(offs, floors[dtype], label=dtype, **look)
axes.set(xlabel="relative error of the weight", ylabel="mean square residual")
axes.legend()
show(
    figure,
    alt="Loss against the error of a weight, both logarithmic. From the right "
    "both precisions fall along one line; 32 bits bend to a floor first, 64 "
    "bits many decades further down.",
)

# %% tags=["hide-input"]
bends = {}
for dtype, losses in floors.items():
    floor = np.median(losses[:5])
    bends[dtype] = offs[np.flatnonzero(np.array(losses) > 2 * floor)[0]]
limits = {"float32": 1e-6, "float64": 1e-14}
for dtype, most in limits.items():
    record(
        f"environment_check.bend_{dtype}",
        bends[dtype],
        at_most=most,
        unit="relative",
        loose="rounding level",
    )

# %% [markdown]
# In {numref}`fig-floor` the loss of `float32` leaves its floor where the weight
# is wrong by {glue:text}`environment_check.bend_float32:.0e`, that of `float64`
# at {glue:text}`environment_check.bend_float64:.0e`. Below, an optimizer compares
# losses that differ in digits which are noise, and can no longer tell better
# from worse. For a rough solution the floor of `float32` may lie deep enough.
# This book aims at five digits and more, so its solvers compute in `float64`;
# what that costs is measured below. (How far a training in `float32` comes that
# does not compare losses, the last exercise asks.)

# %% [markdown]
# ## Do the libraries understand each other?
#
# Data, reference solutions and figures live in NumPy, some chapters in PyTorch,
# others in JAX. An array has to pass between them with its values and its
# *dtype*, the number format, unchanged.
# *DLPack* is the protocol by which libraries hand each other an array without
# copying: both look at the same memory.
# The last table of the report tells, for every pair, whether a round trip keeps
# an array as it is and whether both look at the same memory; for PyTorch and JAX
# in both import orders, each in its own process, and with a second derivative at
# the end, to see that the two do not disturb each other.

# %%
exchanges

# %% [markdown]
# Shared memory has a consequence: whoever writes into it writes for both.

# %%
import torch

array = np.zeros(3)
tensor = torch.from_dlpack(array)
array[0] = 42.0
tensor

# %% [markdown]
# We changed the array, and the tensor followed. Where that is not wanted, copy:
# `torch.tensor(array)`, `jnp.array(array)`.
#
# There is one trap that no table shows. JAX computes in 32 bits unless told
# otherwise, and rounds the arrays that it is given *without a word*.
# A fresh process shows it, since in this one 64 bits are already switched on:

# %%
program = "import jax.numpy as jnp, numpy as np; "
program += "print(jnp.asarray(np.zeros(3)).dtype)"
answer = subprocess.check_output([sys.executable, "-c", program], text=True)
print("NumPy float64 arrives in JAX as", answer.strip())

# %% [markdown]
# The remedy is one line, before JAX computes anything:
# `jax.config.update("jax_enable_x64", True)`. It stands in this chapter where
# JAX is imported; in a program of your own, put it there as well.

# %% [markdown]
# ## What will it cost?
#
# Every cost below is measured in a fresh process; these run one after the other.
# First the price of an import, paid by each program and by each process of a
# program. The report has measured it on the way, when it imported each package
# to see whether it is broken: in a Python that had loaded nothing else, so that
# a package pays for all that it imports in turn. The first line imports nothing:
# its memory is what Python itself needs, and is contained in every other line.

# %%
from opifex_tutorials.tables import Table

imports = [line for line in report.versions if line["verdict"] == "ok"]
caption = "Import in a fresh process: time in s, peak memory in MB"
Table(caption, imports, "package seconds memory")

# %% [markdown]
# Now training. One *step* computes the Burgers residual at 1,000 points, its
# mean square, the gradient with respect to all weights, and one update by Adam,
# the standard first-order optimizer. In PyTorch the residual reads:

# %%
from opifex_tutorials.models import torch_mlp


def residual_in_torch(u, t, x):
    """Return u_t + u u_x - ν u_xx for values u of shape (points,) at (t, x)."""
    u_t, u_x = torch.autograd.grad(u.sum(), (t, x), create_graph=True)
    (u_xx,) = torch.autograd.grad(u_x.sum(), x, create_graph=True)
    return u_t + u * u_x - viscosity * u_xx


# %% [markdown]
# A step computes the loss, differentiates it by the weights, and lets Adam move
# them:


# %%
def training_in_torch(widths, precision, t, x):
    """Return a function that takes one step and returns the loss."""
    t, x = (torch.tensor(z.astype(precision)) for z in (t, x))
    t, x = t.requires_grad_(), x.requires_grad_()
    model = torch_mlp.MLP(widths, seed=0, dtype=t.dtype)
    weights = list(model.parameters())
    optimizer = torch.optim.Adam(weights, lr=1e-3)

    def step():
        optimizer.zero_grad()
        u = model(torch.stack([t, x], dim=1))[:, 0]
        loss = residual_in_torch(u, t, x).square().mean()
        loss.backward(inputs=weights)
        optimizer.step()
        return loss.detach()

    return step


# %% [markdown]
# In JAX we take the residual from the package:

# %%
import optax
from flax import nnx

from opifex_tutorials.losses.burgers import burgers_residual
from opifex_tutorials.models import flax_mlp
from opifex_tutorials.problems.burgers import BurgersProblem

problem = BurgersProblem(viscosity)

# %% [markdown]
# It is written for a single point and then applied to all points at once:


# %%
def loss_in_jax(model, t, x):
    """Return the mean square of the residual at points (t, x)."""

    def u(t, x):
        return model(jnp.stack([t, x]))[0]

    residual = burgers_residual(problem, u)
    return jnp.mean(jax.vmap(residual)(t, x) ** 2)


# %% [markdown]
# A network in Flax is taken apart into its structure and its weights, so that
# the step is a function of the weights alone. The whole step is then *compiled*,
# that is, translated into machine code for this processor:


# %%
def training_in_jax(widths, precision, t, x):
    """Return a function that takes one step and returns the loss."""
    t, x = jnp.asarray(t, precision), jnp.asarray(x, precision)
    model = flax_mlp.MLP(widths, rngs=nnx.Rngs(0), dtype=precision)
    structure, weights = nnx.split(model)
    optimizer = optax.adam(1e-3)
    state = optimizer.init(weights)

    def loss(weights):
        return loss_in_jax(nnx.merge(structure, weights), t, x)

    @jax.jit
    def update(weights, state):
        value, gradient = jax.value_and_grad(loss)(weights)
        changes, state = optimizer.update(gradient, state)
        return value, optax.apply_updates(weights, changes), state

    def step():
        nonlocal weights, state
        value, weights, state = jax.block_until_ready(update(weights, state))
        return value

    return step


# %% [markdown]
# Do both time the same equation? For $u = \tanh(3t + 2x)$ their residuals agree:


# %%
def wave(t, x):
    """Return a smooth function that solves nothing."""
    return jnp.tanh(3 * t + 2 * x)


t, x = np.random.default_rng(0).random((2, 1000))
in_jax = jax.vmap(burgers_residual(problem, wave))(t, x)
one, two = (torch.tensor(z, requires_grad=True) for z in (t, x))
in_torch = residual_in_torch(torch.tanh(3 * one + 2 * two), one, two)
difference = np.max(np.abs(in_torch.detach().numpy() - in_jax))

# %% tags=["hide-input"]
difference = record(
    "environment_check.residuals_differ",
    difference,
    at_most=1e-12,
    unit="residual",
    loose="rounding level",
)
print(f"They differ by {difference:.0e}.")

# %% [markdown]
# Three sizes of network: a small one, about as large as those that the chapters
# train, a medium one, and a large one with eight hidden layers.
# Each takes one step, then three blocks of steps, of which the median counts.
# The first step is listed apart: in it JAX compiles. PyTorch, used as here, does
# not.

# %%
import timeit
from statistics import median

from opifex_tutorials.results import peak_memory


def measure(training, widths, precision, steps):
    """Time a training; return what it cost, and how far the loss fell."""
    losses = []
    step = training(widths, precision, t, x)
    first_step = timeit.timeit(lambda: losses.append(step()), number=1)
    seconds = median(timeit.repeat(step, number=steps, repeat=3))
    losses.append(step())
    assert all(str(loss.dtype).endswith(precision) for loss in losses)
    ratio = float(losses[1] / losses[0])
    return first_step, steps / seconds, peak_memory(), ratio


# %% [markdown]
# Memory and compiled code last as long as a process, so each framework and each
# precision gets a process of its own, in which the networks follow each other
# from small to large. The peak memory is that of the process so far, libraries
# included.

# %%
sizes = {  # widths of all layers, and steps in a block
    "small": ([2, 20, 20, 1], 60),
    "medium": ([2, *5 * [30], 1], 20),
    "large": ([2, *8 * [40], 1], 6),
}


def measure_all(training, precision):
    """Return what each of the three networks cost, by size."""
    return {
        size: measure(training, widths, precision, steps)
        for size, (widths, steps) in sizes.items()
    }


# %% [markdown]
# Left alone, both libraries may split products of matrices over several threads.
# Here each process runs alone and on one thread, so all costs are *per core*:

# %%
from itertools import pairwise, product

from joblib.externals.loky import ProcessPoolExecutor

one_core = {
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
}
trainings = {"jax": training_in_jax, "torch": training_in_torch}
measured = {}
for name, precision in product(trainings, ("float32", "float64")):
    with ProcessPoolExecutor(max_workers=1, env=one_core) as process:
        task = process.submit(measure_all, trainings[name], precision)
        measured[name, precision] = task.result()

# %% tags=["hide-input"]
labels = ["first_step", "steps_per_second", "peak_memory", "loss_ratio"]
costs = []
for size, (framework, precision) in product(sizes, measured):
    widths, _ = sizes[size]
    cost = {"network": size, "framework": framework, "precision": precision}
    cost["weights"] = sum((n + 1) * m for n, m in pairwise(widths))
    numbers = measured[framework, precision][size]
    costs.append(cost | dict(zip(labels, numbers, strict=True)))
ratio = max(cost["loss_ratio"] for cost in costs if cost["network"] == "small")
ratio = record(
    "environment_check.loss_ratio",
    ratio,
    at_most=0.5,
    unit="last loss / first loss",
    loose="yes or no: the loss has at least halved",
)

# %% [markdown]
# What was timed is really training: in the small network, which took the most
# steps, the loss has fallen in both frameworks and both precisions, to
# {glue:text}`environment_check.loss_ratio:.2g` of its first value or less.
# Here is what it cost, in a table and in a figure.

# %%
columns = "network weights framework precision "
columns += "first_step steps_per_second peak_memory"
caption = "Training on one core: first step in s, peak memory in MB"
Table(caption, costs, columns)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-costs", "caption": "Training steps per second of networks of three sizes, on one core."}}
figure, axes = plt.subplots()
line_styles = {"float32": "--", "float64": "-"}
looks = dict(zip(trainings, zip(COLORS, MARKERS, strict=False), strict=False))
for framework, precision in measured:
    color, marker = looks[framework]
    task = (framework, precision)
    line = [c for c in costs if (c["framework"], c["precision"]) == task]
    axes.loglog(
        [cost["weights"] for cost in line],
        [cost["steps_per_second"] for cost in line],
        color=color,
        marker=marker,
        linestyle=line_styles[precision],
        label=f"{framework}, {precision}",
    )
axes.set(xlabel="weights", ylabel="steps per second")
axes.legend()
show(
    figure,
    alt="Training steps per second against the number of weights, both axes "
    "logarithmic: a line for each framework and each precision.",
)

# %% [markdown]
# {numref}`fig-costs` shows the speeds of the table: what more weights cost, and
# what `float64` (solid) costs beside `float32` (dashed). The first step is not
# counted in them.
#
# A speed becomes a price when it is multiplied by the work. Take 10,000 steps of
# Adam:

# %% tags=["hide-input"]
for cost in costs:
    if cost["precision"] == "float64":
        seconds = cost["first_step"] + 10_000 / cost["steps_per_second"]
        name = f"price_{cost['framework']}_{cost['network']}"
        record(f"environment_check.{name}", seconds, unit="s")

# %% [markdown]
# In `float64` that is {glue:text}`environment_check.price_jax_small:.0f` s (JAX) or
# {glue:text}`environment_check.price_torch_small:.0f` s (PyTorch) for the small
# network, {glue:text}`environment_check.price_jax_medium:.0f` s or
# {glue:text}`environment_check.price_torch_medium:.0f` s for the medium one,
# and {glue:text}`environment_check.price_jax_large:.0f` s or
# {glue:text}`environment_check.price_torch_large:.0f` s for the large one.
#
# Three cautions. This is the price of a common recipe, nested automatic
# differentiation and Adam; the solvers of this book carry derivatives through
# the layers and take other, dearer steps. A measurement of a second or less is
# disturbed by whatever else the machine is doing: expect other numbers in
# another run. And a step is not progress: how many steps a given *error* takes,
# and how much that depends on the optimizer, is the subject of
# {doc}`first_pinn`.

# %% [markdown]
# ## Results
#
# Everything this chapter recorded. What depends on the machine carries no bound.

# %%
close_chapter("environment_check")

# %% [markdown]
# ## Exercises
#
# ```{exercise} One number in 32 bits
# :label: exercise-one-number
#
# Store the viscosity $\nu = 0.01/\pi$ in `float32`. By how much does it change,
# relatively? Why by less than the distance of 1 to the next number?
# ```

# %% [markdown]
# ````{solution-start} exercise-one-number
# :class: dropdown
# ````
#
# A number is rounded to the nearest one that can be stored, so it moves by at most
# half of the distance of its neighbors. Relatively, that distance is largest just
# above a power of two, such as 1.

# %% tags=["hide-input"]
change = abs(float(np.float32(viscosity)) / viscosity - 1)
print(f"changed by {change:.0e}, next to 1 is {np.finfo('float32').eps:.0e}")
assert 0 < change <= np.finfo("float32").eps / 2

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Differences instead of derivatives
# :label: exercise-differences
#
# Before automatic differentiation one used the difference quotient
# $u''(x) \approx \bigl(u(x + h) - 2u(x) + u(x - h)\bigr) / h^2$.
# Apply it to $u = \tanh$ at $x = 1/2$ in both precisions for steps $h$ between
# $10^{-7}$ and $1$.
# How many digits are left at the best $h$, and why not more?
# ```

# %% [markdown]
# ````{solution-start} exercise-differences
# :class: dropdown
# ````
#
# The formula itself errs by a multiple of $h^2$. The numerator is rounded to
# about $\varepsilon$, and division by $h^2$ turns that into
# $\varepsilon / h^2$.
# The sum is least where both are about equal, at
# $h \approx \varepsilon^{1/4}$, and there the error is about
# $\sqrt{\varepsilon}$: about half of the digits are lost
# ({numref}`fig-differences`). Rounding is erratic, so we average the error over
# nine neighboring steps before we look for the least.


# %% tags=["hide-input"]
def difference_error(h, dtype):
    """Return the error of the quotient at x = 1/2, for steps h."""
    h, x = h.astype(dtype), np.asarray(0.5, dtype)
    quotient = (np.tanh(x + h) - 2 * np.tanh(x) + np.tanh(x - h)) / h**2
    exact = -2 * np.tanh(0.5) * (1 - np.tanh(0.5) ** 2)
    return np.abs(quotient.astype(float) - exact)


steps = np.logspace(-7, 0, 200)
for dtype in ("float32", "float64"):
    error = difference_error(steps, dtype)
    smooth = np.convolve(error, np.ones(9) / 9, mode="valid")
    least, best = smooth.min(), steps[np.argmin(smooth) + 4]
    print(f"{dtype}: error {least:.0e} near h = {best:.0e}")
    eps = np.finfo(dtype).eps
    assert 1 / 5 < least / eps**0.5 < 5
    assert 1 / 5 < best / eps**0.25 < 5

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-differences", "caption": "Error of the difference quotient against its step. To the right the formula errs, by the square of the step; to the left rounding does, and more the smaller the step."}}
figure, axes = plt.subplots()
for dtype, index in (("float64", 1), ("float32", 0)):
    error = difference_error(steps[::2], dtype)
    look = {"color": COLORS[index], "marker": MARKERS[index], "ms": 3}
    axes.loglog(steps[::2], error, label=dtype, ls="", **look)
axes.set(xlabel="step h", ylabel="error of the second derivative")
axes.legend()
show(
    figure,
    alt="Two valleys on logarithmic axes. Both share the right slope; the one "
    "of 64 bits reaches further left and down.",
)

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Plan a run
# :label: exercise-plan
#
# You want to train the medium network in `float64` with 5 seeds and 20,000 steps
# each, on two cores that each run one process.
# How long will that take with each framework on this machine, compilation
# included? Use the measurements above.
# ```

# %% [markdown]
# ````{solution-start} exercise-plan
# :class: dropdown
# ````
#
# Five processes on two cores are three rounds; each costs one first step and
# 20,000 others.
# This is an estimate: two processes also share the memory bandwidth.

# %% tags=["hide-input"]
for cost in costs:
    if (cost["network"], cost["precision"]) == ("medium", "float64"):
        seconds = cost["first_step"] + 20_000 / cost["steps_per_second"]
        print(f"{cost['framework']}: {3 * seconds / 60:.1f} minutes")

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Which noise belongs to which equation?
# :label: exercise-rounding
#
# Solve nothing, only compute: how does the noise of the residual in `float64`
# depend on the viscosity, between $\nu = 1$ and $\nu = 1/1000$? Let $x$ run over
# ten widths $2\nu$ on either side, predict the power from the size of the terms,
# and measure it.
# ```

# %% [markdown]
# ````{solution-start} exercise-rounding
# :class: dropdown
# ````
#
# $u$ is of size 1 and changes over a length of $\nu$, so both terms are of size
# $1/\nu$, and so is what rounding makes of their difference, times $\varepsilon$.
# A thinner layer costs digits of the residual, in any precision.


# %% tags=["hide-input"]
@jax.jit
def largest_residual(nu):
    """Return the largest computed residual across a layer."""

    def u(x):
        return -jnp.tanh(x / (2 * nu))

    x = 20 * nu * jnp.linspace(-1, 1, 2001)
    u_x, u_xx = jax.grad(u), jax.grad(jax.grad(u))
    residual = jax.vmap(lambda x: u(x) * u_x(x) - nu * u_xx(x))(x)
    return jnp.max(jnp.abs(residual))


viscosities = np.logspace(-3, 0, 13)
sizes_of_noise = [float(largest_residual(nu)) for nu in viscosities]
power = np.polyfit(np.log(viscosities), np.log(sizes_of_noise), 1)[0]
print(f"noise follows the power {power:.2f} of the viscosity")
assert abs(power + 1) < 0.1
rounding = viscosities * sizes_of_noise / np.finfo(float).eps
assert rounding.max() < 10  # no more than rounding: the residual is right

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} How far does a training in 32 bits come?
# :label: exercise-train-32
#
# A small question of research. Solve $u'' = -\pi^2 \sin \pi x$ with zero ends on
# $[-1, 1]$ by $\hat u = (1 - x^2)\,N(x)$, where $N$ has 20 hidden neurons, and train
# all 60 weights in both precisions by Levenberg–Marquardt (see {doc}`first_pinn`),
# a thousand steps each. Where does the loss end, and where the error?
# ```

# %% [markdown]
# ````{solution-start} exercise-train-32
# :class: dropdown
# ````
#
# The residual, and a step. It keeps the weights if the loss has not fallen.


# %% tags=["hide-input"]
def curve_residuals(theta, x):
    """Return u'' + π² sin πx at the points x, for 60 weights."""
    w, b, c = theta.reshape(3, 20)

    def u(x):
        return (1 - x**2) * (c @ jnp.tanh(w * x + b))

    u_xx = jax.vmap(jax.grad(jax.grad(u)))(x)
    return u_xx + jnp.pi**2 * jnp.sin(jnp.pi * x)


@jax.jit
def improve(theta, damping, x):
    """Return weights, damping and loss after one step."""
    r, J = curve_residuals(theta, x), jax.jacfwd(curve_residuals)(theta, x)
    A = J.T @ J + damping * jnp.eye(60, dtype=x.dtype)
    trial = theta - jnp.linalg.solve(A, J.T @ r)
    old, new = (jnp.mean(s**2) for s in (r, curve_residuals(trial, x)))
    theta = jnp.where(new < old, trial, theta)
    damping = jnp.where(new < old, damping / 3, 4 * damping)
    return theta, damping, jnp.minimum(old, new)


# %% tags=["hide-input"]
def trained_curve(dtype):
    """Return the last loss, and the error computed in 64 bits."""
    x = jnp.linspace(-1, 1, 64, dtype=dtype)
    scales = np.repeat([2, 2, 0.3], 20)
    start = scales * np.random.default_rng(0).normal(size=60)
    theta, damping = jnp.asarray(start, dtype), jnp.ones((), dtype)
    for _ in range(1000):
        theta, damping, loss = improve(theta, damping, x)
    w, b, c = np.asarray(theta, float).reshape(3, 20)
    z = np.linspace(-1, 1, 201)
    u = (1 - z**2) * (np.tanh(np.outer(z, w) + b) @ c)
    return float(loss), np.sqrt(2 * np.mean((u - np.sin(np.pi * z)) ** 2))


(loss_32, error_32), (loss_64, error_64) = map(trained_curve, found)
print(f"float32: loss {loss_32:.0e}, error {error_32:.0e}")
print(f"float64: loss {loss_64:.0e}, error {error_64:.0e}")
assert loss_64 < loss_32 / 100
assert error_64 < error_32 / 5 < 1e-6

# %% [markdown]
# Further than you may have feared. The loss in 32 bits stops at its floor, but there
# the error is already small, since this solution is smooth and its terms are of
# size ten. In 64 bits both go on falling. With a layer, the exercise before this one
# says by how much the floor rises; how much of that reaches the error, it does not
# say. Try.
#
# ````{solution-end}
# ````

# %% [markdown]
# ## Experiments to try
#
# - Measure with ten times the points, `random((2, 10_000))`. Does the time of a
#   step grow tenfold in both frameworks?
# - Measure without `one_core`, once alone and once while another program
#   computes.
# - Break your own environment: install an older Optax into a scratch environment
#   and read the report.
#
# ## Troubleshooting
#
# **A package is installed, yet the notebook does not find it.** Notebook and
# terminal run different Pythons. Compare `report.python` with the Python in which
# you installed.
#
# **A line is *broken*.** Its detail is the last line of the error message. If it
# names a file of your own, rename that file; otherwise run the repair command.
#
# **A GPU is there, but the report lists only the CPU.** Most likely the framework
# was installed in its CPU-only variant. The book does not need the GPU.
#
# **`float64` arrays turn into `float32` in JAX.** They were made before
# `jax_enable_x64` was switched on. Restart and switch it on first.
#
# **The measured speeds vary wildly.** Another program is using the processor.
# Close it and run the cell again.
#
# More is on the page {doc}`../book/troubleshooting`.
#
# ## Related chapters
#
# - {doc}`first_pinn` spends what was priced here: a PINN for the Burgers equation,
#   from the equation to a verified solution.
# - {doc}`../book/how_we_verify` explains bounds, the ledger and the independent
#   references.
