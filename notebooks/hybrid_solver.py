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
# long training, and conserves nothing by itself. Readers are promised that the two together beat
# either. Few such promises survive a comparison at equal time with a good grid
# {cite}`mcgreivy2024`. Here are two that we can test. The outcome, in short: for one smooth game two
# extrapolated grids are hard to beat; a correction by a grid makes a network much better at once; a coarse
# grid saves a part of a training that is short anyway; and for a family of games in one parameter, a
# handful of grid solutions and a polynomial beat every network here.

# %% [markdown]
# ## What you will learn
#
# - how a grid can solve for what a network got wrong, and how much that gains: a law, and its test;
# - how a coarse grid shortens the training of a network, and by how much;
# - how to build a solver for a whole family of games, and from how many queries on it pays;
# - what helps little, and when to use the plain grid.

# %%
import matplotlib.pyplot as plt
import numpy as np

from opifex_tutorials.plotting import COLORS, LINE_STYLES, MARKERS, show, style
from opifex_tutorials.results import close_chapter, record

style()

# %% mystnb={"figure": {"name": "fig-routes", "caption": "Two routes. Upper: a coarse grid teaches a network, which is then trained on the equations. Lower: a network is trained, and a grid solves for what is left. They can be taken one after the other."}}
ROUTES = (
    (1, "distill", ("coarse grid", "imitate", "train on equations", "network")),
    (0, "correct", ("train on equations", "network + defect", "grid for the rest", "sum")),
)
figure, axes = plt.subplots(figsize=(7.2, 2.4))
for height, name, boxes in ROUTES:
    axes.text(-0.15, height, name, ha="right", va="center")
    for i, text in enumerate(boxes):
        frame = {"boxstyle": "round", "fc": "none", "ec": COLORS[height]}
        axes.text(i + 0.4, height, text, ha="center", va="center", bbox=frame, fontsize=9)
        if i:
            axes.text(i - 0.1, height, "→", ha="center", va="center")
axes.set(xlim=(-0.6, 4), ylim=(-0.6, 1.6))
axes.axis("off")
show(
    figure,
    alt="Two chains of boxes. Distill: coarse grid, imitate, train on equations, network. "
    "Correct: train on equations, network plus defect, grid for the rest, sum.",
)

# %% [markdown]
# ## A grid for what is left: Burgers first
#
# Let $u_\theta$ be a network that nearly solves Burgers' equation $u_t + (u^2/2)_x = \nu u_{xx}$. Its
# residual $R$ is known exactly, by automatic differentiation. Put $u = u_\theta + e$ into the equation.
# What is left over satisfies
#
# $$
# e_t + (u_\theta e)_x + \tfrac12 (e^2)_x - \nu e_{xx} = -R, \qquad e(0, \cdot) = 0,
# $$
#
# an equation as easy to solve on a grid as the first one. This is *defect correction*
# {cite}`stetter1978`. The point: a grid of order two errs by $h^2$ times derivatives of the function
# that it computes, and $e$ is smaller than $u$. How much smaller its *derivatives* are decides.
#
# The network: $u_\theta = -\sin \pi x + t \sin(\pi x)\, N(t, \cos \pi x)$ is odd, periodic, and has the
# right initial value. `jets` carries values and derivatives through it, as in {doc}`mfg_pinn`.

# %%
import torch

from opifex_tutorials.losses.mean_field_games import Condition, GameSystem, gauss
from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.problems.burgers import BurgersProblem

problem = BurgersProblem(viscosity=0.05)
WIDTHS = (2, 12, 12, 1)


class Trial:
    """The trial function at points t, x of shape (N,)."""

    def __init__(self, t, x):
        time, x = jets.coordinates(torch.from_numpy(t), torch.from_numpy(x))
        sine = jets.cos(jets.affine(x, -0.5, 1.5, np.pi))  # cos(πx - π/2)
        features = [jets.affine(time, 0, 1, 2.0), 2 * jets.cos(np.pi * x)]
        self.features, self.sine = torch.stack(features, -1), sine
        self.factor = jets.product(time, sine)

    def __call__(self, outputs):
        """Return the jet of u: value, u_t, u_x, u_xx."""
        return jets.product(self.factor, outputs[..., 0]) - self.sine


# %% [markdown]
# The residual, a training by Levenberg–Marquardt on Gauss nodes, and the trained network as a function
# that returns $u_\theta$ and $R$:


# %%
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.training.loop import levenberg_marquardt


def residual(u):
    """Return R from the jet of u."""
    return u[1] + u[0] * u[2] - problem.viscosity * u[3]


def train(seed, steps):
    """Return trained parameters."""
    condition = Condition(Trial(*gauss((24, 32), 2).T.copy()), lambda u: [residual(u)])
    start = torch.nn.utils.parameters_to_vector(MLP(WIDTHS, seed=seed).parameters())
    system = GameSystem([condition], WIDTHS)
    return levenberg_marquardt(start.detach().numpy(), steps)(system)


def evaluate(parameters, t, x):
    """Return u and R, each of the shape to which t and x broadcast."""
    t, x = np.broadcast_arrays(np.asarray(t, dtype=float), x)
    trial = Trial(t.ravel(), x.ravel())
    u = trial(jets.network(torch.from_numpy(parameters), WIDTHS, trial.features))
    return u[0].numpy().reshape(t.shape), residual(u).numpy().reshape(t.shape)


# %% [markdown]
# The grid: central differences in the flux, the implicit midpoint rule in time, as many steps as cells.
# With $u_\theta = R = 0$ and the true initial value it is a plain solver.


