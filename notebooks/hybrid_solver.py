# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Hybrids: grid and network together
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
#   - {glue:text}`hybrid_solver.seconds:.0f` s
#   - {doc}`mfg_pinn`
#   - notebook, in PyTorch
#   - {glue:text}`hybrid_solver.peak_memory:.0f` MB
# ```
#
# A grid is fast and sure, and its last digits are expensive. A network is smooth and accurate after a
# long training, and conserves nothing by itself. That the two together beat either is a promise worth
# a test, beside a good grid: comparisons of this kind often rest on weak ones {cite}`mcgreivy2024`.
# Here are two such promises, on a smooth game whose equilibrium is known. The outcome, in short: a
# correction by a grid makes a network much better at once; a coarse grid saves a part of a training
# that is short anyway; and two extrapolated grids do about as well in about the same time.
# {numref}`fig-parents` shows what each of the two gets wrong by itself; can one mend the other?

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np

from opifex_tutorials.plotting import COLORS, LINE_STYLES, MARKERS, show, style
from opifex_tutorials.results import close_chapter, record

style()


def note(name, value, unit="ratio of errors", **bounds):
    """Record a result of this chapter."""
    record(f"hybrid_solver.{name}", value, unit=unit, **bounds)


# %% tags=["hide-input"]
from opifex_tutorials.problems.mean_field_games import CosineGame
from opifex_tutorials.solvers import solve_mfg_grid, solve_mfg_pinn

crowd, brief = CosineGame(boundary="periodic"), {"steps": 20}
brief |= {"record_every": 20, "tolerance": np.inf}
PARENTS = {
    "grid of 40 cells": solve_mfg_grid(crowd, cells=40, steps=40),
    "network after 20 steps": solve_mfg_pinn(crowd, seed=0, **brief),
}

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-parents", "caption": "What a grid and a network, each alone, get wrong: the error of the value of a game over time and position. The colors have their own scale in each panel. The grid errs where the value bends most, late; the network errs everywhere a little, in waves of its own."}}
square = np.linspace(0, 1, 81)[:, None], np.linspace(0, 1, 81)
picture = {"origin": "lower", "extent": (0, 1, 0, 1), "aspect": "auto"}
picture |= {"interpolation": "none", "cmap": "PuOr"}
figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for axes, (name, parent) in zip(panels, PARENTS.items(), strict=True):
    wrong = parent.value(*square) - crowd.value(*square)
    most = np.abs(wrong).max()
    image = axes.imshow(wrong.T, vmin=-most, vmax=most, **picture)
    axes.set(title=name, xlabel="time t")
    bar = figure.colorbar(image, ax=axes, format="%.0e", ticks=[-most, 0, most])
bar.set_label("error of u (cost)")
panels[0].set(ylabel="position x (length)")
show(
    figure,
    alt="Two maps of errors of either sign. The grid: broad patches, strongest "
    "in a spot late in time in the middle of the ring. The network: patches "
    "and bands all over, strongest at the start in the middle.",
)

# %% [markdown]
# There are two ways to bring them together, {numref}`fig-routes`. In this chapter a *route* is one of them.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-routes", "caption": "Two routes. Upper: a coarse grid teaches a network, which is then trained on the equations. Lower: a network is trained, and a grid solves for what is left. They can be taken one after the other."}}
ROUTES = {
    "distill": "coarse grid,imitate,train on equations,network",
    "correct": "train on equations,network + defect,grid for the rest,sum",
}
figure, axes = plt.subplots(figsize=(7.2, 2.2))
for y, name, color in zip((1, 0), ROUTES, COLORS, strict=False):
    frame = {"boxstyle": "round", "fc": "none", "ec": color}
    axes.text(-0.15, y, name, ha="right", va="center")
    for x, text in enumerate(ROUTES[name].split(",")):
        axes.text(x + 0.4, y, text, ha="center", bbox=frame, fontsize=9)
        axes.text(x + 0.9, y, "→" if x < 3 else "", ha="center")
axes.set(xlim=(-0.6, 4), ylim=(-0.5, 1.5))
axes.axis("off")
show(figure, alt="Two chains of four boxes, one for distill, one for correct.")

