# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Learning a boundary: a gate that nobody described
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
# * - intermediate
#   - {glue:text}`boundary_learning.seconds:.0f` s
#   - {doc}`mfg_pinn`
#   - notebook, in PyTorch
#   - {glue:text}`boundary_learning.peak_memory:.0f` MB
# ```
#
# A crowd moves through a room with two gates. A counter at each gate says how many people pass. What
# draws them to the left gate, the bargain that they expect behind it, nobody knows: it is a missing
# boundary condition. Some sensors in the room report the density of the crowd, with noise.
# Can we learn the boundary condition from them? In short: from exact reports yes, from noisy ones as
# far as it stands out from the noise, and a spline does as well as a network there.
#
# This is an *inverse problem*: the effect is given, the cause is asked for. A small network
# will represent the unknown function, and a grid solver will say what the crowd does if the network
# is right. Beside it stands the classical choice, a spline with as many unknowns. All of this is
# measured against a game whose boundary is known in closed form. {numref}`fig-gate-question` poses the
# question: which of three causes do the reports tell of?

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np

from opifex_tutorials.plotting import COLORS, seed_band, show, style
from opifex_tutorials.results import close_chapter, record

style()


def note(name, value, unit, **bounds):
    """Record a result of this chapter."""
    record(f"boundary_learning.{name}", value, unit=unit, **bounds)


# %% tags=["hide-input"]
from opifex_tutorials.problems.mean_field_games import CosineGame
from opifex_tutorials.solvers import solve_mfg_grid

stage, t = CosineGame(boundary="periodic"), np.linspace(0, 1, 81)


def cause_and_effect(bump):
    """Return a slope at the gate, and the density that it causes inside."""

    def walls(t, x):
        u_x, m_x = (
            stage.value_gradient(t, x)[0],
            stage.density_gradient(t, x)[0],
        )
        pulse = bump * np.exp(-(((t - 0.4) / 0.12) ** 2)) * (x < 0.2)
        return u_x + pulse, -stage.viscosity * m_x - stage.density(t, x) * u_x

    room = {"cells": 40, "steps": 40, "interval": (0.1, 0.4)}
    crowd = solve_mfg_grid(stage, boundary=walls, **room)
    return walls(t, 0.1)[0], crowd.density(t, 0.15)


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-gate-question", "caption": "The question, with three answers, of which A is the true one. Left: the slope at the left gate, which is what this chapter looks for. Right: the density that each would cause a little way into the room, and noisy reports of a sensor there. They tell A from B and C, because these differ much, and for long."}}
figure, panels = plt.subplots(1, 2, figsize=(9, 3.8))
for bump, name in ((0, "A"), (0.8, "B"), (-0.8, "C")):
    for axes, curve in zip(panels, cause_and_effect(bump), strict=True):
        axes.plot(t, curve, label=name)
rng = np.random.default_rng(0)
seen, noise = rng.random(24), 0.02 * rng.normal(size=24)
look = {"ls": "", "marker": "o", "mfc": "none", "color": COLORS[4]}
panels[1].plot(seen, stage.density(seen, 0.15) + noise, label="reports", **look)
panels[0].set(xlabel="time t", ylabel="slope (cost / length)")
panels[1].set(xlabel="time t", ylabel="density (agents / length)")
entries = panels[1].get_legend_handles_labels()
figure.legend(*entries, loc="outside lower center", ncols=4)
show(
    figure,
    alt="Left, three slopes over time: A rises slowly, B has a bump upward in "
    "the middle, C one downward. Right, the densities that they cause: A is a "
    "hollow, B has a hump in it, C is deeper. The dots follow A.",
)

# %% [markdown]
# ## What you will learn
#
# - what the density can tell about a boundary, and what it can never tell;
# - how to put a network and a grid solver into one loop, with exact derivatives of both;
# - why noise asks for a prior, and how the data can choose its strength;
# - whether a network is a better unknown than a spline;
# - why a PINN can find the right boundary without any data, and why that should worry you.

# %% [markdown]
# ## The room
#
# We take the game of {doc}`mfg_pinn` on the ring and look at the room $0.1 \le x \le 0.4$ only. In it
#
# $$
# -u_t - \nu u_{xx} + \tfrac12 u_x^2 = F(t, x, m), \qquad m_t - \nu m_{xx} - (m u_x)_x = 0,
# $$ (eq-room)
#
# with the running cost $F$, the terminal cost $u(T, \cdot) = g$ and the initial density $m(0, \cdot) = m_0$
# known in the room. At a gate two numbers are needed at each time, one for each equation: the *slope* $u_x$,
# which says how keen people are to move, and the *flux* $-\nu m_x - m u_x$, how many pass to the right per unit
# of time. Three of these four functions are known. The slope $s(t) = u_x(t, 0.1)$ is not; the room and
# the slope are in {numref}`fig-room`.

# %%
game, ROOM = CosineGame(boundary="periodic"), (0.1, 0.4)
times = np.linspace(0, game.horizon, 401)


# %%
def gates(t, x):
    """Return the exact slope and flux at a gate."""
    slope, m_x = game.value_gradient(t, x)[0], game.density_gradient(t, x)[0]
    return slope, -game.viscosity * m_x - game.density(t, x) * slope


def known(t, x):
    """Return what we are told: at the left gate no slope."""
    slope, flux = gates(t, x)
    return (np.nan * slope if x == ROOM[0] else slope), flux


slope = gates(times, ROOM[0])[0]  # the truth

# %% [markdown]
# The sensors stand at random places and report at random times. Their data come from the closed
# form, not from our grid: data made with the solver that later fits them would hide the error of
# that solver, which is known as the *inverse crime*. The noise is normal; its level is its standard
# deviation $\sigma$ relative to the root mean square of the density.