# %%
def march(cells, network=None):
    """Return u at times (cells + 1, 1) and places (cells,), and both."""
    nu, h, dt, identity = problem.viscosity, 2 / cells, 1 / cells, np.eye(cells)
    right, left = np.roll(identity, 1, axis=1), np.roll(identity, -1, axis=1)
    D, L = (right - left) / (2 * h), (right - 2 * identity + left) / h**2
    t, x = np.linspace(0, 1, cells + 1)[:, None], -1 + h * np.arange(cells)
    known, defect = np.zeros((2, cells, cells))
    if network is not None:
        known, defect = evaluate(network, t[1:] - dt / 2, x)
    e = [0 * x if network is not None else problem.initial(x)]
    for b, R in zip(known, defect, strict=True):
        new = e[-1]
        for _ in range(6):  # Newton
            mid = (new + e[-1]) / 2
            misfit = (new - e[-1]) / dt + D @ (b * mid + mid**2 / 2) - nu * L @ mid + R
            new = new - np.linalg.solve(identity / dt + D * (b + mid) / 2 - nu / 2 * L, misfit)
        e.append(new)
    smooth = 0.0 if network is None else evaluate(network, t, x)[0]
    return smooth + np.array(e), t, x


# %% [markdown]
# ### The law
#
# Insert a smooth $e$ into the scheme and expand. What it gets wrong in space is a derivative, of the flux
# error $\sigma = h^2(\tfrac16 (u^2/2)_{xx} - \tfrac{\nu}{12} u_{xxx})$. Multiply the error's equation by
# the error and integrate: the viscosity bounds its *slope*, $\nu\|\text{error}_x\| \lesssim \|\sigma\|$. Of
# $\sigma$ we keep only the highest derivative, and leave the time steps out: a guess that the rest shrinks
# alike, to be tested. The slope of the answer should then be better than that of the grid alone by
#
# $$
# \text{gain} \approx \frac{|u|_3}{|u - u_\theta|_3}, \qquad |v|_3 = \|v_{xxx}\|,
# $$
#
# with third derivatives for a scheme of order two. Five seeds, three lengths of training:

# %%
from opifex_tutorials.parallel import side_by_side

SEEDS, LENGTHS = range(5), (20, 40, 80)
nodes, weights = np.polynomial.legendre.leggauss(40)
cosines = np.cos(np.pi * np.arange(48, -1, -1) / 48)[:, None]  # Chebyshev points
places = np.arange(128) / 128


def seminorm(values, n_t, n_x):
    """Return the L2 norm of a derivative, up to a factor; values at (49, 1) x (128,) points."""
    wave = 2j * np.pi * np.fft.fftfreq(128, 1 / 128)
    slopes = np.fft.ifft(np.fft.fft(values, axis=1) * wave**n_x, axis=1).real
    in_time = np.polynomial.chebyshev.chebfit(cosines[:, 0], slopes, 40)
    in_time = np.polynomial.chebyshev.chebder(in_time, n_t)
    return np.sqrt(np.sum(weights * np.polynomial.chebyshev.chebval(nodes, in_time) ** 2))


def slope_error(cells, network=None):
    """Return the error of the slope, in the differences of neighbors."""
    u, t, x = march(cells, network)
    return np.linalg.norm(np.diff(u - problem.exact(t, x), axis=1)) * np.sqrt(cells)


# %% [markdown]
# Measured and predicted, for grids of 40 and 80 cells:

# %%
alone = {cells: slope_error(cells) for cells in (40, 80)}


def law(case):
    """Return the predicted gain and the gains of 40 and 80 cells."""
    parameters, at = train(*case), ((1 + cosines) / 2, 2 * places - 1)
    exact = problem.exact(*at)
    rest = exact - evaluate(parameters, *at)[0]
    gains = [alone[cells] / slope_error(cells, parameters) for cells in alone]
    return [seminorm(exact, 0, 3) / seminorm(rest, 0, 3), *gains]


cases = [(seed, length) for length in LENGTHS for seed in SEEDS]
predicted, *measured = np.transpose(side_by_side(law, cases, "Burgers"))
ratios = np.array(measured) / predicted
record("hybrid_solver.burgers_law_least", ratios.min(), at_least=0.5, unit="measured / predicted")
record("hybrid_solver.burgers_law_most", ratios.max(), at_most=2.0, unit="measured / predicted")
print(f"measured over predicted: {ratios.min():.2f} to {ratios.max():.2f}")

# %% mystnb={"figure": {"name": "fig-law", "caption": "Burgers. How much smaller the error of the slope gets when the grid solves for what a network left over, against the prediction from third derivatives. Five seeds, three lengths of training; on the line, law and measurement agree."}}
figure, axes = plt.subplots(figsize=(5.4, 4.2))
for cells, gains, color, marker in zip(alone, measured, COLORS, MARKERS, strict=False):
    axes.plot(predicted, gains, marker, color=color, mfc="none", label=f"{cells} cells")
line = [predicted.min(), predicted.max()]
axes.plot(line, line, color=COLORS[-1], ls="-", label="predicted")
axes.set(
    xlabel="predicted gain (ratio)", ylabel="measured gain (ratio)", xscale="log", yscale="log"
)
axes.legend()
show(
    figure,
    alt="Measured gain against predicted gain on logarithmic axes, over more than two orders of "
    "magnitude. The points for both grids lie close to the diagonal.",
)

# %% [markdown]
# Over all {glue:text}`hybrid_solver.burgers_law_least:.2f` to
# {glue:text}`hybrid_solver.burgers_law_most:.2f` of what was predicted. A network that is right to a few
# digits in $L^2$ can still be rough: it is its *third derivatives* that have to be small.
# The law is about slopes; for the values themselves the gain can differ from it, and we do not bound that.