# %% [markdown]
# ## What you will learn
#
# - how a grid can solve for what a network got wrong, and how much that gains: a law, and its test;
# - how a coarse grid shortens the training of a network, and by how much;
# - what both cost, beside the plain grid, and when to use that one instead.
#
# ## A grid for what is left: Burgers first
#
# Let $u_\theta$ be a network that nearly solves Burgers' equation $u_t + (u^2/2)_x = \nu u_{xx}$ on
# $0 \le t \le 1$, $-1 \le x \le 1$, with the initial value $-\sin \pi x$. Its
# residual $R$, the left side minus the right, is known exactly, by automatic differentiation. Put
# $u = u_\theta + e$ into the equation. What is left over satisfies
#
# $$
# e_t + (u_\theta e)_x + \tfrac12 (e^2)_x - \nu e_{xx} = -R, \qquad e(0, \cdot) = 0,
# $$ (eq-leftover)
#
# an equation as easy to solve on a grid as the first one. This is *defect correction*
# {cite}`stetter1978`. The point: a grid of order two errs by $h^2$ times derivatives of the function
# that it computes, and $e$ is smaller than $u$. How much smaller its *derivatives* are decides.
#
# The trial function $u_\theta = -\sin \pi x + t \sin(\pi x)\, N(t, \cos \pi x)$ is odd, periodic, and
# has the right initial value. In code, a *trial* says what the network sees at some points (`features`),
# and what becomes of its outputs (the call); `jets` carry value, $u_t$, $u_x$ and $u_{xx}$ through both.

# %%
import torch

from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.problems.burgers import BurgersProblem

problem, WIDTHS = BurgersProblem(viscosity=0.05), (2, 12, 12, 1)
nu = problem.viscosity


# %%
class OddTrial:
    """Candidates at points t, x of shape (N,)."""

    def __init__(self, t, x):
        t, x = jets.coordinates(torch.from_numpy(t), torch.from_numpy(x))
        features = [jets.affine(t, 0, 1, 2.0), 2 * jets.cos(np.pi * x)]
        self.features = torch.stack(features, -1)
        self.sine = jets.cos(jets.affine(x, -0.5, 1.5, np.pi))  # sin πx
        self.factor = jets.product(t, self.sine)

    def __call__(self, outputs):
        """Return the jet of u."""
        return jets.product(self.factor, outputs[..., 0]) - self.sine


# %% [markdown]
# The residual from the jet of $u$ is asked for at the nodes of a Gauss rule on $0 \le x \le 1$ (the other
# half mirrors it), in a training by Levenberg–Marquardt. The network is handed on as a function that
# returns $u_\theta$ and $R$.

# %%
from opifex_tutorials.losses.torch_system import Condition, System, gauss
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.training.loop import levenberg_marquardt


def residual(u):
    """Return R from the jet of u."""
    return u[1] + u[0] * u[2] - nu * u[3]


# %%
def train(seed, steps):
    """Return a trained network."""
    trial = OddTrial(*gauss((24, 32), 2).T.copy())
    system = System([Condition(trial, lambda u: [residual(u)])], WIDTHS)
    start = torch.cat(
        [w.flatten() for w in MLP(WIDTHS, seed=seed).parameters()]
    )
    advance = levenberg_marquardt(start.detach().numpy(), steps)
    parameters = torch.from_numpy(advance(system)[0])

    def network(t, x):
        t, x = t + 0 * x, x + 0 * t
        trial = OddTrial(t.ravel(), x.ravel())
        u = trial(jets.network(parameters, WIDTHS, trial.features))
        return [f.numpy().reshape(t.shape) for f in (u[0], residual(u))]

    return network


# %% [markdown]
# The grid for {eq}`eq-leftover`: central differences $D$ of the flux and $L$ for the diffusion, the implicit midpoint rule in
# time, with as many steps as cells, and Newton's method in each step. It needs $u_\theta$ (`b`) and $R$
# halfway through the step.


# %%
def step(e, b, R):
    """Return e after a step; b and R are of the network, at half of it."""
    cells, identity = len(e), np.eye(len(e))
    h, dt, new = 2 / cells, 1 / cells, e
    right, left = (np.roll(identity, s, axis=1) for s in (1, -1))
    D, L = (right - left) / (2 * h), (right - 2 * identity + left) / h**2
    for _ in range(6):
        mid = (new + e) / 2
        flux = b * mid + mid**2 / 2
        misfit = (new - e) / dt + D @ flux - nu * L @ mid + R
        slope = identity / dt + D * (b + mid) / 2 - nu / 2 * L
        new = new - np.linalg.solve(slope, misfit)
    return new


# %% [markdown]
# With $u_\theta = R = 0$, and so $e(0, \cdot) = u(0, \cdot)$, this is a plain solver.


# %%
def march(cells, network=lambda t, x: (0 * t * x, 0 * t * x)):
    """Return u on the grid, and its times and places."""
    t = np.linspace(0, 1, cells + 1)[:, None]
    x = -1 + 2 / cells * np.arange(cells)
    u, (known, defect) = network(t, x)[0], network(t[1:] - 0.5 / cells, x)
    e = [problem.initial(x) - u[0]]
    for b, R in zip(known, defect, strict=True):
        e.append(step(e[-1], b, R))
    return u + np.array(e), t, x