# %%
def observe(count, level, seed):
    """Return times, places and reports, and the size of their noise."""
    rng = np.random.default_rng((seed, count))
    t, x = rng.random(count), rng.uniform(*ROOM, count)
    m = game.density(t, x)
    sigma = level * np.sqrt(np.mean(m**2))
    return (t, x, m + sigma * rng.normal(size=count)), sigma


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-room", "caption": "Left: the density in the room, and 64 sensors (dots: each reports once, at its time). Right: the unknown slope at the left gate. It stays small until late."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
figure.get_layout_engine().set(wspace=0.1)
grid = np.linspace(0, 1, 101)[:, None], np.linspace(*ROOM, 61)
picture = {"origin": "lower", "extent": (0, 1, *ROOM), "aspect": "auto"}
picture["interpolation"] = "none"  # as it is, and so as small
shades = left.imshow(game.density(*grid).T, **picture)
figure.colorbar(shades, ax=left, label="density m (agents / length)")
(sensors_t, sensors_x, _), _ = observe(64, 0.0, 0)
left.plot(sensors_t, sensors_x, "o", ms=4, mfc="white", mec="black")
left.set(xlabel="time t", ylabel="position x (length)")
right.plot(times, slope)
right.set(xlabel="time t", ylabel="slope s (cost / length)")
show(
    figure,
    alt="Left, the density over time and position, high at the left gate at "
    "the start and at the end, with 64 dots scattered evenly. Right, the slope "
    "there: close to zero for half of the time, then growing ever faster.",
)

# %% [markdown]
# ## What can be seen, and what cannot
#
# The density depends on $u$ only through its slope. Whoever adds a constant to the terminal cost
# adds it to $u$ everywhere, and nobody moves differently. Let us try it: the same game, with an
# admission fee of three for all.

# %%
from dataclasses import dataclass


@dataclass(frozen=True)
class WithFee(CosineGame):
    """The same game; at the horizon everybody pays a fee."""

    def _terminal_cost(self, xp, t, x):
        return super()._terminal_cost(xp, t, x) + 3.0


# %%
options = {"cells": 40, "steps": 40, "boundary": gates, "interval": ROOM}
free, paid = (solve_mfg_grid(play, **options) for play in (game, WithFee()))

# %% tags=["hide-input"]
raised = float(np.min(paid.values - free.values))
note("fee_in_value", raised, "cost", at_least=2.999999, at_most=3.000001)
hidden = float(np.abs(paid.densities - free.densities).max())
unit, why = "agents / length", "rounding level"
note("fee_in_density", hidden, unit, at_most=1e-8, loose=why)
print(f"u is higher by {raised:.6f}, m changes by at most {hidden:.0e}")

# %% [markdown]
# So **a constant in $u$ cannot be learned from the density**, by any method, with any number of
# sensors. Here it comes from $g$. The same holds for a running cost $c(t)$ that all pay alike.
#
# What about the slope? If it changes by $\delta s$, the prediction at the sensors changes by
# $S\,\delta s$ in first order. Both discrete equations are sparse matrices; linearizing them and
# solving for a change on each of the time steps gives the *sensitivity* $S$, a row for each report and a
# column for each time step, exact for the grid, from one factorization of both. `wall_sensitivity` does
# that. The singular value decomposition $S/\sigma = \sum_i q_i\, p_i v_i^T$ sorts slopes by their effect:
# of a slope $s$, as a vector over the time steps, the reports show the component $v_i$ with a
# signal-to-noise ratio of $q_i |v_i^T s|$. {numref}`fig-components` shows components, as sensors everywhere would
# have them, and {numref}`fig-visible` how much of the true slope is to be seen in each.

# %%
from scipy.interpolate import RegularGridInterpolator

from opifex_tutorials.solvers.boundary_inverse import wall_sensitivity

steps, field = wall_sensitivity(free)
at = free.scheme.t, free.scheme.x
s = gates(steps, ROOM[0])[0]


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-components", "caption": "Components of the slope if sensors were everywhere: changes of the same norm, the one with the largest effect first. In brackets: the size of its effect, relative to that of the first. Slow changes have larger effects than fast ones, which average out on their way into the room."}}
q, v = np.linalg.svd(field.reshape(-1, len(steps)), full_matrices=False)[1:]
figure, panels = plt.subplots(1, 4, figsize=(9, 2.6), sharey=True)
for axes, n in zip(panels, (0, 1, 3, 11), strict=True):
    axes.plot(steps, v[n] * np.sign(v[n].sum()))
    axes.set(title=f"no. {n + 1} ({q[n] / q[0]:.2g})", xlabel="time t")
panels[0].set(ylabel="change of slope")
show(
    figure,
    alt="Four curves over time. The first is one broad hump, the second swings "
    "once, the fourth a few times, the twelfth fast.",
)

# %% [markdown]
# In code, for a draw of sensors:


# %%
def visibility(count, level, seed):
    """Return the signal of each component, and what it could be."""
    (t, x, _), sigma = observe(count, level, seed)
    options = {"bounds_error": False, "fill_value": None}
    S = RegularGridInterpolator(at, field, **options)((t, x))
    _, q, v = np.linalg.svd(S / sigma, full_matrices=False)
    return q * np.abs(v @ s), q * np.linalg.norm(s)


# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-visible", "caption": "What the reports show of the slope, component by component, for the poorest and the richest data that we will use. Dots: of the true slope. Line: what there would be to see of a slope of the same norm that had this component alone. Below the gray line the noise is larger."}}
figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
for axes, (count, level) in zip(panels, ((16, 0.05), (256, 0.01)), strict=True):
    signal, most = visibility(count, level, 0)
    number = 1 + np.arange(len(most))
    axes.plot(number, most, label="a slope as large")
    axes.plot(
        number, signal, "o", ms=4, color=COLORS[1], label="the true slope"
    )
    axes.axhline(1, color=COLORS[4], ls="-")
    axes.set(xlabel="component", xticks=number[4::5])
    axes.set_title(f"{count} sensors, noise {level:.0%}")
