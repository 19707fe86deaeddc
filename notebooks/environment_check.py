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
# You have just installed a few gigabytes of software.
# Before you trust any result of it, three questions deserve an answer: does it work, on which
# device, and what will a training run cost you?
# This chapter answers them for the machine that runs it. On the page you are reading that is the
# machine that built the book; run the notebook, and it is yours.

# %% [markdown]
# ## What you will learn
#
# - to read the report of `python -m opifex_tutorials.environment`, and to repair what it finds;
# - why a neural PDE solver needs correct second derivatives in 64-bit floating point, and how to
#   test both against a closed form;
# - how NumPy, PyTorch and JAX share one array without copying it;
# - how many training steps per second, and how much memory, to expect of a small, a medium and a
#   large network.

# %% [markdown]
# ## Is everything installed?
#
# One call runs all checks.
# It starts a fresh Python process for each package, one after the other, so that a package which
# crashes is a line in the report and not the end of your session.

# %%
from opifex_tutorials.environment import check

report = check()

# %% [markdown]
# The first table compares the versions that were found with those that the package asks for in its
# own metadata.
# A line is *ok*, *outdated* (installed, but outside the required range), *missing*, or *broken*
# (installed in the right version, but the import fails).
# The last column holds the command that repairs the line, for pip, or for conda if this Python
# belongs to a conda environment; the one before it says how a broken import failed.

# %%
versions, devices, choices, exchanges = report.tables
versions

# %% [markdown]
# Lightning, Weights & Biases and Optuna are optional: they manage and track experiments, and
# nothing in this book needs them to run.
#
# The next line stops the notebook if something required is not ok, after the report has told you
# what to do about it.

# %%
from opifex_tutorials.results import close_chapter, record

problems = len(report.problems)
print(*report.problems or ["The book can run here."], sep="\n")
problems = record("environment_check.problems", problems, at_most=0, unit="problems")

# %% [markdown]
# ### What a broken set-up looks like
#
# A report that only ever says *ok* teaches little, so let us break something on purpose.
# A classic mistake is to save your first experiment under the name `torch.py`: from then on,
# `import torch` in that folder finds your file, not PyTorch.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

code = """
from opifex_tutorials.environment.versions import check_requirement
torch = check_requirement("torch")
print(torch["verdict"], torch["detail"], torch["repair"], sep="\\n")
"""
with tempfile.TemporaryDirectory() as folder:
    (Path(folder) / "torch.py").write_text("import torch\nprint(torch.tensor(1.0))\n")
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)

# %% [markdown]
# The check survives the broken import and reports verdict, detail and repair:

# %%
print(finished.stdout)
assert finished.stdout.startswith("broken")

# %% [markdown]
# Read the detail before you reach for the repair command: reinstalling PyTorch would not help
# here, renaming one file does.
#
# Outside a notebook `python -m opifex_tutorials.environment` prints the whole report, and with
# `--json` in a form for machines. Its exit status is 0 only if the book can run, so that a script
# or a batch job can ask before it starts.

# %% [markdown]
# ## Can it differentiate twice?
#
# A *physics-informed neural network* (PINN) approximates the solution $u$ of a differential
# equation by a network and minimizes the *residual*, what is left over when the network is put
# into the equation.
# For the viscous Burgers equation, which this book starts with, the residual is
#
# $$r = u_t + u\,u_x - \nu\,u_{xx},$$
#
# so training stands or falls with the second derivative $u_{xx}$.
# The frameworks compute it by *automatic differentiation*, the chain rule applied to the program,
# which is exact up to rounding.
# That claim can be tested. With $a = \tanh z$ the chain rule gives, layer by layer,
#
# $$a' = (1 - a^2)\,z', \qquad a'' = (1 - a^2)\,z'' - 2\,a\,(1 - a^2)\,z'^2 .$$
#
# The next table compares this closed form, for a small network with given weights, with what
# each framework computes on each device it found.
# An entry is the largest error divided by the largest value; the last column says what keeps the
# book from using the device, if anything does.

# %%
devices

# %% [markdown]
# Two columns, because a computer keeps only so many digits of a number: `float32` uses 32 bits and
# rounds each operation to a relative {glue:text}`environment_check.float32_rounding:.0e`,
# `float64` uses 64 bits and rounds to {glue:text}`environment_check.float64_rounding:.0e`.
# Both errors in the table lie somewhat above these values, because a derivative is a sum of many
# rounded products.

# %%
import numpy as np

for dtype, limit in {"float32": 1.2e-7, "float64": 2.3e-16}.items():
    rounding = np.finfo(dtype).eps
    record(f"environment_check.{dtype}_rounding", rounding, at_most=limit, unit="relative")