# %% [markdown]
# Try it on a network of 20 steps, {numref}`fig-leftover`:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-leftover", "caption": "Burgers at the final time. Left: network and exact solution look the same. Right: what the network lacks, and what a grid of 40 cells finds of it from the residual alone, without knowing the answer."}}
sample, fine = train(0, 20), np.linspace(-1, 1, 201)
u, t, x = march(40, sample)
of_network = sample(np.ones((1, 1)), fine)[0][0]
found, answer = u - sample(t, x)[0], problem.exact(1.0, fine)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
left.plot(fine, answer, color=COLORS[2], ls="-.", label="exact")
left.plot(fine, of_network, color=COLORS[3], ls=":", label="network")
right.plot(fine, answer - of_network, label="exact minus network")
look = {"ls": "", "marker": "o", "ms": 5, "mfc": "none", "color": COLORS[1]}
right.plot(x, found[-1], label="found by the grid", **look)
left.set(xlabel="position x (length)", ylabel="u (length / time)")
right.set(xlabel="position x (length)", ylabel="e (length / time)")
figure.legend(loc="outside lower center", ncols=4)
show(
    figure,
    alt="Left, two curves on top of each other, falling steeply in the middle. "
    "Right, a small wavy curve, and circles that lie on it.",
)

# %% [markdown]
# ### The law
#
# Insert a smooth $e$ into the scheme and expand. In space it errs by the derivative of a flux
# $\sigma = h^2(\tfrac16 (u^2/2)_{xx} - \tfrac{\nu}{12} u_{xxx})$, and the viscosity bounds the *slope* of the
# error by it, $\nu\|\text{error}_x\| \lesssim \|\sigma\|$. Of $\sigma$ we keep only the highest derivative, and
# leave the time steps out: a guess that the rest shrinks alike, to be tested. The slope of the answer
# should then be better than that of the grid alone by
#
# $$
# \text{gain} \approx \frac{|u|_3}{|u - u_\theta|_3}, \qquad |v|_3 = \|v_{xxx}\|,
# $$ (eq-law)
#
# with third derivatives for a scheme of order two. The folded cell takes them by Fourier series.

# %% tags=["hide-input"]
instants, places = (np.arange(40)[:, None] + 0.5) / 40, np.arange(128) / 64 - 1
wave = 1j * np.pi * np.fft.fftfreq(128, 1 / 128)


def third(values):
    """Return the norm of v_xxx, up to a factor."""
    spectrum = np.fft.fft(values, axis=1) * wave**3
    return np.linalg.norm(np.fft.ifft(spectrum, axis=1).real)


def slope_error(u, t, x):
    """Return the error of the slope, in the differences of neighbors."""
    error = u - problem.exact(t, x)
    return np.linalg.norm(np.diff(error, axis=1)) * np.sqrt(len(x))


# %% [markdown]
# Predicted and measured, for grids of 40 and 80 cells, five seeds and three lengths of training:

# %%
from opifex_tutorials.comparison import compare

exact = problem.exact(instants, places)
alone = {cells: slope_error(*march(cells)) for cells in (40, 80)}


def law(steps, seed):
    """Return the predicted gain, and those of 40 and 80 cells."""
    network = train(seed, steps)
    predicted = third(exact) / third(exact - network(instants, places)[0])
    corrected = (slope_error(*march(cells, network)) for cells in alone)
    return predicted, *np.divide([*alone.values()], [*corrected])


tested = compare(law, {f"{n} steps": n for n in (20, 40, 80)})

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-law", "caption": "Burgers. How much smaller the error of the slope gets when the grid solves for what a network left over, against the prediction from third derivatives. Five seeds, three lengths of training; on the line, law and measurement agree."}}
predicted, *measured = np.concatenate([*tested.runs.values()]).T
ratios, unit = np.array(measured) / predicted, "measured / predicted"
learned = predicted >= 10
law, rough = ratios[:, learned], ratios[:, ~learned]
note("burgers_law_least", law.min(), unit, at_least=0.5)
note("burgers_law_most", law.max(), unit, at_most=2.0)
note("burgers_law_rough", rough.max(), unit, at_most=3.0)
figure, axes = plt.subplots(figsize=(5.4, 4.2))
for cells, gains, marker in zip(alone, measured, MARKERS, strict=False):
    axes.loglog(predicted, gains, marker, mfc="none", label=f"{cells} cells")
line = [predicted.min(), predicted.max()]
axes.plot(line, line, color=COLORS[-1], ls="-", label="predicted")
axes.set(xlabel="predicted gain (ratio)", ylabel="measured gain (ratio)")
axes.legend()
show(
    figure,
    alt="Measured against predicted gain on logarithmic axes, over three "
    "orders of magnitude. The points for both grids lie close to the diagonal.",
)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-rough", "caption": "Burgers. Left: how large the waves are that make up the solution, and the errors of two networks. Right: the same of third derivatives. The solution is nearly all in long waves; the errors of the networks are not, and three derivatives make their short waves the largest."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
waves, numbers = {"solution": exact}, np.arange(1, 40)
for n in (20, 80):
    missing = exact - train(0, n)(instants, places)[0]
    waves[f"error after {n} steps"] = missing
