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
# It starts a fresh Python process for each package, so that a package which crashes is a line in
# the report and not the end of your session.

# %%
from opifex_tutorials.environment import check

report = check()

# %% [markdown]
# The first table compares the versions that were found with those that the package asks for in its
# own metadata.
# A line is *ok*, *outdated* (installed, but outside the required range), *missing*, or *broken*
# (installed in the right version, but the import fails).
# The last column holds the command that repairs the line, for pip, or for conda if this Python
# belongs to a conda environment.

# %%
versions, devices, exchanges = report.tables
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
print(report.summary, *report.problems, sep="\n")
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
from opifex_tutorials.environment.versions import check_versions
torch = next(line for line in check_versions() if line.name == "torch")
print(torch.verdict, torch.detail, torch.fix, sep="\\n")
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
# The second table compares this closed form, for a small network with given weights, with what
# each framework computes on each device it found.
# An entry is the largest error divided by the largest value.

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
worst = max(device.error_float64 for device in report.devices if device.usable)
worst = record("environment_check.second_derivative", worst, at_most=1e-12, unit="relative")

# %% [markdown]
# From this follows the device that the book uses with each framework:

# %%
for choice in report.choices:
    print(choice)

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

# %% mystnb={"figure": {"name": "fig-rounding", "caption": "The residual of an exact solution"}}
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
# The third table shows, for every pair, that a round trip changes nothing and that the address
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
# Every number below comes from a fresh process and, where it can, is the median of three; the
# processes run one after the other on one CPU thread each, so that they do not disturb each other.
# First the price of an import, paid by each program and by each process of a program.

# %%
from opifex_tutorials.environment.costs import measure_imports, measure_training
from opifex_tutorials.environment.tables import Table

imports = measure_imports()
Table(
    "Import of one module in a fresh process",
    ("module", "seconds", "memory in MB"),
    [(cost.module, f"{cost.seconds:.2f}", f"{cost.memory:.0f}") for cost in imports],
)

# %% [markdown]
# Now training. One *step* computes the Burgers residual at 1,000 points, its mean square, the
# gradient with respect to all weights, and one update by Adam, the standard first-order optimizer.
# Three sizes of network stand for what is used in practice, in both frameworks and both
# precisions.

# %%
training = measure_training()
failed = sum(cost.problem is not None for cost in training)
failed = record("environment_check.failures", failed, at_most=0, unit="processes")

# %% [markdown]
# The code being timed is the code you would write. In PyTorch the residual is:

# %%
import inspect

from opifex_tutorials.environment.probes.training_torch import burgers_residual

print(inspect.getsource(burgers_residual))

# %% [markdown]
# The first step is listed apart: in it JAX *compiles*, that is, translates the whole step into
# machine code for this processor. PyTorch, used as here, does not.

# %%
FRAMEWORKS = {"jax": "JAX", "torch": "PyTorch"}
columns = ["network", "hidden layers", "weights", "framework", "precision"]
columns += ["first step in s", "steps per s", "peak memory in MB"]
rows = [
    [
        *(c.size, str(c.hidden_layers), f"{c.parameters:,}", FRAMEWORKS[c.framework], c.precision),
        *(f"{c.first_step:.2f}", f"{c.steps_per_second:.0f}", f"{c.peak_memory:.0f}"),
    ]
    for c in training
]
Table("Training on one CPU thread, 1,000 points a step", columns, rows)

# %% mystnb={"figure": {"name": "fig-costs", "caption": "Steps per second against weights"}}
figure, axes = plt.subplots()
for framework, color, marker in zip(FRAMEWORKS, COLORS, MARKERS, strict=False):
    for precision, line_style in (("float32", "--"), ("float64", "-")):
        costs = [c for c in training if (c.framework, c.precision) == (framework, precision)]
        weights, speed = zip(*((c.parameters, c.steps_per_second) for c in costs), strict=True)
        label = f"{FRAMEWORKS[framework]}, {precision}"
        axes.loglog(weights, speed, color=color, marker=marker, linestyle=line_style, label=label)
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
price = {
    (cost.framework, cost.size): cost.first_step + 10_000 / cost.steps_per_second
    for cost in training
    if cost.precision == "float64"
}
for (framework, size), seconds in price.items():
    record(f"environment_check.price_{framework}_{size}", seconds, unit="s")

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
for cost in training:
    if (cost.size, cost.precision) == ("medium", "float64"):
        rounds = -(-5 // 2)
        seconds = rounds * (cost.first_step + 20_000 / cost.steps_per_second)
        print(f"{FRAMEWORKS[cost.framework]}: {seconds / 60:.0f} minutes")

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ## Experiments to try
#
# - Give the thin layer a larger viscosity, such as $\nu = 1/10$, and watch the noise of the
#   residual fall. Which power of $\nu$ does it follow?
# - Measure with ten times the points, `measure_training(points=10_000)`. Does the time of a step
#   grow tenfold in both frameworks?
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