panels[0].set(ylabel="signal-to-noise ratio", yscale="log", ylim=(1e-3, 300))
panels[1].legend(loc="lower left")
show(
    figure,
    alt="Two panels, ratios against the number of the component on a "
    "logarithmic axis. With 16 sensors one dot lies above one; with 256 about "
    "eight do, most dots lie far below the line.",
)

# %% [markdown]
# How many components stand out from the noise, for five draws of sensors? There are as many components
# as time steps, 40, or as sensors if these are fewer.

# %% tags=["hide-input"]
from opifex_tutorials.comparison import spread

DATA, words = {"poor": (16, 0.05, 1, 3), "rich": (256, 0.01, 5, 18)}, []
for name, (count, level, least, most) in DATA.items():
    draws = [visibility(count, level, seed)[0] for seed in range(5)]
    seen = [np.sum(signal > 1) for signal in draws]
    bounds = {"at_least": least, "at_most": most}
    note(f"seen_{name}", np.median(seen), "components", **bounds)
    words.append(f"{name} data: {spread(seen)} components")
print("\n".join(words))

# %% [markdown]
# With 16 sensors and noise of five percent {glue:text}`boundary_learning.seen_poor:.0f` component of the slope
# stands out, with 256 and one percent {glue:text}`boundary_learning.seen_rich:.0f` (medians). What the others
# are has to come from elsewhere: from a *prior*, a preference that we state. The true slope, which we
# used here, is not known in practice; then one has the line of the figure only, which is generous.
#
# ## A network at the gate, a grid in the loop
#
# The terminal cost fixes the slope at the end, so that goes into the trial function:
#
# $$
# s_\theta(t) = g'(0.1) + (T - t)\,N_\theta(t).
# $$
#
# One hidden layer of 8 is plenty for one smooth curve: 25 weights. The prior is that slopes
# do not bend without need. With the reports $y_i$ and what the grid predicts for them, $m_i(s)$,
#
# $$
# \min_\theta\; \underbrace{\frac1n \sum_{i=1}^n \Bigl(\frac{m_i(s_\theta) - y_i}{\sigma}\Bigr)^2}_{\text{misfit}}
# \;+\; \frac{\alpha}{T} \int_0^T s_\theta''(t)^2\, dt .
# $$ (eq-gate-fit)
#
# The prediction is extrapolated from two grid solves; $S$, from the finer grid, is nearly its derivative. So
# linearize the game at the present slope, fit the network to the linearized game by Levenberg–Marquardt, solve
# the game again, and divide the weight $\alpha$ by four each time. This is the iteratively regularized
# Gauss–Newton method
# {cite}`bakushinskii1992`, and it needs no adjoint by hand and no graph through the solver. Nothing in
# it asks for a network: `SplineTrace`, a cubic spline with as many unknowns, can take its place. That
# is our classical neighbor, with the same solver, the same prior and the same rule for $\alpha$.
# {numref}`fig-loop` is the whole method.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-loop", "caption": "The method. A curve says what happens at the gate, a grid what the crowd makes of it, and the reports what is wrong with that. The sensitivity carries the misfit back to the curve; each turn trusts the reports more. The network (or spline) knows nothing of the equations, the grid nothing of the reports."}}
LOOP = {
    (0, 1): "curve $s_\\theta(t)$:\nnetwork or spline",
    (1, 1): "grid solves\nthe game",
    (2, 1): "density at\nthe sensors",
    (2, 0): "misfit,\nin units of $\\sigma$",
    (1, 0): "linearized game:\nsensitivity $S$",
    (0, 0): "fit $\\theta$, with prior;\n$\\alpha$ becomes $\\alpha/4$",
}
ARROWS = {(0.5, 1): "→", (1.5, 1): "→", (2, 0.5): "↓"}
ARROWS |= {(1.5, 0): "←", (0.5, 0): "←", (0, 0.5): "↑"}
figure, axes = plt.subplots(figsize=(7.6, 2.6))
look = {"ha": "center", "va": "center"}
for (x, y), text in LOOP.items():
    frame = {"boxstyle": "round,pad=0.5", "fc": "none", "ec": COLORS[1 - y]}
    axes.text(x, y, text, bbox=frame, fontsize=10, **look)
for place, arrow in ARROWS.items():
    axes.text(*place, arrow, fontsize=16, **look)
axes.set(xlim=(-0.45, 2.45), ylim=(-0.4, 1.4))
axes.axis("off")
show(
    figure,
    alt="A loop of six boxes: curve, grid, density at the sensors, misfit, "
    "sensitivity, fit, and back to the curve.",
)

# %% [markdown]
# In code, with what is known at the gates:

# %%
from opifex_tutorials.models.traces import NetworkTrace, SplineTrace
from opifex_tutorials.solvers import learn_boundary

KINDS, END = ("network", "spline"), {"horizon": 1.0, "final": slope[-1]}
KNOWN = {"boundary": known, "interval": ROOM}


# %%
def learn(kind, count, level, seed, **options):
    """Learn from noisy reports; exact ones are as good as the grid predicts."""
    data, sigma = observe(count, level, seed)
    trace = SplineTrace(25, **END)
    if kind == "network":
        trace = NetworkTrace((8,), seed=seed, **END)
    options = KNOWN | {"noise": sigma or 1e-5} | options
    return learn_boundary(game, trace, *data, **options)


example = learn("network", 64, 0.01, seed=0)