for name, v in waves.items():
    squares = np.abs(np.fft.fft(v, axis=1)[:, numbers] / 64) ** 2
    sizes = np.sqrt(squares.mean(axis=0))
    left.semilogy(numbers, sizes, label=name)
    right.semilogy(numbers, sizes * (np.pi * numbers) ** 3)
left.set(xlabel="waves in the domain", ylabel="size of u (length / time)")
right.set(xlabel="waves in the domain", ylabel="size of the third derivative")
figure.legend(loc="outside lower center", ncols=3)
show(
    figure,
    alt="Sizes on logarithmic axes. Left, the solution falls along a straight "
    "line; the errors start far lower and fall more slowly. Right, the "
    "solution has a maximum at few waves, the errors one at many.",
)

# %% [markdown]
# {numref}`fig-law` is the test of {eq}`eq-law`. Where a gain of ten or more is predicted, the measured one is
# {glue:text}`hybrid_solver.burgers_law_least:.2f` to {glue:text}`hybrid_solver.burgers_law_most:.2f` of it; for
# networks that have learned less it is up to {glue:text}`hybrid_solver.burgers_law_rough:.1f` of it. A network
# that is right to a few digits in $L^2$ can still be rough ({numref}`fig-rough`): it is its *third derivatives* that
# have to be small. The law is about slopes; for the values themselves the gain can differ from it, and we do not bound
# that.
#
# ## A grid for what is left: the game
#
# A game has two equations, which feed each other, and a scheme $F_h$ that took care to conserve the
# population. Linearizing by hand what is left would spoil that. There is a shorter way. Let $U$ be value
# and density on the grid, $u_\theta$ those of the network there, and give the scheme a source, such that
# it solves
#
# $$
# F_h(U) = F_h(u_\theta) - R(u_\theta).
# $$ (eq-source)
#
# Were $F_h$ exact, this would read $F(U) = 0$. It errs, but by nearly the same amount on both sides.
# The source of the Fokker–Planck equation sums to zero on every step, so that nobody is lost. Between
# the cells only the small difference $U - u_\theta$ is interpolated (for the density the quotient, which
# stays near one). `solve_mfg_hybrid` solves {eq}`eq-source` like that.

# %%
from opifex_tutorials.solvers import solve_mfg_hybrid

game, CELLS = CosineGame(boundary="periodic"), np.array([20, 40, 80])
t, x = np.linspace(0, 1, 51)[:, None], np.linspace(0, 1, 201)

# %%
from opifex_tutorials.verification import relative_l2


def errors(solution):
    """Return the relative errors of value and density."""
    u = relative_l2(solution.value(t, x), game.value(t, x))
    return u, relative_l2(solution.density(t, x), game.density(t, x))


# %% [markdown]
# Networks of 20, 50 and 100 steps, five seeds each, alone and corrected by three grids ({numref}`fig-orders`):


# %%
def correct(steps, seed):
    """Return the errors of a network, and with each correction."""
    short = {"steps": steps, "record_every": steps, "tolerance": np.inf}
    network = solve_mfg_pinn(game, seed=seed, **short)
    route = {"seed": seed, "route": "correct", "network": network}
    hybrids = [solve_mfg_hybrid(game, cells=n, **route) for n in CELLS]
    return [errors(solution) for solution in (network, *hybrids)]


# %%
corrected = compare(correct, {f"{n} steps": n for n in (20, 50, 100)})
plain = [errors(solve_mfg_grid(game, cells=n, steps=n)) for n in CELLS]

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-orders", "caption": "The game. Error of the value under refinement, grid alone and grid correcting networks of increasing training: median and range of five seeds. Dots at the left: the networks alone."}}
figure, axes = plt.subplots(figsize=(6.4, 4))
axes.loglog(
    CELLS, np.array(plain)[:, 0], "x-", color=COLORS[-1], label="grid alone"
)
curves = zip(corrected.runs.items(), COLORS, LINE_STYLES, strict=False)
for (name, runs), color, line in curves:
    network, *e = np.array(runs)[..., 0].T
    middle, e = np.median(e, axis=1), np.array(e)
    axes.plot(CELLS, middle, color=color, ls=line, label=f"network, {name}")
    axes.fill_between(CELLS, e.min(1), e.max(1), color=color, alpha=0.15, lw=0)
    axes.plot(15 + 0 * network, network, "o", ms=4, mfc="none", color=color)
