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
# Can we learn the boundary condition from them? In short: with little noise yes, with much noise only what
# the sensors can see, and a spline does as well as a network.
#
# This is an *inverse problem*: the effect is given, the cause is asked for. A small network
# will represent the unknown function, and a grid solver will say what the crowd does if the network
# is right. Beside it stands the classical choice, a spline with as many unknowns. All of this is
# measured against a game whose boundary is known in closed form.

# %% [markdown]
# ## What you will learn
#
# - what the density can tell about a boundary, and what it can never tell;
# - how to put a network and a grid solver into one loop, with exact derivatives of both;
# - why noise asks for a prior, and how the data can choose its strength;
# - when a network is a better unknown than a spline, and when the two are the same;
# - why a PINN can find the right boundary without any data, and why that should worry you.

# %% [markdown]
# ## The room
#
# We take the game of {doc}`mfg_pinn` on the ring and look at the room $0.1 \le x \le 0.4$ only. In it
#
# $$
# -u_t - \nu u_{xx} + \tfrac12 u_x^2 = F(t, x, m), \qquad m_t - \nu m_{xx} - (m u_x)_x = 0,
# $$
#
# with the terminal cost $u(T, \cdot) = g$ and the initial density $m(0, \cdot) = m_0$ known in the room.
# At a gate two numbers are needed at each time, one for each equation: the *slope* $u_x$, which says
# how keen people are to move, and the *flux* $-\nu m_x - m u_x$, how many pass to the right per
# unit of time. Three of these four functions are known. The slope $s(t) = u_x(t, 0.1)$ is not.

# %%
import matplotlib.pyplot as plt
import numpy as np

from opifex_tutorials.plotting import COLORS, MARKERS, seed_band, show, style
from opifex_tutorials.problems.mean_field_games import CosineGame
from opifex_tutorials.results import close_chapter, record
from opifex_tutorials.solvers import learn_boundary, solve_mfg_grid
from opifex_tutorials.verification import exploitability, relative_l2

style()
game = CosineGame(viscosity=0.1, alpha=0.6, beta=0.6, horizon=1.0, boundary="periodic")
ROOM = (0.1, 0.4)


def gates(t, x):
    """Return the exact slope and flux at a gate."""
    slope, m_x = game.value_gradient(t, x)[0], game.density_gradient(t, x)[0]
    return slope, -game.viscosity * m_x - game.density(t, x) * slope


def known(t, x):
    """Return what we are told: the slope at the left gate is missing."""
    slope, flux = gates(t, x)
    return (np.nan * slope if x == ROOM[0] else slope), flux


# %% [markdown]
# The sensors stand at random places and report at random times. Their data come from the closed
# form, not from our grid: data made with the solver that later fits them would hide the error of
# that solver, which is known as the *inverse crime*. The level of the noise is relative to the root
# mean square of the density.

# %%
times = np.linspace(0, game.horizon, 401)
slope = gates(times, ROOM[0])[0]


def observe(count, level, seed):
    """Return times, places and densities that the sensors report, and the size of the noise."""
    rng = np.random.default_rng((seed, count))
    t, x = rng.random(count), rng.uniform(*ROOM, count)
    m = game.density(t, x)
    sigma = level * np.sqrt(np.mean(m**2))
    return (t, x, m + sigma * rng.normal(size=count)), sigma