# %% [markdown]
# How small should $\alpha$ in {eq}`eq-gate-fit` be? The misfit cannot tell: it falls as long as there is something to fit,
# noise included. But fitting $k$ numbers removes the noise of $k$ of the $n$ reports on average, so that
# *misfit* $+\,2k/n$ estimates the misfit on fresh reports at the same places, for a linear fit and a known
# $\sigma$ {cite}`mallows1973`. The $k$ here is the trace of the matrix that maps reports to fitted values, and
# need not be whole. The smallest value wins, as in {numref}`fig-path`. No true solution is needed.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-path", "caption": "64 sensors, noise of one percent. Left: as the weight falls (to the right), the misfit falls on, but the estimated risk has a minimum (mark); the true error, which the method does not know, turns near it. Right: the slope learned there, and that with the last weight."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
keys = ("weight", "misfit", "risk", "parameters")
alphas, misfit, risk, found = zip(
    *([entry[key] for key in keys] for entry in example.path), strict=True
)
learned, best = [example.trace(p, times)[0] for p in found], np.argmin(risk)
wrong = np.linalg.norm(learned - slope, axis=1) / np.linalg.norm(slope)
curves = {"misfit": misfit, "risk": risk, "error of s": wrong}
for (label, curve), marker in zip(curves.items(), "os^", strict=True):
    left.loglog(alphas, curve, marker=marker, ms=4, label=label)
left.plot(alphas[best], risk[best], "o", ms=12, mfc="none", mec=COLORS[4])
left.set(xlabel=r"weight $\alpha$", ylabel="value (relative)")
left.invert_xaxis()
left.legend()
right.plot(times, slope, label="truth")
right.plot(times, learned[best], label="learned")
right.plot(times, learned[-1], label="last weight")
right.set(xlabel="time t", ylabel="slope s (cost / length)")
right.legend()
show(
    figure,
    alt="Left, against the falling weight: the misfit falls, the risk and the "
    "true error fall and then rise. Right, the learned slope runs close to the "
    "truth; with the last weight it swings around it.",
)

# %% [markdown]
# ## Exact reports
#
# Without noise there is left the error of the grid, and what 256 sensors and the prior leave open.
# (`learn_boundary` wants some noise; we tell it a little, `noise=1e-5`.) Five seeds; each has its own
# sensors and its own network.

# %%
from opifex_tutorials.comparison import compare
from opifex_tutorials.verification import exploitability, relative_l2


def error(learned):
    """Return the relative error of a learned slope."""
    return relative_l2(learned.slope(times), slope)


# %%
def from_exact(kind, seed):
    """Learn from exact reports."""
    return learn(kind, 256, 0.0, seed, cells=64, weights=8)


exact = compare(from_exact, KINDS)
exact.table("Exact reports: median and range of five seeds", error=error)

# %% [markdown]
# The learned boundary is a function of time and place, and `solve_mfg_grid` takes any such function. So
# hand it over, with 80 cells and steps: how much worse are value and density than with the exact gates?
# And what could an agent gain there who knows the true gate: the exploitability of {doc}`mfg_pinn`?


# %%
def driven(boundary, cells=80):
    """Return the errors of value and density, and the exploitability."""
    options = {"cells": cells, "steps": cells, "interval": ROOM}
    solution = solve_mfg_grid(game, boundary=boundary, **options)
    value = relative_l2(solution.value(*grid), game.value(*grid))
    density = relative_l2(solution.density(*grid), game.density(*grid))
    gain = exploitability(game, solution, boundary=gates, **options)
    return value, density, gain


# %%
own = driven(gates)
by_learned = [driven(learned) for learned in exact.runs["network"]]

# %% tags=["hide-input"]
worst, ratio = np.max(by_learned, axis=0), np.max(by_learned, axis=0) / own
for kind, most in (("network", 3e-4), ("spline", 5e-4)):
    found = exact.worst(error)[kind]
    note(f"exact_{kind}", found, "relative L2", at_most=most)
for name, found in zip(("value", "density"), ratio, strict=False):
    note(f"{name}_ratio", found, "ratio", at_most=1.5)
note("gain_exact", worst[2], "cost", at_most=1.4e-11)
note("exact_gates_gain", own[2], "cost", at_most=1e-12, loose="rounding level")
print(f"errors: value x {ratio[0]:.2f}, density x {ratio[1]:.2f} at worst")

# %% tags=["hide-input"]
from time import perf_counter

for kind in KINDS:
    clock = perf_counter()
    from_exact(kind, seed=0)
    note(f"exact_{kind}_seconds", perf_counter() - clock, "s")

# %% [markdown]
# The slope is right to {glue:text}`boundary_learning.exact_network:.1e` in the worst of five seeds, with the
# spline to {glue:text}`boundary_learning.exact_spline:.1e`. The grid solver hardly notices the difference
# between the network's slope and the true one: errors of $u$ and $m$ are at most
# {glue:text}`boundary_learning.value_ratio:.2f` and {glue:text}`boundary_learning.density_ratio:.2f` times
# those with the exact gates, and the exploitability is at most {glue:text}`boundary_learning.gain_exact:.1e`;
# with the exact gates it is {glue:text}`boundary_learning.exact_gates_gain:.1e`, which is rounding.
#
# ## Noise
#
# Now noise of one and of five percent, with 16, 64 and 256 sensors, for network and spline on the very
# same reports. The outcome is in {numref}`fig-noise`.

# %%
LEVELS, COUNTS = (0.01, 0.05), (16, 64, 256)
CASES = {
    f"{kind}, {level:.0%}, {count} sensors": (kind, count, level)
    for kind in KINDS
    for level in LEVELS
    for count in COUNTS
}


# %%
def from_noisy(case, seed):
    """Return error, freedom and exploitability."""
    learned = learn(*case, seed, cells=24)
    chosen = min(learned.path, key=lambda entry: entry["risk"])
    return error(learned), chosen["freedom"], driven(learned, cells=40)[2]


# %% [markdown]
# For each case the error of the slope, the degrees of freedom $k$ that the rule spent, and what an agent
# could gain who knows the true gate:

# %%
noisy = compare(from_noisy, CASES)
noisy.table(
    "Noisy reports: median and range of five seeds",
    error=lambda run: run[0],
    freedom=lambda run: run[1],
    exploitability=lambda run: run[2],
)