worst = max(line["float64"] for line in report.devices if line["problem"] is None)
worst = record("environment_check.second_derivative", worst, at_most=1e-12, unit="relative")

# %% [markdown]
# From this follows the device that the book uses with each framework:

# %%
choices

# %% [markdown]
# `choose_device("torch")` and `choose_device("jax")` return the same answers for your own
# programs.
# The rule is short: CUDA (an NVIDIA GPU) if it passes the test above, otherwise the CPU.
# Apple's MPS, the GPU of a Mac, offers no `float64` at all, so there the book falls back to the
# CPU and says so.

# %% [markdown]
# ## Why 64 bits?
#
# Machine learning is happy with 32 bits or fewer, so why not here? Because a residual is a
# *difference of large terms*.
# There is an example in which everything is known. The function
#
# $$u(x) = -\tanh\frac{x}{2\nu}$$
#
# solves the steady Burgers equation $u\,u_x = \nu\,u_{xx}$ exactly: a thin layer in which $u$
# falls from $1$ to $-1$.
# It is also a tanh network, with a single hidden neuron. Its residual is therefore zero, and
# whatever a computer finds instead is rounding.

# %%
import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)
viscosity = 0.01 / np.pi


def residual_terms(dtype, points=2001):
    """Return x, the residual and its first term, each of shape (points,)."""
    nu = jnp.asarray(viscosity, dtype)
    x = jnp.linspace(-0.05, 0.05, points, dtype=dtype)

    def u(x):
        return -jnp.tanh(x / (2 * nu))

    u_x = jax.vmap(jax.grad(u))(x)
    u_xx = jax.vmap(jax.grad(jax.grad(u)))(x)
    return x, u(x) * u_x - nu * u_xx, u(x) * u_x


# %% [markdown]
# The same lines of code in both precisions, with the viscosity of the next chapter:

# %%
found = {dtype: residual_terms(dtype) for dtype in ("float32", "float64")}
limits = {"float32": (1e-3, 1e-7), "float64": (1e-11, 1e-23)}
for dtype, (_, r, _) in found.items():
    most_noise, most_loss = limits[dtype]
    noise, loss = jnp.max(jnp.abs(r)), jnp.mean(r**2)
    record(f"environment_check.noise_{dtype}", noise, at_most=most_noise, unit="residual")
    record(f"environment_check.loss_{dtype}", loss, at_most=most_loss, unit="loss")
    print(f"{dtype}: residual up to {noise:.0e}, loss {loss:.0e}")
term = jnp.max(jnp.abs(found["float64"][2]))
term = record("environment_check.term", term, at_most=61.0, unit="residual")

# %% mystnb={"figure": {"name": "fig-rounding", "caption": "The computed residual of an exact solution, which is pure rounding, is many powers of ten larger in 32 bits than in 64."}}
import matplotlib.pyplot as plt

from opifex_tutorials.plotting import COLORS, MARKERS, show, style

style()
figure, axes = plt.subplots()
for dtype, color, marker in zip(found, COLORS, MARKERS, strict=False):
    x, r, _ = (np.asarray(values[::20], dtype=float) for values in found[dtype])
    shown = r != 0  # a logarithmic axis has no zero
    axes.semilogy(x[shown], np.abs(r[shown]), marker, color=color, label=dtype)
axes.set(xlabel="$x$", ylabel="computed residual")
axes.legend()
show(
    figure,
    alt="Computed residual of an exact solution against x, on a logarithmic axis. Both clouds of "
    "points are level left of and inside the steep layer and fall right of it; float32 lies "
    "about nine powers of ten above float64 everywhere.",
)

# %% [markdown]
# Inside the layer the two terms of the residual reach {glue:text}`environment_check.term:.0f` each
# and cancel.
# What remains in {numref}`fig-rounding` is up to {glue:text}`environment_check.noise_float32:.0e`
# in `float32` and {glue:text}`environment_check.noise_float64:.0e` in `float64`.
# It is not even symmetric, although the solution is: rounding follows the order of the operations
# in a program, not the mathematics.
# A training loss, here the mean square of the residual, would therefore report
# {glue:text}`environment_check.loss_float32:.0e` and
# {glue:text}`environment_check.loss_float64:.0e` for a solution without any error.
#
# For a first, rough solution `float32` often does.
# But near the minimum an optimizer compares losses that differ in their last digits, and once those
# digits are noise it can no longer tell better from worse.
# Second-order optimizers, which get their speed from small differences of gradients or from nearly
# singular linear systems, feel it first.
# This book aims at five digits and more, so it computes in `float64` throughout; what that costs
# is measured below.