# %% [markdown]
# ## A grid for what is left: the game
#
# A game has two equations, which feed each other, and a scheme $F_h$ that took care to conserve the
# population. Linearizing by hand what is left would spoil that. There is a shorter way: give the scheme
# a source, such that it solves
#
# $$
# F_h(U) = F_h(u_\theta) - R(u_\theta).
# $$
#
# Were $F_h$ exact, this would read $F(U) = 0$. It errs, but by nearly the same amount on both sides.
# The source of the Fokker–Planck equation sums to zero on every step, so that nobody is lost. Between
# the cells only the small difference $U - u_\theta$ is interpolated (for the density the quotient, which
# stays near one).
# `solve_mfg_hybrid` does that. Five networks, each caught at five stages of its training:

# %%
from opifex_tutorials.problems.mean_field_games import CosineGame
from opifex_tutorials.solvers import solve_mfg_grid, solve_mfg_hybrid, solve_mfg_pinn
from opifex_tutorials.verification import (
    convergence_order,
    exploitability,
    mass_drift,
    relative_l2,
)

game = CosineGame(viscosity=0.1, alpha=0.6, beta=0.6, horizon=1.0, boundary="periodic")
t, x = np.linspace(0, 1, 51)[:, None], np.linspace(0, 1, 201)
CELLS, STAGES = np.array([20, 40, 80]), (20, 30, 50, 100, 200)


def errors(solution):
    """Return the relative errors of value and density."""
    exact = solution.game
    return np.array(
        [
            relative_l2(solution.value(t, x), exact.value(t, x)),
            relative_l2(solution.density(t, x), exact.density(t, x)),
        ]
    )


# %% [markdown]
# The prediction needs the derivatives in this scheme's error. The grid of cells and steps errs by
# $h^2 u_{xxxx}$ and $\Delta t^2 u_{ttxx}$, among others, and $u$ changes fast in time: we take the second,
# and, as before, one $x$ off for the smoothing by viscosity. So $|u|_3 = \|u_{ttx}\|$ here.
# We settled on it after comparing several third derivatives with the gains measured below, so that for
# the game this is a weaker test than for Burgers.


# %%
def correct(seed):
    """Return errors of network and hybrids, shape (stages, 4, 2), and predicted gains of u."""
    networks, found, predicted = [], [], []

    def keep(solution):
        networks.extend([solution] if solution.history.steps[-1] in STAGES else [])
        return 0.0

    options = {"steps": STAGES[-1], "record_every": 10, "tolerance": np.inf}
    solve_mfg_pinn(game, seed=seed, monitor=keep, **options)
    at = (1 + cosines) / 2, places
    for network in networks:
        options = {"seed": seed, "route": "correct", "network": network}
        hybrids = [solve_mfg_hybrid(game, cells=cells, **options) for cells in CELLS]
        found.append([errors(network), *map(errors, hybrids)])
        rest = seminorm(game.value(*at) - network.value(*at), 2, 1)
        predicted.append(seminorm(game.value(*at), 2, 1) / rest)
    judged = exploitability(game, hybrids[0]), mass_drift(hybrids[0])
    return np.array(found), np.array(predicted), judged


corrected, predicted, judged = zip(*side_by_side(correct, SEEDS, "corrections"), strict=True)
corrected, predicted, judged = map(np.array, (corrected, predicted, judged))
grids = np.array([errors(solve_mfg_grid(game, cells=n, steps=n)) for n in CELLS])
gains = grids / corrected[:, :, 1:]  # seeds, stages, cells, fields

# %% [markdown]
# For the network of 100 steps, the worst seed and the worst of the three grids:

# %%
hundred = STAGES.index(100)
least = gains[:, hundred].min(axis=(0, 1))
record("hybrid_solver.value_gain", least[0], at_least=300, unit="ratio of errors")
record("hybrid_solver.density_gain", least[1], at_least=300, unit="ratio of errors")
over = corrected[:, hundred, :1] / corrected[:, hundred, 1:]
record("hybrid_solver.gain_over_network", over.min(), at_least=1.5, unit="ratio of errors")
for j, name in enumerate(("value", "density")):
    orders = [convergence_order(1 / CELLS, e) for e in corrected[:, hundred, 1:, j]]
    low, high = np.min(orders, axis=0), np.max(orders, axis=0)
    print(f"{name}: gain {least[j]:.0f} or more; orders {low.round(2)} to {high.round(2)}")
    middle = np.median(orders, axis=0)[-1]
    record(f"hybrid_solver.{name}_order_least", middle, at_least=1.8, unit="order")
    record(f"hybrid_solver.{name}_order_most", middle, at_most=2.2, unit="order")
ratios = gains[..., 1, 0] / predicted
record("hybrid_solver.law_median", np.median(ratios), at_least=0.5, unit="measured / predicted")
record("hybrid_solver.law_most", ratios.max(), at_most=2.0, unit="measured / predicted")
record("hybrid_solver.law_least", ratios.min(), at_least=0.2, unit="measured / predicted")
print("measured over predicted, sorted:", np.sort(ratios.ravel()).round(2))

# %% mystnb={"figure": {"name": "fig-orders", "caption": "The game. Left: error of the value under refinement, grid alone and grid correcting networks of increasing training; range and median of five seeds. Right: measured gain at 40 cells against the prediction from third derivatives."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4))
left.plot(CELLS, grids[:, 0], color=COLORS[-1], marker="x", label="grid alone")
for i, (stage, color, line) in enumerate(zip(STAGES, COLORS, LINE_STYLES, strict=True)):
    e = corrected[:, i, 1:, 0]
    left.plot(CELLS, np.median(e, axis=0), color=color, ls=line, label=f"{stage} steps")
    left.fill_between(CELLS, e.min(axis=0), e.max(axis=0), color=color, alpha=0.15, lw=0)
    right.plot(predicted[:, i], gains[:, i, 1, 0], MARKERS[i], color=color, mfc="none")