# %% [markdown]
# For scale: what could an agent gain if we had asked no sensor and said that the slope is zero?


# %%
def nobody_drawn(t, x):
    """Return what is known of a gate, and zero for the slope that is not."""
    slope, flux = known(t, x)
    return np.nan_to_num(slope), flux


unasked = driven(nobody_drawn, cells=40)[2]

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-noise", "caption": "Error of the learned slope against the number of sensors: median and range of five seeds. Network and spline have the same prior, and their lines coincide almost everywhere. A slope of zero has the error one (gray)."}}
measured = np.array([*noisy.measure(lambda run: run).values()])
shape = len(KINDS), len(LEVELS), len(COUNTS), 5, 3  # seeds, quantities
network, spline = measured.reshape(shape)
figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
for axes, level, *both in zip(panels, LEVELS, network, spline, strict=True):
    for index, (name, runs) in enumerate(zip(KINDS, both, strict=True)):
        seed_band(axes, COUNTS, runs[..., 0].T, name, index)
    axes.axhline(1, color=COLORS[4], ls="-", lw=1)
    axes.set(xscale="log", yscale="log", xlabel="sensors")
    axes.set_title(f"noise {level:.0%}")
    axes.set_xticks(COUNTS, COUNTS, minor=False)
    axes.minorticks_off()
panels[0].set(ylabel="relative L2 error of the slope")
panels[0].legend()
show(
    figure,
    alt="Two panels, noise of one and five percent. The error falls with the "
    "number of sensors in both, and is larger with more noise. The curves of "
    "network and spline coincide. With 16 sensors and five percent the band "
    "reaches above one.",
)

# %% tags=["hide-input"]
errors, chosen, gains = np.moveaxis(network, -1, 0)
medians, classical = np.median(errors, -1), np.median(spline[..., 0], -1)
bounds = {"one": (0.6, 0.2, 0.12), "five": (1.8, 0.8, 0.5)}
for i, (word, limits) in enumerate(bounds.items()):
    for count, found, most in zip(COUNTS, medians[i], limits, strict=True):
        note(f"{word}_percent_{count}", found, "relative L2", at_most=most)
    gain = np.median(gains[i], -1).max()
    note(f"gain_{word}_percent", gain, "cost", at_most=(1.5e-4, 1.3e-3)[i])
note("gain_unasked", unasked, "cost", at_least=3e-4)
worst = errors[1, 0].max()
note("five_percent_16_worst", worst, "relative L2", at_most=4)
bad = errors[1, 0] > 1
note("five_percent_16_failed", bad.sum(), "seeds", at_least=1, at_most=3)
assert chosen[1, 0, bad].min() > chosen[1, 0, ~bad].max()
assert gains[1, 0, bad].min() > unasked
for name, k, most in (("poor", chosen[1, 0], 3), ("rich", chosen[0, 2], 9)):
    bounds = {"at_least": most / 4, "at_most": most}
    note(f"freedom_{name}", np.median(k), "degrees of freedom", **bounds)
pairs = {"": (medians, classical), "_worst": (errors, spline[..., 0])}
for name, (one, other) in pairs.items():
    apart = np.maximum(one / other, other / one).max()
    note(f"network_to_spline{name}", apart, "ratio", at_most=1.5)

# %% tags=["hide-input"]
by_spline = classical[0, -1]
note("one_percent_256_spline", by_spline, "relative L2", at_most=0.12)
clocks = []
for kind in KINDS:
    clock = perf_counter()
    learn(kind, 256, 0.01, seed=0, cells=24)
    clocks.append(perf_counter() - clock)
    note(f"noisy_{kind}_seconds", clocks[-1], "s")
first = {"at_least": 1, "loose": "yes or no: the spline is sooner"}
note("spline_faster", clocks[0] / clocks[1], "ratio of times", **first)

# %% [markdown]
# The errors of network and spline differ by a factor of at most
# {glue:text}`boundary_learning.network_to_spline:.2f` in medians, and of
# {glue:text}`boundary_learning.network_to_spline_worst:.2f` in any single seed, in one direction or the other.
# That is the lesson: **with noise, the same prior and enough parameters, it does not matter much what carries
# the curve.** Here the prior does the work, and a spline can have it too: of its 25 unknowns the rule spends
# {glue:text}`boundary_learning.freedom_poor:.1f` degrees of freedom on the poor data and
# {glue:text}`boundary_learning.freedom_rich:.1f` on the rich ones (medians), where
# {glue:text}`boundary_learning.seen_poor:.0f` and {glue:text}`boundary_learning.seen_rich:.0f` components stood
# out. The spline is simpler, since the inner problem is linear; for this task it is what we would use.
#
# Nor does either get around the noise. With 16 sensors and five percent the median error is
# {glue:text}`boundary_learning.five_percent_16:.2f`, hardly below that of a slope of zero; in
# {glue:text}`boundary_learning.five_percent_16_failed:.0f` of the five seeds it is above, in the worst one
# {glue:text}`boundary_learning.five_percent_16_worst:.1f`. With so few reports the estimated risk is noisy as well, and
# in these seeds it chose more degrees of freedom than in the others, to fit the noise.
#
# In the game such an error costs little, because exploitability is quadratic in the error of the control. With
# the learned gate an agent could gain {glue:text}`boundary_learning.gain_one_percent:.0e` with noise of one
# percent and {glue:text}`boundary_learning.gain_five_percent:.0e` with five (largest of the medians). But a
# slope of zero, for which nobody needs a sensor, leaves no more than
# {glue:text}`boundary_learning.gain_unasked:.0e`: so the 16 sensors with noise of five percent are worth
# little, and in the seeds that failed less than nothing.
#
# ## A PINN for the whole room: hard or soft
#
# Inverse problems with PINNs are commonly set up without a grid. One network carries $u$ and $\log m$ over
# the room; the loss asks for both equations of {eq}`eq-room`, for the three known conditions at the gates, and for the
# reports. The slope at the left gate is simply not asked for. After the training one reads it off,
# $s(t) = u_x(t, 0.1)$.
#
# The terminal cost and the initial density can be *hard*, built into the trial functions as in
# {doc}`mfg_pinn`, or *soft*, two more terms of the loss. The package has both for a part of the domain,
# where nothing is asked for at the ends; the gates are ours to add. The flux divided by $m$ is
# $-\nu\,(\log m)_x - u_x$. The slope counts at the right gate only.