axes.set(xlabel="cells (and steps of time)", ylabel="relative L2 error of u")
axes.set(xticks=CELLS, xticklabels=CELLS)
axes.minorticks_off()
axes.legend(fontsize=9)
show(
    figure,
    alt="Errors of the value fall along nearly parallel lines as cells double; "
    "the grid alone is on top, and each longer training lies lower. The "
    "networks alone lie above their corrected answers.",
)

# %% tags=["hide-input"]
from opifex_tutorials.verification import convergence_order

runs = np.array(corrected.runs["100 steps"])
note("gain_over_network", (runs[:, :1] / runs[:, 1:]).min(), at_least=1.5)
off = (runs[:, -1] / runs[:, 0]).max()
note("estimate_off", off, at_most=0.5, loose="no more than a half is asked")
for i, name in enumerate(("value", "density")):
    e = runs[:, 1:, i]
    gain = (np.array(plain)[:, i] / e).min()
    note(f"{name}_gain", gain, at_least=300)
    order = np.median([convergence_order(1 / CELLS, run)[-1] for run in e])
    note(f"{name}_order", order, "order", at_least=1.8, at_most=2.2)

# %% [markdown]
# For the networks of 100 steps the order of the scheme stays: {glue:text}`hybrid_solver.value_order:.2f` for
# the value and {glue:text}`hybrid_solver.density_order:.2f` for the density between the two finer grids (medians).
# On the same grids, and not counting the training, value and density are at least
# {glue:text}`hybrid_solver.value_gain:.0f` and {glue:text}`hybrid_solver.density_gain:.0f` times better than those of
# the grid alone, and both at least {glue:text}`hybrid_solver.gain_over_network:.1f` times better than those of the
# network alone.
#
# A correction need not be added. Its size *estimates* the error of the network, without an answer: on the finest grid
# what a correction leaves is at most {glue:text}`hybrid_solver.estimate_off:.2f` of the error, so that its size is right
# to this share, for value and density and in each of the five seeds. {doc}`own_equation` judges other equations so.
#
# ## A grid that teaches: distillation
#
# Now the other way around. A grid of first order with 20 cells and 20 steps is done in an instant, and wrong by
# {glue:text}`hybrid_solver.start_value:.2f` in the value. A network that *imitates* it (*distillation*) needs
# values only, no derivatives, so that its steps are cheap. Then it is trained on the equations. The start is
# wrong, but no longer random. What does the teacher save? The distilled network begins with a longer step (less
# damping) than the solver's default; so a network from random weights does the same in one more race, as a
# control.


# %%
def wrong(solution):
    """Return the error of the value at fewer points."""
    few = t[::5], x[::10]
    return relative_l2(solution.value(*few), game.value(*few))


def race(case, seed):
    """Train for 100 steps."""
    solve, options = case
    options = {"record_every": 1, "monitor": wrong, **options}
    return solve(game, seed=seed, steps=100, tolerance=np.inf, **options)


# %%
RACERS = {
    "random": (solve_mfg_pinn, {}),
    "long first step": (solve_mfg_pinn, {"damping": 1e-3}),
    "distilled": (solve_mfg_hybrid, {}),
}
raced = compare(race, RACERS)

# %% [markdown]
# Steps of the training on the equations (imitation takes 20 cheaper ones before) and seconds, with all
# that came before, until the error of the value is a thousandth:


# %% tags=["hide-input"]
def reach(run, goal=1e-3):
    """Return steps and seconds until the error is at the goal."""
    first = np.flatnonzero(np.array(run.history.errors) <= goal)[0]
    return run.history.steps[first], run.history.seconds[first]


random, control, distilled = raced.median(reach).values()
start = errors(solve_mfg_grid(game, cells=20, steps=20, order=1))[0]
note("start_value", start, "relative L2", at_least=0.05)
note("race_random_steps", random[0], "steps", at_most=40)
ratio, unit = distilled[0] / random[0], "ratio of steps"
note("race_steps", ratio, unit, at_most=0.6)
ratio = distilled[0] / control[0]
note("race_steps_control", ratio, unit, at_most=0.9)
note("race_seconds", distilled[1] / random[1], "s/s")
raced.table(
    "To a thousandth: median and range of five seeds",
    steps=lambda run: reach(run)[0],
    seconds=lambda run: reach(run)[1],
)

# %% [markdown]
# In the median the distilled network takes {glue:text}`hybrid_solver.race_steps:.2f` of the steps from random
# weights, {glue:text}`hybrid_solver.race_steps_control:.2f` of those of the control, and
# {glue:text}`hybrid_solver.race_seconds:.2f` of the time, since imitation has a price as well. But second-order
# optimization needs only {glue:text}`hybrid_solver.race_random_steps:.0f` steps from random weights, which leaves
# little to save.
#
# ## Side by side with good grids
#
# Now all together: the network, both routes, and one after the other, beside a grid of second order and
# its own improvement, Richardson extrapolation: two grids, combined such that the error of second order
# drops out.