right.plot([5, 2e4], [5, 2e4], color=COLORS[-1], ls="-")
left.set(xlabel="cells (and steps of time)", ylabel="relative L2 error of u", xscale="log")
left.set(yscale="log", xticks=CELLS, xticklabels=CELLS)
left.minorticks_off()
right.set(xlabel="predicted gain (ratio)", ylabel="measured gain (ratio)")
right.set(xscale="log", yscale="log")
figure.legend(loc="outside lower center", ncols=3)
show(
    figure,
    alt="Left: errors of the value fall along parallel lines as cells double; the grid alone is on "
    "top, and each longer training lies lower. Right: measured against predicted gain, along the "
    "diagonal over more than two orders of magnitude, a few points below it.",
)

# %% [markdown]
# For the network of 100 steps the order of the scheme stays; the other lines look parallel, too. On the
# same grids, and not counting the training, the error is at least
# {glue:text}`hybrid_solver.value_gain:.0f` times smaller than that of the grid alone, and at least
# {glue:text}`hybrid_solver.gain_over_network:.1f` times smaller than that of the network alone. The law
# is right in the median, at {glue:text}`hybrid_solver.law_median:.2f` of the prediction; the worst network
# gained only {glue:text}`hybrid_solver.law_least:.2f` of it: one derivative need not be the whole error.
#
# Mass and exploitability, for the coarsest grid on the longest training:

# %%
worst = judged.max(axis=0)
record("hybrid_solver.corrected_exploitability", worst[0], at_most=1e-7, unit="cost")
record("hybrid_solver.corrected_drift", worst[1], at_most=1e-8, unit="mass")
print(f"exploitability {worst[0]:.1e}, mass error {worst[1]:.1e} (worst of five seeds)")

# %% [markdown]
# On the grid the population is one to rounding. Between the cells, the product of the network's
# density and the grid's correction is not quite; the solution divides by its integral.
#
# ## A grid that teaches: distillation
#
# Now the other way around. A grid of first order, 20 cells and 20 steps is done in an instant, and wrong
# by a tenth. A network that *imitates* it (*distillation*) needs values only, no derivatives, so that
# its steps are cheap. Then it is trained on the equations. The start is wrong, but no longer random.
# Both networks take as many steps on the equations, five seeds each.


# %%
def distill(case):
    """Train one network, from a grid or from random weights."""
    from_grid, seed = case
    watch = {"monitor": lambda solution: errors(solution)[0], "record_every": 10}
    if from_grid:
        return solve_mfg_hybrid(game, seed=seed, **watch)
    return solve_mfg_pinn(game, seed=seed, **watch)


runs = side_by_side(distill, [(kind, s) for kind in (True, False) for s in SEEDS], "distillation")
distilled, random = runs[:5], runs[5:]
start = errors(solve_mfg_grid(game, cells=20, steps=20, order=1))
final = np.array([errors(solution) for solution in distilled])
value_gain, density_gain = (start / final).min(axis=0)
record("hybrid_solver.start_value", start[0], at_least=0.05, unit="relative L2")
record("hybrid_solver.distilled_value_gain", value_gain, at_least=1000, unit="ratio of errors")
record("hybrid_solver.distilled_density_gain", density_gain, at_least=1000, unit="ratio of errors")
print(f"start {start}, gain of the worst seed: value {value_gain:.1e}, density {density_gain:.1e}")

# %% [markdown]
# The end is better than the start by far, but so is a network without a teacher. What does the teacher
# save? To see it, record every step, and add a third contestant, *both*: 15 steps of imitation, three on
# the equations, and then the correction by a grid of second order and 20 cells.


# %%
def race(case):
    """Return steps on the equations, seconds and error; all but "both" stop at 1e-3."""
    route, seed = case
    options = {"seed": seed, "record_every": 1, "monitor": lambda s: errors(s)[0]}
    if route == "both":
        run = solve_mfg_hybrid(game, route=route, steps=3, imitation_steps=15, **options)
        return 3, run.history.stages[-1].seconds, run.history.stages[-1].error
    solve = solve_mfg_pinn if route == "random" else solve_mfg_hybrid
    history = solve(game, steps=60, tolerance=np.inf, **options).history
    reached = np.array(history.errors) <= 1e-3
    assert reached.any()
    first = int(np.argmax(reached))
    return first + 1, history.seconds[first], history.errors[first]


RACERS = ("random", "distill", "both")
raced = side_by_side(race, [(route, seed) for seed in SEEDS for route in RACERS], "race")
raced = np.reshape(raced, (5, 3, 3))
worst_both = raced[:, 2, 2].max()
raced = np.median(raced, axis=0)

# %% [markdown]
# The grid's time is charged. Steps are what the method needs; seconds are what this machine took.

# %%
for route, (steps, seconds, error) in zip(RACERS, raced, strict=True):
    print(f"{route:8s} {steps:3.0f} steps, {seconds:.2f} s, error {error:.1e} (medians)")
steps, seconds = raced[:, 0], raced[:, 1]
record("hybrid_solver.race_random_steps", steps[0], at_most=40, unit="steps")
record("hybrid_solver.race_steps", steps[1] / steps[0], at_most=0.6, unit="ratio of steps")
record("hybrid_solver.race_both_error", worst_both, at_most=1e-3, unit="relative L2")
record("hybrid_solver.race_seconds", seconds[1] / seconds[0], unit="s/s")
record("hybrid_solver.race_both_seconds", seconds[2] / seconds[0], unit="s/s")
goal = max(run.history.errors[-1] for run in random)  # all of them reach it
clocks = []
for run in distilled + random:
    reached = np.array(run.history.errors) <= goal
    clocks.append(run.history.seconds[np.argmax(reached)] if reached.any() else np.inf)