# %% [markdown]
# ## Do the libraries understand each other?
#
# Data, reference solutions and figures live in NumPy, some chapters in PyTorch, others in JAX.
# An array has to pass between them with its values and its *dtype*, the number format, unchanged.
# *DLPack* is the protocol by which libraries hand each other an array without copying: both look
# at the same memory.
# The last table of the report shows, for every pair, that a round trip changes nothing and that the address
# stays the same; for PyTorch and JAX in both import orders, each in its own process.

# %%
exchanges

# %% [markdown]
# *Same address* is a promise with a consequence: whoever writes into shared memory writes for
# both.

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
# There is one trap that no table shows, because the book avoids it. JAX computes in 32 bits unless
# told otherwise, and rounds what it is given *without a word*.
# A fresh process shows it, since in this one `jax_enable_x64` is already on:

# %%
code = "import jax.numpy as jnp, numpy as np; print(jnp.asarray(np.zeros(3)).dtype)"
without_switch = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
)
print("NumPy float64 arrives in JAX as", without_switch.stdout.strip())

# %% [markdown]
# So every JAX program of this book starts with `jax.config.update("jax_enable_x64", True)`.

# %% [markdown]
# ## What will it cost?
#
# "A PINN trains for minutes to hours", one reads. Let us measure instead.
# Every number below comes from a fresh process; the processes run one after the other, each on one
# thread, so all costs are *per core*.
# First the price of an import, paid by each program and by each process of a program. The report
# has measured it on the way, when it imported each package to see whether it is broken. The first
# line, Python itself, is what a process needs before it imports anything.

# %%
from opifex_tutorials.tables import Table

imports = [line for line in report.versions if line["verdict"] == "ok"]
Table("Import in a fresh process: time in s, peak memory in MB", imports, "package seconds memory")

# %% [markdown]
# Now training. One *step* computes the Burgers residual at 1,000 points, its mean square, the
# gradient with respect to all weights, and one update by Adam, the standard first-order optimizer.
# In PyTorch it reads:

# %%
from opifex_tutorials.models import torch_mlp


def residual_in_torch(u, t, x):
    """Return u_t + u u_x - ν u_xx; values u of shape (points,), computed from t and x."""
    u_t, u_x = torch.autograd.grad(u.sum(), (t, x), create_graph=True)
    (u_xx,) = torch.autograd.grad(u_x.sum(), x, create_graph=True)
    return u_t + u * u_x - viscosity * u_xx


# %% [markdown]
# One training step computes the loss, differentiates it by the weights, and lets Adam move them:


# %%
def training_in_torch(widths, precision, t, x):
    """Return a function that takes one step and returns the loss, a scalar."""
    t, x = (torch.tensor(z.astype(precision), requires_grad=True) for z in (t, x))
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
# And in JAX, where the residual of the package is differentiated at a single point and then
# applied to all points at once, and where the whole step is *compiled*, that is, translated into
# machine code for this processor:

# %%
import optax
from flax import nnx

from opifex_tutorials.losses.burgers import burgers_residual
from opifex_tutorials.models import flax_mlp
from opifex_tutorials.problems.burgers import BurgersProblem

problem = BurgersProblem(viscosity)


def loss_in_jax(model, t, x):
    """Return the mean square of the residual at the points (t, x), each of shape (points,)."""
    residual = burgers_residual(problem, lambda t, x: model(jnp.stack([t, x]))[0])
    return jnp.mean(jax.vmap(residual)(t, x) ** 2)


# %% [markdown]
# A network in Flax is taken apart into its structure and its weights, so that the step is a function
# of the weights alone:


# %%
def training_in_jax(widths, precision, t, x):
    """Return a function that takes one step and returns the loss, a scalar."""
    t, x = jnp.asarray(t, precision), jnp.asarray(x, precision)
    structure, weights = nnx.split(flax_mlp.MLP(widths, rngs=nnx.Rngs(0), dtype=precision))
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
t, x = np.random.default_rng(0).random((2, 1000))
in_jax = jax.vmap(burgers_residual(problem, lambda t, x: jnp.tanh(3 * t + 2 * x)))(t, x)
tensors = [torch.tensor(z, requires_grad=True) for z in (t, x)]
in_torch = residual_in_torch(torch.tanh(3 * tensors[0] + 2 * tensors[1]), *tensors)
difference = np.max(np.abs(in_torch.detach().numpy() - in_jax))
difference = record(
    "environment_check.residuals_differ", difference, at_most=1e-12, unit="residual"
)