# %%
from types import SimpleNamespace


def extrapolated(seed):
    """Return two grids without the error of second order."""
    grids = [solve_mfg_grid(game, cells=n, steps=n) for n in (56, 112)]

    def combine(name):
        coarse, fine = (getattr(grid, name) for grid in grids)
        return lambda t, x: (4 * fine(t, x) - coarse(t, x)) / 3

    names = ("value", "density", "control")
    return SimpleNamespace(**{name: combine(name) for name in names})


# %% [markdown]
# Budgets are counted in steps, chosen such that on one machine all took about as long; what they took on
# this one stands in the table.

# %%
from functools import partial


def trained(count, solve, **options):
    """Return a solver with a budget of so many steps."""
    options |= {"steps": count, "record_every": count, "tolerance": np.inf}
    return partial(solve, game, **options)


# %%
CONTESTANTS = {
    "grid, 112 cells": lambda seed: solve_mfg_grid(game, cells=112, steps=112),
    "grids, 56 and 112": extrapolated,
    "network": trained(60, solve_mfg_pinn),
    "long first step": trained(60, solve_mfg_pinn, damping=1e-3),
    "distill": trained(52, solve_mfg_hybrid),
    "correct": trained(54, solve_mfg_hybrid, route="correct", cells=40),
    "both": trained(46, solve_mfg_hybrid, route="both", cells=40),
}

# %% [markdown]
# All are measured alike: errors; the mass, whose error is that of $\int m\,dx$ by quadrature of the density as
# it is returned, which nobody divides by its mass; exploitability, on a grid of 160 cells; and seconds.

# %%
from time import perf_counter

from opifex_tutorials.verification import exploitability, mass_drift


def contest(solve, seed):
    """Return errors, mass error, exploitability and seconds."""
    before = perf_counter()
    solution = solve(seed=seed)
    seconds, middles = perf_counter() - before, (np.arange(400) + 0.5) / 400
    mass = mass_drift(solution.density(t, middles).mean(axis=1))
    gain = exploitability(game, solution, cells=160)  # not on its own grid
    return *errors(solution), mass, gain, seconds


# %%
met = compare(contest, CONTESTANTS)
columns = ("u", "m", "mass", "exploitability", "seconds")
quantities = {name: lambda r, i=i: r[i] for i, name in enumerate(columns)}
met.table("Median and range of five seeds", **quantities)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-time", "caption": "The value's error against time: trainings (median and range of five seeds) and, as marks, the rows of the table whose answer a grid had a part in (medians)."}}
figure, axes = plt.subplots(figsize=(7.2, 4.4))
raced.draw(axes)
median = met.median(np.array)
marks = {"o": "grid", "s": "grids", "^": "correct", "D": "both"}
for marker, kind in marks.items():
    found = [row for name, row in median.items() if name.split(",")[0] == kind]
    u, seconds = np.transpose(found)[[0, -1]]
    axes.plot(seconds, u, marker, ms=8, color=COLORS[3], label=kind)
axes.set(xlabel="time (s)", ylabel="relative L2 error of u")
axes.set(xscale="log", yscale="log")
axes.legend(fontsize=9, ncols=2)
show(
    figure,
    alt="Error against time on logarithmic axes. The distilled network starts "
    "at a tenth and falls at once; the others start higher and join it. The "
    "marks of corrected networks and of two grids lie together, far below.",
)

# %% tags=["hide-input"]
worst, two = met.worst(np.array), "grids, 56 and 112"
u, seconds = ({name: row[i] for name, row in median.items()} for i in (0, -1))
for name, error, drift in (
    ("distill", 6e-5, 3e-5),
    ("correct", 6e-6, 1.8e-7),
    ("both", 4e-6, 2e-7),
):
    note(f"{name}_value", u[name], "relative L2", at_most=error)
    note(f"{name}_drift", worst[name][2], "mass", at_most=drift)
    note(f"{name}_exploitability", worst[name][3], "cost", at_most=8e-10)
note("network_drift", worst["network"][2], "mass", at_most=5e-5)
floor = exploitability(game, lambda t, x: -game.value_gradient(t, x)[0])
note("exploitability_floor", floor, "cost", at_most=8e-10)
parents = min(u[n] for n in ("grid, 112 cells", "network", "long first step"))
note("gain_over_parents", parents / max(u["correct"], u["both"]), at_least=5)
ratio = u["long first step"] / u["distill"]
note("distill_to_control", ratio, at_least=0.5, at_most=2)
for name in ("correct", "both"):
    ratio = u[two] / u[name]
    note(f"extrapolated_to_{name}", ratio, at_least=0.5, at_most=2)