long_run = np.median(clocks[:5]) / np.median(clocks[5:])
record("hybrid_solver.race_to_the_end", long_run, unit="s/s")
print(f"time to the accuracy that all random starts reach ({goal:.0e}): ratio {long_run:.2f}")

# %% mystnb={"figure": {"name": "fig-stages", "caption": "The value's error against time, five seeds. The distilled network starts where the grid ends and saves the erratic first part of the training."}}
figure, axes = plt.subplots(figsize=(7.2, 4))
for group, label, color, line in (
    (random, "from random weights", COLORS[1], "--"),
    (distilled, "distilled, then trained", COLORS[0], "-"),
):
    e = np.array([run.history.errors for run in group])
    clock = np.median([run.history.seconds for run in group], axis=0)
    axes.plot(clock, np.median(e, axis=0), color=color, ls=line, label=label)
    axes.fill_between(clock, e.min(axis=0), e.max(axis=0), color=color, alpha=0.15, lw=0)
for name, marker in (("grid", "s"), ("distilled", "^")):
    at = [stage for run in distilled for stage in run.history.stages if stage.name == name]
    clock, e = np.median([(stage.seconds, stage.error) for stage in at], axis=0)
    axes.plot(clock, e, marker, color=COLORS[2], label=f"end of stage “{name}”")
axes.set(xlabel="time (s)", ylabel="relative L2 error of u", xscale="log", yscale="log")
axes.legend()
show(
    figure,
    alt="Error against time on logarithmic axes. Two marks for grid and imitation at a tenth; from "
    "there one curve falls at once. The one from random weights starts higher and later joins it.",
)

# %% [markdown]
# In the median, the teacher brings the steps on the equations down to
# {glue:text}`hybrid_solver.race_steps:.2f` of those from random weights, and the time to
# {glue:text}`hybrid_solver.race_seconds:.2f` (and {glue:text}`hybrid_solver.race_both_seconds:.2f` with
# the correction, which ends at {glue:text}`hybrid_solver.race_both_error:.1e` in the worst seed), since imitation has a price as well. Second-order
# optimization needs only {glue:text}`hybrid_solver.race_random_steps:.0f` from random weights, which leaves little to
# save. To the accuracy that all random starts reach in the end, the ratio of times is
# {glue:text}`hybrid_solver.race_to_the_end:.2f`.
#
# ## Everything at equal compute
#
# One budget for everybody, the time of 60 steps on the equations. Who has a grid to pay takes fewer.


# %%
def imitate(seed):
    """Return a network that has seen the coarse grid and no equation."""
    seen = []
    options = {"steps": 1, "record_every": 1, "tolerance": np.inf, "imitation_steps": 200}
    solve_mfg_hybrid(game, seed=seed, monitor=lambda s: seen.append(s) or 0.0, **options)
    return seen[1]  # the second stage


# %% [markdown]
# All contestants, each a function of the seed:

# %%
CONTESTANTS = {
    "grid, 112 cells": lambda seed: solve_mfg_grid(game, cells=112, steps=112),
    "network": lambda seed: solve_mfg_pinn(game, seed=seed, steps=60, record_every=60),
    "imitation only": imitate,
    "network, long first step": lambda seed: solve_mfg_pinn(
        game, seed=seed, steps=60, record_every=60, damping=1e-3, tolerance=np.inf
    ),
    "distill": lambda seed: solve_mfg_hybrid(game, seed=seed, steps=52, record_every=52),
    "correct": lambda seed: solve_mfg_hybrid(
        game, seed=seed, route="correct", cells=40, steps=54, record_every=54
    ),
    "both": lambda seed: solve_mfg_hybrid(
        game, seed=seed, route="both", cells=40, steps=46, record_every=46
    ),
}


# %% [markdown]
# The grid of second order is joined by its own improvement, Richardson extrapolation from 40 and 80 cells.


# %%
from time import perf_counter


def contest(case):
    """Return errors of u and m, mass error, exploitability and seconds."""
    name, seed = case
    before = perf_counter()
    solution = CONTESTANTS[name](seed)
    seconds = perf_counter() - before
    return *errors(solution), mass_drift(solution), exploitability(game, solution), seconds


cases = [(name, seed) for name in CONTESTANTS for seed in SEEDS]
table = np.reshape(side_by_side(contest, cases, "contest"), (len(CONTESTANTS), 5, 5))
before = perf_counter()
coarse, fine = (solve_mfg_grid(game, cells=n, steps=n).value(t, x) for n in (40, 80))
seconds = perf_counter() - before
extrapolated = relative_l2((4 * fine - coarse) / 3, game.value(t, x))

# %% [markdown]
# Medians of five seeds; mass error and exploitability are the worst of five:

# %%
medians = dict(zip(CONTESTANTS, np.median(table, axis=1), strict=True))
worst = dict(zip(CONTESTANTS, table.max(axis=1), strict=True))
print(f"{'':25s}{'u':>9s}{'m':>9s}{'mass':>9s}{'exploit.':>9s}{'s':>6s}")
for name in CONTESTANTS:
    row = (*medians[name][:2], *worst[name][2:4])
    print(f"{name:25s}" + "".join(f"{v:9.0e}" for v in row) + f"{medians[name][4]:6.2f}")