# %%
import torch

from opifex_tutorials.losses.games import hard, soft
from opifex_tutorials.losses.torch_system import Condition, Formulation


# %%
def at_gate(trial, t, gate):
    """Return the condition that what is known at a gate holds."""
    slope, flux = map(torch.from_numpy, known(t, gate))
    x = torch.full(t.shape, gate, dtype=torch.float64)

    def residuals(f):
        m, log_m_x = torch.exp(f.log_density[0]), f.log_density[2]
        u_x = f.value[2]
        found = [-game.viscosity * log_m_x - u_x - flux / m]
        return found if slope.isnan().any() else [*found, u_x - slope]

    return Condition(trial(torch.from_numpy(t), x), residuals)


# %% [markdown]
# The reports get a weight of ten, because the slope moves the density little.


# %%
def at_sensors(trial, t, x, m):
    """Return the condition that reports are met."""
    t, x, m = map(torch.from_numpy, (t, x, m))

    def misfit(f):
        return [10 * (torch.exp(f.log_density[0]) - m)]

    return Condition(trial(t, x), misfit)


# %% [markdown]
# Together they are a *formulation*, a function that makes conditions from the game:


# %%
def in_the_room(kind, data):
    """Return the formulation for a trial function and reports, or None."""

    def formulate(game):
        room = kind(game, ROOM)

        def conditions(sample, counts):
            t, asked = game.horizon * sample(counts[:1], 1)[:, 0], []
            if data is not None:
                asked.append(at_sensors(room.trial, *data))
            asked += [at_gate(room.trial, t, gate) for gate in ROOM]
            return [*room.conditions(sample, counts), *asked]

        return Formulation(room.trial, conditions)

    return formulate


# %% [markdown]
# Five seeds each, 160 steps of Levenberg–Marquardt, exact reports of 256 sensors. And because it costs
# little to be suspicious, a control: the same training with *no reports at all*. {numref}`fig-pinn` has
# all three.

# %%
from opifex_tutorials.solvers import solve_mfg_pinn

BUDGET = {"points": (24, 16), "steps": 160, "record_every": 20}


def wrong(solution):
    """Return the relative error of the slope at the left gate."""
    return relative_l2(-solution.control(times, ROOM[0]), slope)


# %%
def train(case, seed):
    """Train one network."""
    kind, reported = case
    data = observe(256, 0.0, seed)[0] if reported else None
    options = BUDGET | {"formulation": in_the_room(kind, data), "seed": seed}
    return solve_mfg_pinn(game, monitor=wrong, tolerance=np.inf, **options)


PINNS = {
    "hard": (hard, True),
    "soft": (soft, True),
    "no reports": (hard, False),
}
trained = compare(train, PINNS)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-pinn", "caption": "A PINN for the whole room finds the slope at the unknown gate: median and range of five seeds. Conditions built in start ahead of those in the loss. But the third curve has seen no report at all."}}
figure, axes = plt.subplots()
trained.draw(axes, against="steps")
axes.set(xlabel="steps of Levenberg–Marquardt", yscale="log")
axes.set(ylabel="relative L2 error of the slope")
axes.legend()
show(
    figure,
    alt="Three falling bands over the steps. Hard conditions lie below soft "
    "ones early; both become small. The band without reports falls more slowly "
    "and ends higher, but falls as well.",
)

# %% [markdown]
# Errors after a quarter of the budget, and at its end:

# %% tags=["hide-input"]
last = trained.median(lambda run: run.history.errors[-1])
early = trained.median(lambda run: run.history.errors[1])
limits = {"hard": ("hard", 8e-5), "soft": ("soft", 8e-5)}
limits["blind"] = ("no reports", 3.9e-2)
for key, (name, most) in limits.items():
    note(f"pinn_{key}", last[name], "relative L2", at_most=most)
worst = trained.worst(lambda run: run.history.errors[-1])["hard"]
note("pinn_hard_worst", worst, "relative L2", at_most=9e-5)
seconds = trained.median(lambda run: run.history.seconds[-1])["hard"]
note("pinn_hard_seconds", seconds, "s")
apart = exact.worst(error)["spline"] / worst
note("exact_spline_to_pinn", apart, "ratio of worst seeds", at_least=2)
lead, unit = early["soft"] / early["hard"], "ratio of medians"
note("soft_to_hard_early", lead, unit, at_least=1.7)
gain = last["no reports"] / last["hard"]
note("blind_to_hard", gain, unit, at_least=170)
least = min(medians.min(), classical.min()) / last["no reports"]
note("noisy_to_blind", least, unit, at_least=1.6)
trained.table(
    "A PINN for the room: median and range of five seeds",
    error_after_40_steps=lambda run: run.history.errors[1],
    error_at_the_end=lambda run: run.history.errors[-1],
)