note("extrapolated_seconds", seconds[two] / seconds["correct"], "s/s")
ratio = max(seconds.values()) / min(seconds.values())
note("longest_to_shortest", ratio, "s/s")
drift = max(worst[name][2] for name in ("correct", "both"))
note("extrapolated_drift", median[two][2] / drift, at_least=1)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-mass", "caption": "How far the mass of the crowd is from one: a network, a distilled one with the same training, and the first one corrected on a grid of 40 cells (first seeds). Nothing in a training conserves people, so that the mass drifts by as much as the network is wrong; the grid of the correction keeps its books, and what is left comes from between its cells."}}
kinds = {"network": "random", "distilled": "distilled"}
drawn = {name: raced.runs[kind][0] for name, kind in kinds.items()}
repair = {"cells": 40, "route": "correct", "network": drawn["network"]}
drawn["corrected"] = solve_mfg_hybrid(game, seed=0, **repair)
figure, axes = plt.subplots()
later, middles = t[1:], (np.arange(400) + 0.5) / 400
for name, solution in drawn.items():
    mass = solution.density(later, middles).mean(axis=1)
    axes.semilogy(later, np.abs(mass - 1), label=name)
axes.set(xlabel="time t", ylabel="error of the mass (agents)")
figure.legend(loc="outside lower center", ncols=3)
show(
    figure,
    alt="Errors of the mass over time on a logarithmic axis. The two networks "
    "are far above the corrected one at most times.",
)

# %% [markdown]
# {numref}`fig-time` puts all of them into one picture.
# Both routes with a correction are at least {glue:text}`hybrid_solver.gain_over_parents:.0f` times better than
# network and single grid alone (medians, value); the times in the table differ by a factor of up to
# {glue:text}`hybrid_solver.longest_to_shortest:.1f`. The correction also brings the error of the mass from
# {glue:text}`hybrid_solver.network_drift:.0e` to {glue:text}`hybrid_solver.correct_drift:.0e` in the worst
# seed, whereas distillation leaves it at {glue:text}`hybrid_solver.distill_drift:.0e` ({numref}`fig-mass`); and with 52 steps behind
# it distillation is only {glue:text}`hybrid_solver.distill_to_control:.1f` times better than its control
# (medians, value). No hybrid is exploitable by more than {glue:text}`hybrid_solver.distill_exploitability:.1e`,
# where this yardstick shows {glue:text}`hybrid_solver.exploitability_floor:.1e` for the exact control as well.
#
# And the rival? Two grids and a formula have {glue:text}`hybrid_solver.extrapolated_to_correct:.2f` of the error of
# *correct* and {glue:text}`hybrid_solver.extrapolated_to_both:.2f` of that of *both* (medians, value), in
# {glue:text}`hybrid_solver.extrapolated_seconds:.2f` of the time of *correct*, with nothing to train and nothing left
# to chance. The error of their mass is {glue:text}`hybrid_solver.extrapolated_drift:.1f` times that of the worst
# seed of either. **On one smooth game in one dimension, use the grid of second order, and extrapolate.**
#
# ## Results
#
# Everything this chapter recorded, with the bounds that would have stopped the build.

# %% tags=["hide-input"]
close_chapter("hybrid_solver")

# %% [markdown]
# ## Exercises
#
# ```{exercise} How wrong is my network?
# :label: exercise-estimate
#
# A warm-up. Take the network of {numref}`fig-leftover` and suppose that nobody knows the exact solution. How wrong is
# the network, in relative $L^2$? Compare your estimate with the truth.
# ```

# %% [markdown]
# ````{solution-start} exercise-estimate
# :class: dropdown
# ````
#
# The size of the correction is the estimate. It misses only what the correction leaves.

# %% tags=["hide-input"]
u, t, x = march(40, sample)
of_network = sample(t, x)[0]
estimate = relative_l2(of_network, u)
truth = relative_l2(of_network, problem.exact(t, x))
print(f"estimated {estimate:.2e}, true {truth:.2e}")
assert abs(estimate / truth - 1) < 0.1

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} A wrong residual
# :label: exercise-residual
#
# In `march`, forget the residual, $R = 0$, but keep $u_\theta$. What does the grid solve then, and what
# does the sum converge to as cells double?
# ```

# %% [markdown]
# ````{solution-start} exercise-residual
# :class: dropdown
# ````
#
# Then $e = 0$ solves the discrete equations exactly: the grid is told that the network is right, and
# the sum is the network, on every grid. All that the correction knows is in the residual.

# %% tags=["hide-input"]
honest = train(0, 20)


def blind(t, x):
    """Return u, and zero in place of R."""
    return honest(t, x)[0], 0 * t * x