# %% mystnb={"figure": {"name": "fig-room", "caption": "Left: the density in the room, and 64 sensors (dots: each reports once, at its time). Right: the unknown slope at the left gate. It is nearly zero until late, and so are its effects."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
figure.get_layout_engine().set(wspace=0.1)
t, x = np.meshgrid(np.linspace(0, 1, 101), np.linspace(*ROOM, 61), indexing="ij")
shades = left.contourf(t, x, game.density(t, x), levels=12)
figure.colorbar(shades, ax=left, label="density m (agents / length)")
(sensors_t, sensors_x, _), _ = observe(64, 0.0, 0)
left.plot(sensors_t, sensors_x, "o", ms=4, mfc="white", mec="black")
left.set(xlabel="time t", ylabel="position x (length)")
right.plot(times, slope)
right.set(xlabel="time t", ylabel="slope s (cost / length)")
show(
    figure,
    alt="Left, the density over time and position, high at the left gate at the start and at the "
    "end, with 64 dots scattered evenly. Right, the slope at the left gate: close to zero for half "
    "of the time, then growing ever faster until the horizon.",
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


options = {"cells": 40, "steps": 40, "boundary": gates, "interval": ROOM}
free, paid = solve_mfg_grid(game, **options), solve_mfg_grid(WithFee(), **options)
raised = float(np.min(paid.values - free.values))
record("boundary_learning.fee_in_value", raised, at_least=2.999999, at_most=3.000001, unit="cost")
hidden = float(np.abs(paid.densities - free.densities).max())
record("boundary_learning.fee_in_density", hidden, at_most=1e-8, unit="agents / length")
print(f"u is higher by {raised:.6f} everywhere, m changes by at most {hidden:.0e}")

# %% [markdown]
# So **a constant in $u$ cannot be learned from the density**, by any method, with any number of
# sensors. Here it comes from $g$. The same holds for a running cost $c(t)$ that all pay alike.
#
# What about the slope? If it changes by $\delta s$, the prediction at the sensors changes by
# $S\,\delta s$ in first order. Both discrete equations are sparse matrices; linearizing them and
# solving for a change on each of the time steps gives the *sensitivity* $S$, exact for the grid, for
# about the cost of one more Newton step. `wall_sensitivity` does that, for the slope or for the flux.
# Divide by the noise $\sigma$ of a report and scale by the root mean square of the true slope; then
# the singular values are signal-to-noise ratios. A direction in the space of slopes can be seen if
# its value is above one. That is generous: it supposes that all of the slope points that way.

# %%
from scipy.interpolate import RegularGridInterpolator

from opifex_tutorials.solvers.boundary_inverse import wall_sensitivity

scheme = free.scheme
fields = {
    "slope": wall_sensitivity(free)[1],
    "flux": wall_sensitivity(free, "flux")[1],
    "constant": (paid.densities - free.densities)[..., None] / 3.0,
}


def effects(count, level, name="slope"):
    """Return S, scaled: reports by their noise, slopes by the size of the true one."""
    (t, x, _), sigma = observe(count, level, 0)
    field = RegularGridInterpolator(
        (scheme.t, scheme.x), fields[name], bounds_error=False, fill_value=None
    )
    return field((t, x)) * np.sqrt(np.mean(slope**2) / scheme.dt) / sigma


def visibility(*case):
    """Return the signal-to-noise ratio of each direction."""
    return np.linalg.svd(effects(*case), compute_uv=False)


# %% mystnb={"figure": {"name": "fig-visible", "caption": "What sensors can see of the slope when the noise is one percent: directions above the solid gray line. With noise of five percent the line moves up to the dashed one. A constant in u lies at rounding."}}
figure, axes = plt.subplots()
for count, color, marker in zip((16, 64, 256), COLORS, MARKERS, strict=False):
    ratios = visibility(count, 0.01)
    label = f"slope, {count} sensors"
    axes.plot(
        np.arange(len(ratios)) + 1, ratios, color=color, marker=marker, ms=4, ls="-", label=label
    )
constant = max(visibility(256, 0.01, "constant")[0], 1e-16)
axes.plot(1, constant, "D", color=COLORS[3], ms=7, label="constant, 256 sensors")
axes.axhline(1, color=COLORS[4], ls="-")
axes.axhline(5, color=COLORS[4], ls="--")
axes.set(xlabel="direction", ylabel="signal-to-noise ratio", yscale="log")
axes.legend(loc="center right")
show(
    figure,
    alt="Ratios against the number of the direction, on a logarithmic axis. The more sensors, the "
    "higher the curve; those of 16 and 64 sensors begin above one and end far below. The constant "
    "lies many orders of magnitude below everything else.",
)

# %% [markdown]
# Count them, for the poorest and the richest data that we will use.

# %%
poor, rich = (int(np.sum(visibility(*data) > 1)) for data in ((16, 0.05), (256, 0.01)))
record("boundary_learning.visible_poor", poor, at_least=1, at_most=6, unit="directions")
record("boundary_learning.visible_rich", rich, at_least=20, at_most=40, unit="directions")
record("boundary_learning.visible_constant", constant, at_most=1e-6, unit="signal / noise")
print(f"{poor} directions from 16 sensors at 5 %, {rich} from 256 at 1 %, constant {constant:.0e}")

# %% [markdown]
# Linearized at the truth, and for these sensors, about {glue:text}`boundary_learning.visible_poor:.0f` directions
# of the slope stand out from the noise with 16 sensors and five percent; with 256 and one percent,
# {glue:text}`boundary_learning.visible_rich:.0f` of the 40 that this grid has. Everything else about the curve has to come from elsewhere: from a *prior*, a preference
# that we state.
#
# And the counter at the gate, do we need it? Suppose that the flux there is unknown as well. What part of the
# effect of the slope could no change of the flux imitate? Remove what the columns for the flux span.

# %%
from_slope, from_flux = (effects(64, 0.01, name) for name in ("slope", "flux"))
basis, sizes, _ = np.linalg.svd(from_flux, full_matrices=False)
basis = basis[:, sizes > 1e-8 * sizes[0]]
own = np.linalg.svd(from_slope - basis @ (basis.T @ from_slope), compute_uv=False)
counter = visibility(64, 0.01)[0] / own[0]
record("boundary_learning.worth_of_counter", counter, at_least=3, unit="ratio")
before, after = int(np.sum(visibility(64, 0.01) > 1)), int(np.sum(own > 1))
record("boundary_learning.visible_counted", before, at_least=20, at_most=34, unit="directions")
record("boundary_learning.visible_uncounted", after, at_least=2, at_most=14, unit="directions")
print(f"with a counter {before} directions can be seen, without one {after}")

# %% [markdown]
# With 64 sensors and noise of one percent the strongest ratio falls by a factor of
# {glue:text}`boundary_learning.worth_of_counter:.1f`, and the number of visible directions from
# {glue:text}`boundary_learning.visible_counted:.0f` to {glue:text}`boundary_learning.visible_uncounted:.0f`: people who
# would stay away and people who were not let in are hard to tell apart. (The flux may be anything here;
# its 40 unknowns alone use up most of the 64 reports.) So we keep the counter.
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
# $$
#
# The prediction is extrapolated from two grid solves; $S$, from the finer grid, is nearly its derivative. So linearize the game at the present slope,
# fit the network to the linearized game by Levenberg–Marquardt (which costs nothing next to the
# solve), solve again, and divide the weight $\alpha$ by four each time. This is the
# iteratively regularized Gauss–Newton method {cite}`bakushinskii1992`, and it needs no adjoint by hand
# and no graph through the solver. Nothing in it asks for a network: `SplineTrace`, a cubic spline
# with as many unknowns, can take its place. That is our classical neighbor, with the same solver, the same
# prior and the same rule for $\alpha$.

# %%
from opifex_tutorials.models.traces import NetworkTrace, SplineTrace

END = float(slope[-1])  # g'(0.1), known from the terminal cost


def learn(kind, count, level, seed, **options):
    """Learn the slope from noisy reports; exact ones are as good as the grid predicts them."""
    data, sigma = observe(count, level, seed)
    if kind == "network":
        trace = NetworkTrace((8,), horizon=1.0, final=END, seed=seed)
    else:
        trace = SplineTrace(25, horizon=1.0, final=END)
    options |= {"noise": sigma or 1e-5, "boundary": known, "interval": ROOM}
    return learn_boundary(game, trace, *data, **options)


example = learn("network", 64, 0.01, seed=0)
assert len(example.parameters) == len(SplineTrace(25, horizon=1.0, final=END).start) == 25
print(f"relative error of the slope {relative_l2(example.slope(times), slope):.2f}")

# %% [markdown]
# How small should $\alpha$ be? The misfit cannot tell: it falls as long as there is something to fit,
# noise included. But of $n$ reports, fitting $k$ numbers removes $k$ parts of noise on average, so that
# *misfit* $+\,2k/n$ estimates the misfit on fresh reports at the same places, for a linear fit and a known
# $\sigma$ {cite}`mallows1973`. The $k$ here is the trace of the matrix that maps reports to fitted values, and
# need not be whole. The smallest value wins. No true solution is needed.

# %% mystnb={"figure": {"name": "fig-path", "caption": "64 sensors, noise of one percent. Left: as the weight falls (to the right), the misfit falls on, but the estimated risk has a minimum (mark); the true error, which the method does not know, turns near it. Right: the slope learned there, and that with the last weight."}}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
path, best = example.path, np.argmin([entry["risk"] for entry in example.path])
alphas = [entry["weight"] for entry in path]
wrong = [relative_l2(example.trace(e["parameters"], times)[0], slope) for e in path]
curves = {name: [entry[name] for entry in path] for name in ("misfit", "risk")}
for (label, curve), marker in zip((curves | {"error of s": wrong}).items(), "os^", strict=True):
    left.plot(alphas, curve, marker=marker, ms=4, label=label)
left.plot(alphas[best], curves["risk"][best], "o", ms=12, mfc="none", mec=COLORS[4])
left.set(xlabel=r"weight $\alpha$", ylabel="value (relative)", xscale="log", yscale="log")
left.invert_xaxis()
left.legend()
right.plot(times, slope, label="truth")
right.plot(times, example.slope(times), label="learned")
right.plot(times, example.trace(path[-1]["parameters"], times)[0], label="least weight")
right.set(xlabel="time t", ylabel="slope s (cost / length)")
right.legend()
show(
    figure,
    alt="Left, three curves against the falling weight: the misfit falls, the risk falls and then "
    "rises, the true error falls and then rises. Right, the learned slope runs close to the truth; "
    "with the least weight it swings around it.",
)

# %% [markdown]
# ## Exact reports
#
# Without noise the only error left is that of the grid. `learn_boundary` extrapolates its prediction from
# two grids, since the error of the scheme is quadratic in the cell. 256 sensors, five seeds; each seed has
# its own sensors and its own network.

# %%
from opifex_tutorials.parallel import side_by_side

SEEDS, KINDS = range(5), ("network", "spline")


def slope_error(case):
    """Return the relative error of the slope that was learned, and what was learned."""
    learned = learn(*case[:4], cells=case[4], weights=10)
    return relative_l2(learned.slope(times), slope), learned


cases = [(kind, 256, 0.0, seed, 64) for kind in KINDS for seed in SEEDS]
exact = side_by_side(slope_error, cases, "exact reports")
for kind, runs in zip(KINDS, (exact[:5], exact[5:]), strict=True):
    found = [error for error, _ in runs]
    worst = record(f"boundary_learning.exact_{kind}", max(found), at_most=1e-3, unit="relative L2")
    print(f"{kind}: median {np.median(found):.1e}, worst {worst:.1e}")
of_network, of_spline = np.reshape([error for error, _ in exact], (2, 5))
ratio = np.median(of_spline) / np.median(of_network)
record("boundary_learning.exact_spline_to_network", ratio, at_least=1.0, unit="ratio of medians")

# %% [markdown]
# The learned boundary is a function of time and place, and `solve_mfg_grid` takes any such function. So
# hand it over, with 80 cells and steps: how much worse are value and density than with the exact gates?

# %%
GRID = {"cells": 80, "steps": 80, "interval": ROOM}


def grid_errors(boundary):
    """Return the errors of value and density, and the exploitability at the exact gates."""
    solution = solve_mfg_grid(game, boundary=boundary, **GRID)
    t, x = np.linspace(0, 1, 51)[:, None], np.linspace(*ROOM, 121)
    value = relative_l2(solution.value(t, x), game.value(t, x))
    density = relative_l2(solution.density(t, x), game.density(t, x))
    return value, density, exploitability(game, solution, boundary=gates, **GRID)


own = grid_errors(gates)
driven = np.array([grid_errors(learned) for _, learned in exact[:5]])
for name, column, error in zip(("value", "density"), driven.T, own, strict=False):
    record(f"boundary_learning.{name}_ratio", column.max() / error, at_most=1.5, unit="ratio")
    print(f"{name}: exact gates {error:.1e}, learned gate {column.max():.1e} at worst")
record("boundary_learning.exact_gates_gain", own[2], at_most=1e-12, unit="cost")
gain = record("boundary_learning.gain_exact", driven[:, 2].max(), at_most=1e-10, unit="cost")
print(f"exploitability: exact gates {own[2]:.1e}, learned gate {gain:.1e} at worst")

# %% [markdown]
# The slope is right to {glue:text}`boundary_learning.exact_network:.1e` in the worst of five seeds, and the
# grid solver hardly notices the difference: errors of $u$ and $m$ are
# {glue:text}`boundary_learning.value_ratio:.2f` and {glue:text}`boundary_learning.density_ratio:.2f` times those with
# the exact gates. The spline reaches {glue:text}`boundary_learning.exact_spline:.1e`; its median error
# is {glue:text}`boundary_learning.exact_spline_to_network:.1f` times that of the network. This is the one
# comparison with the spline that the network wins.
#
# ## Noise
#
# Now noise of one and of five percent, with 16, 64 and 256 sensors, for network and spline on the very same
# reports. For each network we also let the grid solver play the game with the learned gate, and
# ask what one agent could gain who knows the true one: the exploitability of {doc}`mfg_pinn`.

# %%
LEVELS, COUNTS = (0.01, 0.05), (16, 64, 256)


def noisy(case):
    """Return the error of the slope and the exploitability of what the grid makes of it."""
    kind = case[0]
    error, learned = slope_error((*case, 24))
    return error, grid_errors(learned)[2] if kind == "network" else np.nan


cases = [(k, n, level, s) for k in KINDS for level in LEVELS for n in COUNTS for s in SEEDS]
table = np.reshape(side_by_side(noisy, cases, "noisy reports"), (2, 2, 3, 5, 2))
network, spline = table[..., 0]

# %% mystnb={"figure": {"name": "fig-noise", "caption": "Error of the learned slope against the number of sensors: median and range of five seeds. Network and spline have the same prior."}}
figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
for axes, level, of_network, of_spline in zip(panels, LEVELS, network, spline, strict=True):
    seed_band(axes, COUNTS, of_network.T, "network", 0)
    seed_band(axes, COUNTS, of_spline.T, "spline", 1)
    axes.set(xscale="log", yscale="log", xlabel="sensors", title=f"noise {100 * level:.0f} %")
    axes.set_xticks(COUNTS, COUNTS, minor=False)
    axes.minorticks_off()
panels[0].set(ylabel="relative L2 error of the slope")
panels[0].legend()
show(
    figure,
    alt="Two panels, noise of one and five percent. The error falls with the number of sensors in "
    "both, and is larger with more noise. The curves of network and spline are close.",
)

# %% [markdown]
# Numbers for each panel: the median over seeds, the worst seed, and network against spline.

# %%
ratio = np.median(network, -1) / np.median(spline, -1)
record("boundary_learning.network_to_spline", ratio.max(), at_most=2.0, unit="ratio of medians")
worst = (network / spline).max()
record("boundary_learning.network_to_spline_worst", worst, at_most=3.0, unit="ratio of errors")
gains = np.median(table[0, ..., 1], -1)
bounds = {"one": (0.6, 0.2, 0.12), "five": (1.8, 0.8, 0.5)}
for i, (word, limits) in enumerate(bounds.items()):
    for j, (count, limit) in enumerate(zip(COUNTS, limits, strict=True)):
        key, error = f"boundary_learning.{word}_percent_{count}", np.median(network[i, j])
        record(key, error, at_most=limit, unit="relative L2")
        print(
            f"{LEVELS[i]:.0%}, {count:3d} sensors: {error:.3f}, worst {network[i, j].max():.3f}",
            end="",
        )
        print(f"; spline {np.median(spline[i, j]):.3f}; exploitability {gains[i, j]:.0e}")
    key = f"boundary_learning.gain_{word}_percent"
    record(key, gains[i].max(), at_most=(3e-4, 3e-3)[i], unit="cost")

# %% [markdown]
# The network is at most {glue:text}`boundary_learning.network_to_spline:.2f` times as wrong as the spline, in
# medians, and {glue:text}`boundary_learning.network_to_spline_worst:.2f` times for the worst seed.
# That is the lesson: **with the same prior and enough parameters, it does not matter much what carries
# the curve.** Here the prior does the work, and a spline can have it too.
# The spline is simpler, since the inner problem is linear; for this task it is what we would use.
#
# Nor does either beat the data. With 16 sensors and five percent the error is
# {glue:text}`boundary_learning.five_percent_16:.2f`: the slope was hardly seen, as the singular values had
# announced. Yet the game forgives it. With the learned gate an agent could gain at most
# {glue:text}`boundary_learning.gain_one_percent:.0e` with noise of one percent,
# {glue:text}`boundary_learning.gain_five_percent:.0e` with five (largest of the medians), because
# exploitability is quadratic in the error of the control. With exact reports it was
# {glue:text}`boundary_learning.gain_exact:.0e`.
#
# ## A PINN for the whole room: hard or soft
#
# Most inverse problems with PINNs are set up without a grid. One network carries $u$ and $\log m$ over
# the room; the loss asks for both equations, for the three known conditions at the gates, and for the
# reports. The slope at the left gate is simply not asked for. After the training one reads it off,
# $s(t) = u_x(t, 0.1)$.
#
# The terminal cost and the initial density can be *hard*, built into the trial functions as in
# {doc}`mfg_pinn`, or *soft*, two more terms of the loss. Which is better after the same number of steps? To the trial
# functions of the package the room is a game of its own, whose walls ask for nothing.

# %%
import torch

from opifex_tutorials.losses.mean_field_games import Condition, GameSystem, conditions, gauss
from opifex_tutorials.models.mean_field_trials import TRIALS

WIDTHS = (2, 12, 12, 12, 2)


class Room:
    """The game with the room for its box."""

    boundary, bounds = "exact", {"t": (0.0, game.horizon), "x": ROOM}

    def __getattr__(self, name):
        return getattr(game, name)


def at(formulation, t, x):
    """Return the trial function at points."""
    x = np.broadcast_to(x, t.shape).copy()
    return TRIALS[formulation](Room(), torch.from_numpy(t), [torch.from_numpy(x)])


# %% [markdown]
# The flux at a gate, divided by $m$, is $-\nu\,(\log m)_x - u_x$; the slope counts at the right gate only.
# The reports get a weight of ten, because the slope moves the density little.


# %%
def least_squares(formulation, data):
    """Return equations, gates and (unless None) reports as a least-squares problem."""
    asked = conditions(Room(), formulation, gauss, (24, 16))
    t = gauss((24,), 1)[:, 0]
    for gate in ROOM:
        slope, flux = map(torch.from_numpy, known(t, gate))

        def residuals(f, slope=slope, flux=flux):
            m, log_m_x, u_x = torch.exp(f.log_density[0]), f.log_density[2], f.value[2]
            found = [-game.viscosity * log_m_x - u_x - flux / m]
            return found if slope.isnan().any() else [*found, u_x - slope]

        asked.append(Condition(at(formulation, t, gate), residuals))
    if data is not None:
        m = torch.from_numpy(data[2])
        reports = Condition(
            at(formulation, *data[:2]), lambda f: [10 * (torch.exp(f.log_density[0]) - m)]
        )
        asked.append(reports)
    return GameSystem(asked, WIDTHS)


# %% [markdown]
# Five seeds each, 160 steps of Levenberg–Marquardt, exact reports of 256 sensors. And because it costs nothing
# to be suspicious, a control: the same training with *no reports at all*.

# %%
from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.training.levenberg_marquardt import (
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)

STEPS = np.arange(20, 161, 20)


def train(case):
    """Return the error of the slope at the recorded steps."""
    formulation, reported, seed = case
    system = least_squares(formulation, observe(256, 0.0, seed)[0] if reported else None)
    weights = torch.nn.utils.parameters_to_vector(MLP(WIDTHS, seed=seed).parameters())
    state, errors = LevenbergMarquardtState(weights.detach().numpy()), []
    gate = at(formulation, times, ROOM[0])
    for step in range(1, STEPS[-1] + 1):
        state = levenberg_marquardt_step(system, state)
        if step in STEPS:
            outputs = jets.network(torch.from_numpy(state.parameters), WIDTHS, gate.features)
            errors.append(relative_l2(gate(outputs).value[2].numpy(), slope))
    return errors


# %% mystnb={"figure": {"name": "fig-pinn", "caption": "A PINN for the whole room finds the slope at the unknown gate. Conditions built in start ahead of those in the loss. But the third curve has seen no report at all."}}
kinds = {"hard": ("hard", True), "soft": ("soft", True), "hard, no reports": ("hard", False)}
cases = [(*kind, seed) for kind in kinds.values() for seed in SEEDS]
trained = dict(zip(kinds, np.reshape(side_by_side(train, cases, "PINNs"), (3, 5, -1)), strict=True))
figure, axes = plt.subplots()
for index, (label, errors) in enumerate(trained.items()):
    seed_band(axes, STEPS, errors, label, index)
axes.set(
    xlabel="steps of Levenberg–Marquardt", ylabel="relative L2 error of the slope", yscale="log"
)
axes.legend()
show(
    figure,
    alt="Three falling bands over the steps. Hard conditions lie below soft ones early; both "
    "become small. The band without reports falls more slowly and ends higher, but falls as well.",
)

# %% [markdown]
# The last recorded step, and the lead of the hard version after a quarter of the budget:

# %%
for name, errors in zip(("hard", "soft", "blind"), trained.values(), strict=True):
    bound = {"hard": 1e-3, "soft": 2e-3, "blind": 0.1}[name]
    final = record(
        f"boundary_learning.pinn_{name}",
        np.median(errors[:, -1]),
        at_most=bound,
        unit="relative L2",
    )
    print(f"{name}: median {final:.1e}, worst {errors[:, -1].max():.1e}")
early = np.median(trained["soft"][:, 1]) / np.median(trained["hard"][:, 1])
record("boundary_learning.soft_to_hard_early", early, at_least=1.2, unit="ratio of medians")
hard, _, blind = (np.median(errors[:, -1]) for errors in trained.values())
record("boundary_learning.blind_to_hard", blind / hard, at_least=10, unit="ratio of medians")
least_noisy = np.median(network, -1).min() / blind
record("boundary_learning.noisy_to_blind", least_noisy, at_least=1.2, unit="ratio of medians")

# %% [markdown]
# After a quarter of the budget the soft version is {glue:text}`boundary_learning.soft_to_hard_early:.1f` times as
# wrong as the hard one (medians); in the end they reach
# {glue:text}`boundary_learning.pinn_hard:.0e` hard and {glue:text}`boundary_learning.pinn_soft:.0e` soft.
#
# ### The right answer for the wrong reason
#
# Now the control. Without a single report the PINN finds the slope to
# {glue:text}`boundary_learning.pinn_blind:.0e`, better than either method above with noisy ones (the best of their
# medians is {glue:text}`boundary_learning.noisy_to_blind:.1f` times as large). Yet the problem that
# it was given *has no unique solution*: for other slopes there are equilibria, too, and the exercise
# solves for one. Why this one?
#
# Because the network is a smooth function, and ours, as most closed forms, is the smooth solution. At
# $t = T$ the HJB equation turns the derivatives of $g$ into $u_t$, its time derivative into $u_{tt}$, and so
# on: the corner fixes all time derivatives of the slope there, and a small smooth network continues them
# backward, as a Taylor series would. A slope that differs only at earlier times contradicts none of the
# equations; the network just does not try it. So a benchmark with a smooth closed form can be passed by
# smoothness alone. The reports do teach something: with them the error is
# {glue:text}`boundary_learning.blind_to_hard:.0f` times smaller. But an error of
# {glue:text}`boundary_learning.pinn_blind:.0e` is no evidence of learning.
# **Before you believe an inverse PINN, train it once without the data.**
# The exercise below gives the gate a pulse of which the corner knows nothing.
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

# %%
close_chapter("boundary_learning")

# %% [markdown]
# ## Exercises
#
# ```{exercise} A gate that opens for a moment
# :label: exercise-pulse
#
# Add a pulse $0.3\,e^{-((t - 0.4)/0.08)^2}$ to the slope at the left gate. There is no closed form any more; make
# the reports with a grid of 100 cells, add noise, and learn the slope. Is the pulse found?
# ```

# %% [markdown]
# ````{solution-start} exercise-pulse
# :class: dropdown
# ````
#
# It is, with noise of a fifth of a percent.


# %% tags=["hide-input"]
def pulsed(t):
    """Return the slope with the pulse."""
    return gates(t, ROOM[0])[0] + 0.3 * np.exp(-(((t - 0.4) / 0.08) ** 2))


truth = solve_mfg_grid(
    game,
    cells=100,
    steps=100,
    boundary=lambda t, x: (pulsed(t) if x == ROOM[0] else gates(t, x)[0], gates(t, x)[1]),
    interval=ROOM,
)
(t, x, _), sigma = observe(256, 0.002, 0)
reports = truth.density(t, x) + sigma * np.random.default_rng(1).normal(size=256)
trace = NetworkTrace((8,), horizon=1.0, final=END, seed=0)
found = learn_boundary(game, trace, t, x, reports, noise=sigma, boundary=known, interval=ROOM)
print(f"error {relative_l2(found.slope(times), pulsed(times)):.2f}, ", end="")
print(f"of the smooth slope {relative_l2(slope, pulsed(times)):.2f}")
assert relative_l2(found.slope(times), pulsed(times)) < 0.5 * relative_l2(slope, pulsed(times))

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Who is right about the noise?
# :label: exercise-noise
#
# What happens if you tell `learn_boundary` a tenth of the true noise? What if ten times as much?
# Think first, then try it with 64 sensors.
# ```

# %% [markdown]
# ````{solution-start} exercise-noise
# :class: dropdown
# ````
#
# With a tenth, the misfit looks a hundred times as important, the rule spends more freedom on noise, and the slope
# wiggles. With ten times as much, it sees little worth fitting and returns a curve with hardly any bend.

# %% tags=["hide-input"]
data, sigma = observe(64, 0.01, 0)
for factor in (0.1, 1.0, 10.0):
    trace = SplineTrace(25, horizon=1.0, final=END)
    told = {"noise": factor * sigma, "boundary": known, "interval": ROOM, "cells": 24}
    found = learn_boundary(game, trace, *data, **told)
    chosen = min(found.path, key=lambda entry: entry["risk"])
    print(f"noise x {factor:g}: freedom {chosen['freedom']:.1f}, ", end="")
    print(f"error {relative_l2(found.slope(times), slope):.2f}")

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ## Experiments to try
#
# - Move all sensors to the right half of the room. How far into the room does the gate reach?
# - Learn the flux instead: `wall_sensitivity(solution, "flux")` says what can be seen of it.
# - Give the spline 8 unknowns, then 100. Does the number matter once the prior is there?
# - Train the PINN with noisy reports, and vary their weight. What plays the role of $\alpha$ there?
#
# ## Troubleshooting
#
# **`ConvergenceError` from the grid while learning.** A trial slope was too wild. Start with a larger weight,
# or check that `noise` is not far below the error of the reports.
#
# **The learned slope wiggles.** The noise was understated, or there are too few sensors for the rule; look at
# `freedom` in `path`.
#
# **The learned slope is a straight line.** The reports do not show more than that. Compare the singular
# values with the noise before blaming the network.
#
# **The error stops falling although the reports are exact.** That is the grid: raise `cells`.
#
# ## Related chapters
#
# - {doc}`mfg_pinn` has the game, the grid scheme and exploitability.
# - {doc}`first_pinn` builds Levenberg–Marquardt step by step.
# - {doc}`../book/how_we_verify` explains bounds, the ledger and the independent references.