# %% [markdown]
# After a quarter of the budget the soft version is {glue:text}`boundary_learning.soft_to_hard_early:.1f` times
# as wrong as the hard one (medians); in the end they reach
# {glue:text}`boundary_learning.pinn_hard:.0e` hard and {glue:text}`boundary_learning.pinn_soft:.0e` soft.
# With the same exact reports the spline is {glue:text}`boundary_learning.exact_spline_to_pinn:.1f` times as wrong as
# the hard version (worst seeds), after {glue:text}`boundary_learning.exact_spline_seconds:.1f` s where that takes
# {glue:text}`boundary_learning.pinn_hard_seconds:.1f` s. A finer grid behind the spline was not tried, nor a PINN with
# noisy reports.
#
# ### The right answer for the wrong reason
#
# Now the control. Without a single report the PINN finds the slope to
# {glue:text}`boundary_learning.pinn_blind:.0e` (median), better than either method above with noisy ones (the
# best of their medians is {glue:text}`boundary_learning.noisy_to_blind:.1f` times as large). Yet the problem that
# it was given *has no unique solution*. Let the slope have a pulse, $0.3\,e^{-((t - 0.4)/0.08)^2}$.
# The grid solves that game as well:


# %%
def pulsed(t):
    """Return the slope with the pulse."""
    return gates(t, ROOM[0])[0] + 0.3 * np.exp(-(((t - 0.4) / 0.08) ** 2))


def with_pulse(t, x):
    """Return slope and flux at a gate."""
    slope, flux = gates(t, x)
    return (pulsed(t) if x == ROOM[0] else slope), flux


FINE = {"cells": 100, "steps": 100, "boundary": with_pulse, "interval": ROOM}
other = solve_mfg_grid(game, **FINE)

# %% tags=["hide-input"]
unseen = relative_l2(slope, pulsed(times))
note("pulse", unseen, "relative L2", at_least=0.3)
moved = np.abs(other.density(*grid) - game.density(*grid)).max()
note("pulse_in_density", moved, "agents / length", at_least=0.1)
print(f"slopes differ by {unseen:.2f}, densities by up to {moved:.2f}")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-pulse", "caption": "Two games that a PINN without reports cannot tell apart. Left: their slopes at the gate, and the one curve that it gives for both (first seed). Right: how much larger the density is in the game with the pulse. A sensor inside of the patch would tell."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
blind = -trained.runs["no reports"][0].control(times, ROOM[0])
for curve, name in (
    (slope, "first game"),
    (pulsed(times), "with a pulse"),
    (blind, "PINN, no reports"),
):
    left.plot(times[::4], curve[::4], label=name)
left.set(xlabel="time t", ylabel="slope s (cost / length)")
figure.legend(loc="outside lower center", ncols=3)
difference = other.density(*grid) - game.density(*grid)
look = picture | {"cmap": "PuOr", "vmin": -moved, "vmax": moved}
mesh = right.imshow(difference.T, **look)
right.set(xlabel="time t", ylabel="position x (length)")
figure.colorbar(mesh, ax=right, label="difference (agents / length)")
show(
    figure,
    alt="Left, a smooth slope, the same with a bump in the middle of time, and "
    "the curve of the PINN, on the smooth one. Right, the difference of the "
    "densities: a patch at the gate while the pulse lasts, fading inward.",
)

# %% [markdown]
# All that the PINN without reports is told is the same in both games of {numref}`fig-pulse`: equations, $g$, $m_0$, both fluxes, the slope
# at the right. So it gives the same answer to both, and for the second one the smooth slope is wrong by
# {glue:text}`boundary_learning.pulse:.2f`. (The sensors could tell: densities differ by up to
# {glue:text}`boundary_learning.pulse_in_density:.2f`.)
#
# Why did it find ours? It is tempting to say that the corner $t = T$ fixes the slope backward, as a Taylor
# series would: there the HJB equation turns the derivatives of $g$ into $u_t$. But it needs $F(T, x, m(T, x))$,
# and the crowd at the end is not among the data. What is left, we think, is smoothness: among all slopes that
# satisfy the equations training finds one without a pulse, and ours, a simple closed form, has none. So a
# benchmark with a smooth closed form can be passed without the data. The reports do teach something: with them
# the error is {glue:text}`boundary_learning.blind_to_hard:.0f` times smaller (medians). But an error of
# {glue:text}`boundary_learning.pinn_blind:.0e` is no evidence of learning.
# **Before you believe an inverse PINN, train it once without the data.**
#
# ## Coming from inverse problems in DeepXDE
#
# The library {cite}`lu2021` sets up the same kind of problem. Its words and ours:
#
# | DeepXDE | here |
# |---|---|
# | `icbc.PointSetBC` with observed values | `t, x, density` of `learn_boundary`; the `Condition` at the sensors |
# | `icbc.NeumannBC`, `icbc.RobinBC`, `icbc.OperatorBC` | the two numbers that `boundary(t, x)` returns |
# | `dde.Variable`, or one more output of the network | `NetworkTrace`, `SplineTrace` |
# | `loss_weights` | $\sigma$, which we are told, and $\alpha$, which the data choose |
# | `net.apply_output_transform` | `"hard"` trial functions |
#
# There the PDE is a term of the loss; in `learn_boundary` the grid solves it at every step.
#
# ## Results
#
# Everything this chapter recorded, with the bounds that would have stopped the build.

# %% tags=["hide-input"]
close_chapter("boundary_learning")

# %% [markdown]
# ## Exercises
#
# ```{exercise} What the counters know
# :label: exercise-counters
#
# A warm-up. The counters at the gates report the flux, and $m_0$ is known. Without any sensor: how many people are in
# the room at time $t$? Check it with the exact density.
# ```

# %% [markdown]
# ````{solution-start} exercise-counters
# :class: dropdown
# ````
#
# Integrate the equation for $m$ in {eq}`eq-room` over the room: people come and go through the gates only. So their
# number is known, whatever draws them. Here it never changes: the middle of the room is a quarter of the ring, and
# both gates let the same flux through. So the counters tell how many people pass, but not where in the room they are.