print(f"{'grids 40 and 80':25s}{extrapolated:9.0e}{'':27s}{seconds:6.2f}")
record("hybrid_solver.extrapolated", extrapolated, at_most=2e-5, unit="relative L2")
record("hybrid_solver.extrapolated_seconds", seconds / medians["correct"][4], unit="s/s")
for name, most in (("distill", 1e-4), ("correct", 1e-5), ("both", 1e-5)):
    record(f"hybrid_solver.{name}_value", medians[name][0], at_most=most, unit="relative L2")
    record(f"hybrid_solver.{name}_drift", worst[name][2], at_most=1e-8, unit="mass")
    record(f"hybrid_solver.{name}_exploitability", worst[name][3], at_most=1e-7, unit="cost")
stuck = medians["imitation only"][0]
record("hybrid_solver.imitation_value", stuck, at_least=0.02, unit="relative L2")
alone = ("network", "network, long first step", "grid, 112 cells", "imitation only")
best = min(medians[name][0] for name in alone)
gain = best / max(medians["correct"][0], medians["both"][0])
record("hybrid_solver.gain_at_equal_compute", gain, at_least=3, unit="ratio of errors")

# %% [markdown]
# In the median both routes with a correction are at least
# {glue:text}`hybrid_solver.gain_at_equal_compute:.0f` times better than the best of network, grid and
# imitation alone. Imitation is stuck at {glue:text}`hybrid_solver.imitation_value:.0e`, the error of its
# teacher. No hybrid misses the mass by more than `1e-8` or is exploitable by more than `1e-7`.
#
# (*Long first step* is a control: the distilled network starts with a larger step, and so does this one.)
#
# The strongest rival is the last line: two grids and a formula, with an error of
# {glue:text}`hybrid_solver.extrapolated:.0e` in {glue:text}`hybrid_solver.extrapolated_seconds:.2f` of the time of
# *correct* (alone on the machine, while the others ran side by side). The hybrid can be more accurate, at
# {glue:text}`hybrid_solver.correct_value:.0e`; finer grids can, too. **On one smooth game in one dimension, use
# the grid of second order, and extrapolate.**
#
# ## What helps little: a better start
#
# The obvious hybrid starts the grid's iteration from the network's answer. Does it save iterations?
# Start Newton and damped Picard from the exact solution, made wrong by a smooth wave of a tenth, a
# hundredth, a thousandth; and *cold*, from one response to a crowd that stays as it is at first.

# %%
from opifex_tutorials.solvers.mfg_grid import newton, picard
from opifex_tutorials.solvers.mfg_scheme import MeanFieldGameScheme

scheme = MeanFieldGameScheme(game, 40, 40, order=2)


def iterations(step, share, size):
    """Count iterations until u and m change by less than 1e-8."""
    if size is None:
        u, m = picard(scheme, None, np.tile(scheme.initial_density, 40))
    else:
        wave = 1 + size * np.cos(2 * np.pi * scheme.x + 1)
        now, mean = scheme.t[:-1, None], scheme.t[1:, None] - scheme.dt / 2
        u = (game.value(now, scheme.x) * wave).ravel()
        m = (game.density(mean, scheme.x) * wave).ravel()
    for count in range(1, 100):
        new_u, new_m = step(scheme, u, m)
        if max(np.abs(new_u - u).max(), np.abs(new_m - m).max()) < 1e-8:
            return count
        u, m = new_u, m + share * (new_m - m)
    raise AssertionError("no convergence, and this section is wrong")


# %% [markdown]
# One row per method, from cold to nearly exact:

# %%
STARTS = (None, 0.1, 0.01, 0.001)
counts = {
    name: [iterations(step, share, size) for size in STARTS]
    for name, step, share in (("Newton", newton, 1.0), ("Picard", picard, 0.5))
}
print(counts)
saved = counts["Newton"][0] - counts["Newton"][-1]
record("hybrid_solver.newton_saved", saved, at_most=2, unit="iterations")
share = 1 - counts["Picard"][-1] / counts["Picard"][1]
record("hybrid_solver.picard_saved", share, at_most=0.4, unit="share of iterations")

# %% [markdown]
# A start wrong by a thousandth saves Newton {glue:text}`hybrid_solver.newton_saved:.0f` iterations against a
# cold one. Against a start wrong by a tenth it saves Picard {glue:text}`hybrid_solver.picard_saved:.0%` of its
# own. All runs solve the same discrete equations, so that their answer is that of the grid. A network can improve the *answer* only through the equations that the
# grid solves, as above.
#
# ## Many queries: a network for a family
#
# Suppose that we need the equilibrium for many viscosities $\nu \in [0.05, 0.15]$, each right to
# `1e-4`. One network learns all at once: the viscosity becomes another input, and the loss a sum over
# Gauss nodes in $\log \nu$. For a given $\nu$ the new input is constant, so that it folds into the biases
# of the first layer: what remains is an ordinary network for an ordinary game, to be corrected by a grid.

# %%
from scipy.interpolate import BarycentricInterpolator

from opifex_tutorials.losses.mean_field_games import conditions
from opifex_tutorials.solvers.mfg_pinn import MfgPinnSolution

LOW, HIGH, SHAPE = 0.05, 0.15, (3, 12, 12, 12, 2)


def feature(viscosity):
    """Map the range to [-2, 2]."""
    return 4 * np.log(viscosity / LOW) / np.log(HIGH / LOW) - 2