u, *at = march(40, blind)
assert np.abs(u - honest(*at)[0]).max() < 1e-12

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Extrapolate the hybrid
# :label: exercise-extrapolate
#
# Richardson extrapolation improved the grid much. Does it improve a corrected network as well? Try Burgers on 40 and 80
# cells, for the grid alone and for networks of 20 and 80 steps, and explain what you find by {numref}`fig-rough`.
# ```

# %% [markdown]
# ````{solution-start} exercise-extrapolate
# :class: dropdown
# ````
#
# Less, and for the better network not at all. What extrapolation removes has three derivatives of the error in it, what
# it leaves has five: the short waves of the network, which are small in the values, are large there.

# %% tags=["hide-input"]
gains = {}
for name, case in (
    ("alone", ()),
    ("20 steps", (sample,)),
    ("80 steps", (train(0, 80),)),
):
    (coarse, t, x), (fine, *_) = (march(n, *case) for n in (40, 80))
    right, fine = problem.exact(t, x), fine[::2, ::2]
    pair = relative_l2(fine, right), relative_l2((4 * fine - coarse) / 3, right)
    gains[name] = pair[0] / pair[1]
    print(f"{name}: error {pair[0]:.1e}, extrapolated {pair[1]:.1e}")
assert gains["alone"] > 10
assert gains["80 steps"] < gains["20 steps"] < gains["alone"] / 2

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} How rough may a network be?
# :label: exercise-rough
#
# A question of research: which property of a network decides whether a correction helps? Take the exact solution of
# Burgers and add a wave, $w = \tfrac{1}{100}\, t \sin k \pi x$: a "network" that is right to about a percent for each $k$. From
# which $k$ on is its correction, on 80 cells, worse than the grid alone? What does {eq}`eq-law` say? (The residual of
# the sum is $w_t + (u w + \tfrac12 w^2)_x - \nu w_{xx}$; take derivatives by Fourier series.)
# ```

# %% [markdown]
# ````{solution-start} exercise-rough
# :class: dropdown
# ````
#
# All these waves are equally large in $L^2$; what the grid makes of them grows as $k^3$. Law and measurement agree on
# where the gain falls below one: the correction repairs a network with long waves and spoils one with short ones.


# %% tags=["hide-input"]
def wavy(k):
    """Return the exact solution plus a wave, and its residual."""

    def network(t, x):
        u, w_t = problem.exact(t, x), 0.01 * np.sin(k * np.pi * x)
        w, w_xx = t * w_t, -((k * np.pi) ** 2) * t * w_t
        numbers = 1j * np.pi * np.fft.fftfreq(x.size, 1 / x.size)
        spectrum = np.fft.fft(u * w + w**2 / 2, axis=1)
        flux_x = np.fft.ifft(spectrum * numbers, axis=1).real
        return u + w, w_t + flux_x - nu * w_xx

    return network


for k in (2, 4, 8, 12, 16):
    network = wavy(k)
    law = third(exact) / third(exact - network(instants, places)[0])
    gain = alone[80] / slope_error(*march(80, network))
    print(f"k = {k}: gain predicted {law:.2g}, measured {gain:.2g}")
    assert (law > 1) == (gain > 1) == (k <= 8)

# %% [markdown]
# What this leaves open: whether a training can be made to prefer smooth errors, for instance by a residual that counts
# derivatives as well, and whether that is worth its cost.
#
# ````{solution-end}
# ````

# %% [markdown]
# ## Experiments to try
#
# - Distill from a grid of second order, `solve_mfg_hybrid(game, seed=0, order=2)`. Does the training
#   start lower? Does it take fewer steps?
# - Correct on 160 cells. When is the network's own residual, in double precision, the limit?
# - Correct the game on 20 and on 40 cells, and extrapolate. Is it like Burgers in the exercise?
# - Start `newton` of `solvers.mfg_grid` from a network and from a crowd that stays as it is. How many
#   iterations does the better start save, and does it change the answer?
# - Give Burgers less viscosity. The layer gets thin: what happens to the third derivatives?
#
# ## Troubleshooting
#
# **The correction makes the answer worse.** The network is too rough for the grid: train longer, or use
# more cells. A network may be right to three digits and its third derivatives to none.
#
# **`ConvergenceError`, a density that is not positive.** The correction empties a cell. Train longer.
#
# **`ValueError`, a route with boundary='exact'.** In the tail of a crowd that lives on the whole line the
# density is nearly zero, and a correction there could be of either sign. Use the route `"distill"`.
#
# **The mass is not one to rounding.** On the grid of a correction it is. Between the cells it is one up to the
# interpolation of a smooth function; without a correction, up to the training.
#
# ## Related chapters
#
# - {doc}`mfg_pinn` introduces the game, its grid and its network.
# - {doc}`first_pinn` builds Levenberg–Marquardt and solves Burgers with a thin layer.
# - {doc}`../book/how_we_verify` explains bounds, the ledger and the independent references.