# %% tags=["hide-input"]
places = np.linspace(*ROOM, 401)
inside = np.trapezoid(game.density(times[:, None], places), places)
net = gates(times, ROOM[0])[1] - gates(times, ROOM[1])[1]
steps_of_time = np.diff(times) * (net[1:] + net[:-1]) / 2
counted = inside[0] + np.append(0, np.cumsum(steps_of_time))
assert np.abs(counted - inside).max() < 1e-9
assert np.ptp(inside) < 1e-9
print(f"in the room: {counted[0]:.3f} at first, {counted[-1]:.3f} at the end")

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Who is right about the noise?
# :label: exercise-told-noise
#
# What happens if you tell `learn_boundary` a tenth of the true noise? What if ten times as much?
# Think first, then try it with 64 sensors.
# ```

# %% [markdown]
# ````{solution-start} exercise-told-noise
# :class: dropdown
# ````
#
# With a tenth, the misfit looks a hundred times as important, the rule spends more freedom on noise, and
# the slope wiggles. With ten times as much, it sees little worth fitting and returns a curve with hardly
# any bend.

# %% tags=["hide-input"]
data, sigma = observe(64, 0.01, 0)
told, words, spent = KNOWN | {"cells": 24}, [], []
for factor in (0.1, 1.0, 10.0):
    told["noise"] = factor * sigma
    found = learn_boundary(game, SplineTrace(25, **END), *data, **told)
    k = min(found.path, key=lambda entry: entry["risk"])["freedom"]
    words.append(f"noise x {factor:g}: k = {k:.1f}, error {error(found):.2f}")
    spent.append(k)
print("\n".join(words))
assert spent[0] > 2 * spent[1]
assert spent[2] < 1.5

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} A gate that opens for a moment
# :label: exercise-pulse
#
# Take reports of 256 sensors from the game with the pulse, with noise of a fifth of a percent, and learn
# the slope. Is the pulse found?
# ```

# %% [markdown]
# ````{solution-start} exercise-pulse
# :class: dropdown
# ````
#
# It is: the error is far below that of the smooth slope.

# %% tags=["hide-input"]
(t, x, _), sigma = observe(256, 0.002, 0)
noise = sigma * np.random.default_rng(1).normal(size=256)
trace, reports = NetworkTrace((8,), seed=0, **END), other.density(t, x) + noise
found = learn_boundary(game, trace, t, x, reports, noise=sigma, **KNOWN)
missed = relative_l2(found.slope(times), pulsed(times))
print(f"error {missed:.2f}, of the smooth slope {unseen:.2f}")
assert missed < 0.2 * unseen

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Where to put the sensors
# :label: exercise-placement
#
# A question of research: *design of experiments*. You may place 16 sensors, and choose when each reports; the noise is
# five percent. Choose them by the sensitivities, before any report is in. Do they see more than sensors at random? Is the
# learned slope better?
# ```

# %% [markdown]
# ````{solution-start} exercise-placement
# :class: dropdown
# ````
#
# Reports are worth most if they answer strongly and differently. The first is a long row of $S$, the second rows that
# point in different directions. A QR factorization of $S^T$ with column pivoting picks such rows one after the other,
# from all points of the grid. Here $S$ is linearized at the true slope, for simplicity; at the slope zero one has it
# before the first report.

# %% tags=["hide-input"]
from scipy.linalg import qr

rows = field.reshape(-1, len(steps))
chosen = qr(rows.T, mode="economic", pivoting=True)[2][:16]
t, x = (a.ravel()[chosen] for a in np.meshgrid(*at, indexing="ij"))
_, sigma = observe(16, 0.05, 0)
q, v = np.linalg.svd(rows[chosen] / sigma, full_matrices=False)[1:]
print(f"components seen: {np.sum(q * np.abs(v @ s) > 1)}")
print("where:", *(f"({a:.2f}, {b:.2f})" for a, b in zip(t, x, strict=True)))

# %% [markdown]
# It wants all sensors at the gate, early and late. Learned from reports there, for five draws of the noise, with the
# spline:

# %% tags=["hide-input"]
designed = []
for seed in range(5):
    noise = sigma * np.random.default_rng(seed).normal(size=16)
    told = {**KNOWN, "noise": sigma, "cells": 24}
    trace, y = SplineTrace(25, **END), game.density(t, x) + noise
    designed.append(error(learn_boundary(game, trace, t, x, y, **told)))
at_random = spline[1, 0, :, 0]
print(f"error, designed {spread(designed)}, at random {spread(at_random)}")
assert np.median(designed) < np.median(at_random) / 2

# %% [markdown]
# Much better, with the same number of reports. What remains to be asked: how far from the gate may the sensors be
# before the gain is lost, and does a design for one slope serve another?
#
# ````{solution-end}
# ````

# %% [markdown]
# ## Experiments to try
#
# - Move all sensors to the right half of the room. How far into the room does the gate reach?
# - And if the counter at the left gate fails? `wall_sensitivity(solution, "flux")` says what the density
#   shows of the flux. Which part of the effect of the slope could no change of the flux imitate?
# - Give the spline 8 unknowns, then 100. Does the number matter once the prior is there?
# - Train the PINN with noisy reports, and vary their weight. What plays the role of $\alpha$ there?
#
# ## Troubleshooting
#
# **`ConvergenceError` from the grid while learning.** A trial slope was too wild. Start with a larger
# weight, or check that `noise` is not far below the error of the reports.
#
# **The learned slope wiggles.** The noise was understated, or there are too few sensors for the rule; look
# at `freedom` in `path`.
#
# **The learned slope is a straight line.** The reports do not show more than that. Compare the
# signal-to-noise ratios with one before blaming the network.
#
# **The error stops falling although the reports are exact.** That is the grid: raise `cells`.
#
# ## Related chapters
#
# - {doc}`mfg_pinn` has the game, the grid scheme and exploitability.
# - {doc}`first_pinn` builds Levenberg–Marquardt step by step.
# - {doc}`../book/how_we_verify` explains bounds, the ledger and the independent references.