def train_family(seed, steps=80):
    """Return the parameters of a network for all viscosities."""
    asked = []
    for node in gauss((6,), 1)[:, 0]:
        viscosity = LOW * (HIGH / LOW) ** node
        (condition,) = conditions(CosineGame(viscosity=viscosity), "hard", gauss, (16, 12))
        extra = torch.zeros_like(condition.trial.features[..., :1])
        extra[0] = feature(viscosity)
        condition.trial.features = torch.cat([condition.trial.features, extra], -1)
        asked.append(condition)
    start = torch.nn.utils.parameters_to_vector(MLP(SHAPE, seed=seed).parameters())
    return levenberg_marquardt(start.detach().numpy(), steps)(GameSystem(asked, SHAPE))


# %% [markdown]
# The network for one game, and what a query does with it:


# %%
def member(parameters, viscosity):
    """Return the network of the family for one game."""
    inputs, width = SHAPE[:2]
    first = parameters[: inputs * width].reshape(width, inputs)
    bias = parameters[inputs * width :][:width] + first[:, -1] * feature(viscosity)
    rest = parameters[(inputs + 1) * width :]
    folded = np.concatenate([first[:, :-1].ravel(), bias, rest])
    fixed = CosineGame(viscosity=viscosity)
    return MfgPinnSolution(fixed, "hard", (2, *SHAPE[1:]), folded)


def query(parameters, viscosity):
    """Return the value at the points (t, x)."""
    network = member(parameters, viscosity)
    options = {"seed": 0, "route": "correct", "network": network, "cells": 30}
    return solve_mfg_hybrid(network.game, **options).value(t, x)


# %% [markdown]
# The rivals: two grids and extrapolation; one grid; a network for each query (these two are slow, so that
# four queries have to do); and the classical method for a family, a table: six pairs of grids in advance,
# and a polynomial in $\log \nu$ through their answers.


# %%
def extrapolate(viscosity, cells=32):
    """Answer by two grids."""
    fixed = CosineGame(viscosity=viscosity)
    coarse, fine = (solve_mfg_grid(fixed, cells=n, steps=n).value(t, x) for n in (cells, 2 * cells))
    return (4 * fine - coarse) / 3


def tabulate(count):
    """Return a polynomial in log viscosity through the answers of some pairs of grids."""
    nodes = LOW * (HIGH / LOW) ** ((1 + np.polynomial.chebyshev.chebpts1(count)) / 2)
    return BarycentricInterpolator(feature(nodes), [extrapolate(nu, 40) for nu in nodes])


# %% [markdown]
# First the errors, for five families:

# %%
rng = np.random.default_rng(0)
queries = LOW * (HIGH / LOW) ** rng.uniform(size=40)


def error_of(answer, viscosity):
    """Return the relative error of a value."""
    return relative_l2(answer, CosineGame(viscosity=viscosity).value(t, x))


def judge(seed):
    """Return the worst error over the queries, of the network alone and of the hybrid."""
    family = train_family(seed)
    nets = max(error_of(member(family, nu).value(t, x), nu) for nu in queries)
    return nets, max(error_of(query(family, nu), nu) for nu in queries)


nets, hybrids = np.transpose(side_by_side(judge, SEEDS, "families"))
record("hybrid_solver.family_network", nets.min(), at_least=2e-4, unit="relative L2")
record("hybrid_solver.family_hybrid", hybrids.max(), at_most=1e-4, unit="relative L2")
print(f"worst query: network alone {nets.min():.0e} to {nets.max():.0e}", end="; ")
print(f"corrected {hybrids.min():.0e} to {hybrids.max():.0e}")

# %% [markdown]
# Then the time, one after the other in one process, training included:


# %%
def clocked(solve, arguments):
    """Return the answers and the seconds per answer."""
    before = perf_counter()
    answers = [solve(argument) for argument in arguments]
    return answers, (perf_counter() - before) / len(arguments)


def one_grid(nu):
    """Answer by one grid, just fine enough."""
    return solve_mfg_grid(CosineGame(viscosity=nu), cells=112, steps=112).value(t, x)


def one_network(nu):
    """Answer by a network for this query."""
    options = {"seed": 0, "steps": 60, "record_every": 60}
    return solve_mfg_pinn(CosineGame(viscosity=nu), **options).value(t, x)


# %%
(family,), training = clocked(train_family, [0])
costs, wrong = {}, {}
for name, solve, asked in (
    ("family, corrected", lambda nu: query(family, nu), queries),
    ("two grids, extrapolated", extrapolate, queries),
    ("one grid", one_grid, queries[:4]),
    ("a network per query", one_network, queries[:4]),
):
    answers, costs[name] = clocked(solve, asked)
    wrong[name] = max(map(error_of, answers, asked))
(table,), tabulating = clocked(tabulate, [6])
answers, lookup = clocked(lambda nu: table(feature(nu)), queries)
wrong["table"] = max(map(error_of, answers, queries))

# %% [markdown]
# The break-even is the number of queries from which the training has paid for itself.

# %%
mine, best, *others = costs
for name, cost in costs.items():
    pays = training / (cost - costs[mine]) if name != mine and cost > costs[mine] else np.nan
    print(f"{name:24s} worst {wrong[name]:.0e}, {cost:.3f} s a query, break-even {pays:.0f}")
print(f"training {training:.1f} s; table: {tabulating:.1f} s, then {lookup:.4f} s a query")
record("hybrid_solver.table_error", wrong["table"], at_most=1e-4, unit="relative L2")
record("hybrid_solver.table_seconds", tabulating, unit="s")
record(
    "hybrid_solver.table_to_family",
    (tabulating + 40 * lookup) / (training + 40 * costs[mine]),
    unit="s/s",
)
record("hybrid_solver.family_training", training, unit="s")
record("hybrid_solver.family_query", costs[mine], unit="s")
record("hybrid_solver.rival_query", costs[best], unit="s")
record("hybrid_solver.rival_error", wrong[best], at_most=1.5e-4, unit="relative L2")
total = (training + 40 * costs[mine]) / (40 * costs[best])
record("hybrid_solver.forty_queries", total, unit="s/s")
total = (training + 40 * costs[mine]) / (40 * min(costs[name] for name in others))
record("hybrid_solver.forty_queries_others", total, unit="s/s")
rate = training / max(costs[best] - costs[mine], 1e-9)  # seconds per second saved by a query
record("hybrid_solver.break_even", rate, unit="s/s")