# %% [markdown]
# Three sizes of network stand for what is used in practice, in both frameworks and both
# precisions. Each process takes one step, then three blocks of steps, of which the median counts.
# The first step is listed apart: in it JAX compiles. PyTorch, used as here, does not.

# %%
import timeit
from itertools import pairwise, product
from statistics import median

from joblib.externals.loky import ProcessPoolExecutor

from opifex_tutorials.results import peak_memory


def measure(training, widths, precision, steps):
    """Time a training; call this in a fresh process, because memory and compilation last."""
    losses = []
    step = training(widths, precision, t, x)
    first_step = timeit.timeit(lambda: losses.append(step()), number=1)
    seconds = median(timeit.repeat(step, number=steps, repeat=3))
    losses.append(step())
    assert all(str(loss.dtype).endswith(precision) for loss in losses)
    costs = {"first_step": first_step, "steps_per_second": steps / seconds}
    return {**costs, "peak_memory": peak_memory(), "loss_ratio": float(losses[1] / losses[0])}


# %% [markdown]
# Every combination runs alone, in a process of its own, on one core. Left alone, both libraries
# split even small products of matrices over several threads, which wait for each other whenever
# something else runs: a step can take ten times as long.

# %%
trainings = {"jax": training_in_jax, "torch": training_in_torch}
sizes = {  # widths of all layers, and steps in a block
    "small": ([2, 20, 20, 1], 100),
    "medium": ([2, *5 * [30], 1], 30),
    "large": ([2, *8 * [40], 1], 10),
}
one_core = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
one_core |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
costs = []
for size, framework, precision in product(sizes, trainings, ("float32", "float64")):
    widths, steps = sizes[size]
    with ProcessPoolExecutor(max_workers=1, env=one_core) as fresh_process:
        task = fresh_process.submit(measure, trainings[framework], widths, precision, steps)
        cost = {"network": size, "framework": framework, "precision": precision, **task.result()}
    weights = sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))
    costs.append({"hidden_layers": len(widths) - 2, "weights": weights, **cost})

# %% [markdown]
# What was timed is really training: in the small network, which took the most steps, the loss has
# fallen in both frameworks and both precisions.

# %%
ratio = max(cost["loss_ratio"] for cost in costs if cost["network"] == "small")
ratio = record("environment_check.loss_ratio", ratio, at_most=0.1, unit="last loss / first loss")

# %% [markdown]
# Here is what it cost, in a table and in a figure.

# %%
columns = (
    "network hidden_layers weights framework precision first_step steps_per_second peak_memory"
)
Table("Training on one core: first step in s, peak memory in MB", costs, columns)

# %% mystnb={"figure": {"name": "fig-costs", "caption": "Training slows down as the network grows, in both frameworks and both precisions; on one core, the choice of the network matters more than that of the framework."}}
figure, axes = plt.subplots()
for framework, color, marker in zip(("jax", "torch"), COLORS, MARKERS, strict=False):
    for precision, line_style in (("float32", "--"), ("float64", "-")):
        line = [c for c in costs if (c["framework"], c["precision"]) == (framework, precision)]
        axes.loglog(
            [cost["weights"] for cost in line],
            [cost["steps_per_second"] for cost in line],
            color=color,
            marker=marker,
            linestyle=line_style,
            label=f"{framework}, {precision}",
        )
axes.set(xlabel="weights", ylabel="steps per second")
axes.legend()
show(
    figure,
    alt="Training steps per second against the number of weights, both axes logarithmic: four "
    "lines, for JAX and PyTorch in 32 and 64 bits, all of which fall as the network grows.",
)

# %% [markdown]
# {numref}`fig-costs` shows the speeds of the table; the first step is not counted in them.
#
# A speed becomes a price when it is multiplied by the work. A common budget is 10,000 steps of
# Adam:

# %%
for cost in costs:
    if cost["precision"] == "float64":
        seconds = cost["first_step"] + 10_000 / cost["steps_per_second"]
        name = f"price_{cost['framework']}_{cost['network']}"
        record(f"environment_check.{name}", seconds, unit="s")

# %% [markdown]
# In `float64` that is {glue:text}`environment_check.price_jax_small:.0f` s (JAX) or
# {glue:text}`environment_check.price_torch_small:.0f` s (PyTorch) for the small network,
# {glue:text}`environment_check.price_jax_medium:.0f` s or
# {glue:text}`environment_check.price_torch_medium:.0f` s for the medium one,
# and {glue:text}`environment_check.price_jax_large:.0f` s or
# {glue:text}`environment_check.price_torch_large:.0f` s for the large one.
# Which framework is faster depends on the size, because the time goes to different things: in a
# small network to the overhead of many small operations, which compilation removes, in a large one
# to products of matrices, where the library behind the framework decides.
#
# Two cautions. A measurement of a second or less is disturbed by whatever else the machine is
# doing: expect other numbers in another run.
# And a step is not progress: how many steps a given *error* takes, and that a better optimizer
# changes the answer more than any hardware, is the subject of {doc}`first_pinn`.