# %% mystnb={"figure": {"name": "fig-queries", "caption": "Total time against the number of queries. The family starts with its training, and each query costs it little; the table starts with six pairs of grids, and each query costs it nothing to speak of."}}
figure, axes = plt.subplots(figsize=(7.2, 4))
count = np.arange(1, 101)
for name, color, line in zip(costs, COLORS, LINE_STYLES, strict=False):
    axes.plot(count, (training if name == mine else 0) + count * costs[name], color=color, ls=line)
    axes.lines[-1].set_label(name)
axes.plot(count, tabulating + count * lookup, color=COLORS[-1], ls=":", label="table of six")
axes.set(xlabel="queries (number)", ylabel="total time (s)", xscale="log", yscale="log")
axes.legend()
show(
    figure,
    alt="Total time against number of queries. The table is a flat line. The corrected family is "
    "flat at first and then rises slowly; the others rise in proportion to the queries.",
)

# %% [markdown]
# A query to the family costs {glue:text}`hybrid_solver.family_query:.3f` s, against
# {glue:text}`hybrid_solver.rival_query:.3f` s for two grids. The training takes
# {glue:text}`hybrid_solver.family_training:.1f` s, which on this machine is paid back after
# {glue:text}`hybrid_solver.break_even:.0f` queries. For the 40 queries here the whole bill is
# {glue:text}`hybrid_solver.forty_queries:.2f` of that of the extrapolating grids, and
# {glue:text}`hybrid_solver.forty_queries_others:.2f` of that of the better of the other two. The network
# of the family alone does not reach the tolerance in its worst query,
# {glue:text}`hybrid_solver.family_network:.0e` at best over five seeds; corrected, every seed does, with
# {glue:text}`hybrid_solver.family_hybrid:.0e` at worst. (Were a query of the grids cheaper than a
# correction, the family would never pay.)
#
# So the hybrid beats whoever solves each game anew. It does not beat the table. That one is right to
# {glue:text}`hybrid_solver.table_error:.0e` after {glue:text}`hybrid_solver.table_seconds:.1f` s, and the whole
# bill of 40 queries is {glue:text}`hybrid_solver.table_to_family:.2f` of the family's. **With one smooth
# parameter, solve six games on a grid and interpolate.** A polynomial in many parameters needs a power of
# six; there a network may pay, which we did not test.
#
# ## Results
#
# Everything this chapter recorded, with the bounds that would have stopped the build.

# %%
close_chapter("hybrid_solver")

# %% [markdown]
# ## Exercises
#
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
# the sum is the network, on every grid. The residual is what the correction knows.

# %% tags=["hide-input"]
parameters = train(0, 20)
honest = evaluate


def evaluate(*arguments):
    """Return u, and zero in place of R."""
    u, R = honest(*arguments)
    return u, 0 * R


blind, at, here = march(40, parameters)
evaluate = honest
assert np.abs(blind - evaluate(parameters, at, here)[0]).max() < 1e-12

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} First order
# :label: exercise-first
#
# Correct a network with the scheme of first order. Which derivatives decide now, and is the gain larger
# or smaller than with the second order?
# ```

# %% [markdown]
# ````{solution-start} exercise-first
# :class: dropdown
# ````
#
# Derivatives of one order less, which a network gets right sooner: the *gain* is larger. The answer is
# worse all the same, because the scheme of first order starts from so much further behind.

# %% tags=["hide-input"]
network = solve_mfg_pinn(game, seed=0, steps=50, tolerance=np.inf)
after = {}
for order in (1, 2):
    plain = errors(solve_mfg_grid(game, cells=20, steps=20, order=order))[0]
    options = {"seed": 0, "route": "correct", "network": network, "order": order}
    after[order] = errors(solve_mfg_hybrid(game, **options))[0]
    print(f"order {order}: from {plain:.1e} to {after[order]:.1e}, gain {plain / after[order]:.0f}")
assert after[2] < after[1]

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ## Experiments to try
#
# - Widen the family, `LOW = 0.02`. Does the same network still do, or does it need more nodes?
# - Distill from a grid of second order, `solve_mfg_hybrid(game, seed=0, order=2)`. Does the training
#   start lower? Does it take fewer steps?
# - Correct on 160 cells. When is the network's own residual, in double precision, the limit?
# - Give Burgers less viscosity. The layer gets thin: what happens to the third derivatives?
#
# ## Troubleshooting
#
# **The correction makes the answer worse.** The network is too rough for the grid: train longer, or use
# more cells. A network may be right to three digits and its third derivatives to none.
#
# **`ConvergenceError`, a density that is not positive.** The network is so wrong that the correction
# empties a cell. Train longer.
#
# **`ValueError`, around with a boundary.** In the tail of a crowd that lives on the whole line the density
# is nearly zero, and a correction there could be of either sign. Use the route `"distill"`.
#
# **The mass is not one to rounding.** On the grid it is. Between the cells it is one up to the
# interpolation of a smooth function of time.
#
# ## Related chapters
#
# - {doc}`mfg_pinn` introduces the game, its grid and its network.
# - {doc}`first_pinn` builds Levenberg–Marquardt and solves Burgers with a thin layer.
# - {doc}`../book/how_we_verify` explains bounds, the ledger and the independent references.