# %% [markdown]
# ## Results
#
# Everything this chapter recorded. What depends on the machine carries no bound.

# %%
close_chapter("environment_check")

# %% [markdown]
# ## Exercises
#
# ```{exercise} Differences instead of derivatives
# :label: exercise-differences
#
# Before automatic differentiation one used the difference quotient
# $u''(x) \approx \bigl(u(x + h) - 2u(x) + u(x - h)\bigr) / h^2$.
# Apply it to $u = \tanh$ at $x = 1/2$ in both precisions for steps $h$ between $10^{-7}$ and $1$.
# How many digits are left at the best $h$, and why not more?
# ```

# %% [markdown]
# ````{solution-start} exercise-differences
# :class: dropdown
# ````
#
# The formula itself errs by a multiple of $h^2$. The numerator is rounded to about $\varepsilon$,
# and division by $h^2$ turns that into $\varepsilon / h^2$.
# The sum is least where both are equal, at $h \approx \varepsilon^{1/4}$, and there the error is
# about $\sqrt{\varepsilon}$: half of the digits are lost.


# %% tags=["hide-input"]
def difference_error(h, dtype):
    """Return the error of the difference quotient at x = 1/2, for steps h of shape (n,)."""
    h, x = h.astype(dtype), np.asarray(0.5, dtype)
    quotient = (np.tanh(x + h) - 2 * np.tanh(x) + np.tanh(x - h)) / h**2
    exact = -2 * np.tanh(0.5) * (1 - np.tanh(0.5) ** 2)
    return np.abs(quotient.astype(float) - exact)


steps = np.logspace(-7, 0, 200)
for dtype in ("float32", "float64"):
    error = difference_error(steps, dtype)
    best = np.argmin(np.convolve(error, np.ones(9) / 9, mode="valid")) + 4
    print(f"{dtype}: error {error[best]:.0e} near h = {steps[best]:.0e}")
    assert error[best] < 30 * np.sqrt(np.finfo(dtype).eps)

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Plan a run
# :label: exercise-plan
#
# You want to train the medium network in `float64` with 5 seeds and 20,000 steps each, on two
# cores that each run one process.
# How long will that take with each framework on this machine, compilation included? Use the
# measurements above.
# ```

# %% [markdown]
# ````{solution-start} exercise-plan
# :class: dropdown
# ````
#
# Five processes on two cores are three rounds; each costs one first step and 20,000 others.
# This is an estimate: two processes also share the memory bandwidth.

# %% tags=["hide-input"]
for cost in costs:
    if (cost["network"], cost["precision"]) == ("medium", "float64"):
        rounds = -(-5 // 2)
        seconds = rounds * (cost["first_step"] + 20_000 / cost["steps_per_second"])
        print(f"{cost['framework']}: {seconds / 60:.0f} minutes")

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ## Experiments to try
#
# - Give the thin layer a larger viscosity, such as $\nu = 1/10$, and watch the noise of the
#   residual fall. Which power of $\nu$ does it follow?
# - Measure with ten times the points, `random((2, 10_000))`. Does the time of a step grow tenfold in
#   both frameworks?
# - Measure without `one_core`, once alone and once while another program computes.
# - Break your own environment: install an older Optax into a scratch environment and read the
#   report.
#
# ## Troubleshooting
#
# **A package is installed, yet the notebook does not find it.** Notebook and terminal run
# different Pythons. Compare `report.python` with the Python in which you installed.
#
# **A line is *broken*.** Its detail is the last line of the error message. If it names a file of
# your own, rename that file; otherwise run the repair command.
#
# **A GPU is there, but the report lists only the CPU.** The framework was installed in its
# CPU-only variant. The book does not need the GPU.
#
# **`float64` arrays turn into `float32` in JAX.** Something used JAX before `jax_enable_x64` was
# switched on. Restart and switch it on first.
#
# **The measured speeds vary wildly.** Another program is using the processor. Close it and run the
# cell again.
#
# More is on the page {doc}`../book/troubleshooting`.
#
# ## Related chapters
#
# - {doc}`first_pinn` spends what was priced here: a PINN for the Burgers equation, from the
#   equation to a verified solution.
# - {doc}`../book/how_we_verify` explains bounds, the ledger and the independent references.
