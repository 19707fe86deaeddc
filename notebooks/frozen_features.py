# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Frozen features: a network that is not trained
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
#   - {glue:text}`frozen_features.seconds:.0f` s
#   - {doc}`first_pinn`, least squares
#   - notebook, in NumPy and JAX
#   - {glue:text}`frozen_features.peak_memory:.0f` MB
# ```
#
# Draw the hidden layer of a network at random, never train it, and solve for the
# last layer. On the Burgers problem of {doc}`first_pinn` the worst of five seeds is
# then wrong by {glue:text}`frozen_features.burgers_error_worst:.0e`:
# {glue:text}`frozen_features.burgers_gain:.0f` times less than the best of five
# trained networks that took
# {glue:text}`frozen_features.trained_over_frozen:.1f` times as long. It can bound its
# own error without knowing the answer. The classical solvers beside it are faster
# again, on Burgers by a factor of
# {glue:text}`frozen_features.burgers_over_classical:.0f`. And it loses to the trained
# network on a game that cannot be marched in time, and on a wave in six dimensions.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-frozen-question", "caption": "What is asked: does a hidden layer have to be trained? Left: four networks of which all weights were drawn. Right: the same four hidden layers, and the last layer solved for, to follow a front of the Burgers equation (dotted), all on top of each other. Here they were given the front itself; this chapter gives them the equation alone."}}
import matplotlib.pyplot as plt
import numpy as np

from opifex_tutorials.plotting import COLORS, MARKERS, show, style
from opifex_tutorials.problems.burgers import BurgersProblem

style()
x = np.linspace(-1, 1, 201)
front = BurgersProblem(viscosity=0.05).exact(1.0, x)
figure, panels = plt.subplots(1, 2, sharey=True, figsize=(8, 3.2))
for seed, color in enumerate(COLORS[:4]):
    rng = np.random.default_rng(seed)
    slopes, centers = rng.uniform(-6, 6, 60), rng.uniform(-1.4, 1.4, 60)
    hidden = np.tanh(slopes * (x[:, None] - centers))
    last = rng.normal(size=60) / 12, np.linalg.lstsq(hidden, front)[0]
    for axes, beta in zip(panels, last, strict=True):
        axes.plot(x, hidden @ beta, color=color, ls="-", lw=1.5)
panels[1].plot(x, front, color=COLORS[4], ls=":", lw=4)
panels[0].set(xlabel="x", ylabel="output", title="all layers drawn")
panels[1].set(xlabel="x", title="last layer solved for")
show(
    figure,
    alt="Left: four smooth curves that have nothing in common. Right: four "
    "curves and a dotted front, which coincide.",
)

# %% [markdown]
# {numref}`fig-frozen-question` shows what such a network can be made to follow.
#
# ## What you will learn
#
# - why a network with a frozen hidden layer is a basis, and a linear equation one
#   least-squares problem;
# - why that problem must not be solved by its normal equations;
# - how Newton's method and slabs of time carry this over to a nonlinear equation;
# - how to bound the error of any of these networks by its residual, with a proof;
# - where frozen features lose.

# %% [markdown]
# ## A basis that is drawn
#
# A network with one hidden layer is a sum
#
# $$
# N(z) = \sum_{j=1}^n \beta_j \varphi_j(z), \qquad
# \varphi_j(z) = \tanh w_j \cdot (z - c_j).
# $$
#
# Training moves weights $w$, centers $c$ and coefficients $\beta$. Freeze the first
# two at random values, and $N$ is *linear* in what is left
# {cite}`huang2006,dong2021`, so that the loop of a training becomes a solve
# ({numref}`fig-frozen-method`).

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-frozen-method", "caption": "A network that is not trained: the hidden layer is drawn once and stays (dashed), and the residual is linear in the last layer if the equation is linear. One least-squares problem finds it. For a nonlinear equation the arrow back is taken a few times."}}
figure, axes = plt.subplots(figsize=(8, 2.8))
axes.set(xlim=(0, 10), ylim=(0, 4))
axes.axis("off")
middle = {"ha": "center", "va": "center"}
arrow = {"arrowstyle": "->", "color": COLORS[4], "lw": 1.5}
layers = "hidden layer\n$\\tanh w_j \\cdot (z - c_j)$", "last layer\n$\\beta_j$"
texts = ("inputs\n$z$", *layers, "residual\nat nodes")
for k, (place, text) in enumerate(zip((0.8, 3.2, 6.1, 9), texts, strict=True)):
    look = {"fc": "none", "ec": COLORS[(4, 4, 1, 1)[k]], "ls": "-"}
    look |= {"boxstyle": "round,pad=0.5"} | ({"ls": "--"} if k == 1 else {})
    axes.text(place, 2.1, text, bbox=look, **middle)
for start, end in ((1.3, 1.75), (4.65, 5.1), (7.1, 8.2)):
    axes.annotate("", (end, 2.1), (start, 2.1), arrowprops=arrow)
for place, text in ((3.2, "drawn once, then frozen"), (6.1, "unknown")):
    axes.text(place, 3.3, text, **middle)
back = arrow | {"connectionstyle": "bar,angle=180,fraction=-0.25"}
axes.annotate("", (6.1, 1.4), (9, 1.4), arrowprops=back)
axes.text(7.5, 0.1, "least squares: solve, do not train", **middle)
show(
    figure,
    alt="Boxes from left to right: inputs, hidden layer (drawn once, then "
    "frozen), last layer (unknown), residual at nodes. An arrow for least "
    "squares leads from the residual back to the last layer.",
)

# %% [markdown]
# The inputs $z$ fill $[-1, 1]$; the weights decide how
# quickly the features vary; centers beyond the interval let their sum bend near its
# ends as well.


# %%
def draw(count, seed, largest=2.0):
    """Return weights and biases of features on [-1, 1]."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-largest, largest, count)
    centers = rng.uniform(-1.4, 1.4, count)
    return weights, -weights * centers


# %% [markdown]
# {numref}`fig-features` has twelve of them, and a function that they can sum to:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-features", "caption": "Left: twelve features, drawn at random. Right: a sum of them (dashed) that follows two waves (solid); only its coefficients were solved for. None of the features looks like what they sum to."}}
z = np.linspace(-1, 1, 401)
weights, biases = draw(12, seed=0)
twelve = np.tanh(np.outer(z, weights) + biases)
waves = np.sin(np.pi * (z + 1) / 2) + 0.5 * np.sin(3 * np.pi * (z + 1) / 2)
fit = twelve @ np.linalg.lstsq(twelve, waves)[0]
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.2))
left.plot(z, twelve, color=COLORS[4], lw=1, ls="-")
right.plot(z, waves, color=COLORS[0], ls="-", label="two waves")
right.plot(z, fit, color=COLORS[1], ls="--", label="sum of features")
left.set(xlabel="input z", ylabel="feature")
right.set(xlabel="input z")
right.legend(loc="lower center")
show(
    figure,
    alt="Left: twelve smooth curves that rise or fall between -1 and 1. "
    "Right: a sum of two sines and, close to it, a sum of the twelve curves.",
)

# %% [markdown]
# ## Poisson, in twelve lines
#
# Take $-u'' = f$ on $[0, 1]$ with zero ends, where $f$ belongs to two waves. The
# trial function $\hat u = x(1-x)\,N$ is zero at the ends, and its second derivative
# is
#
# $$
# \hat u'' = \sum_j \beta_j \bigl( m \varphi_j'' + 2 m' \varphi_j' +
# m'' \varphi_j \bigr), \qquad m = x (1 - x).
# $$ (eq-frozen-poisson)
#
# Ask for $-\hat u'' = f$ at many points: one row for each point, one column for
# each feature, which is a bracket of {eq}`eq-frozen-poisson`. With $\tanh' = 1 - \tanh^2$:

# %%
from opifex_tutorials.problems.linear import PoissonProblem, sine_series

poisson = PoissonProblem()
nodes = np.polynomial.legendre.leggauss(120)[0][:, None]  # on [-1, 1]


def system(weights, biases, at=nodes):
    """Return matrix and right-hand side of the least-squares problem."""
    phi = np.tanh(at * weights + biases)
    d_phi = 2 * weights * (1 - phi**2)  # z = 2x - 1
    dd_phi = -4 * weights * phi * d_phi
    x = (at + 1) / 2
    A = -(x * (1 - x) * dd_phi + 2 * (1 - 2 * x) * d_phi - 2 * phi)
    return A, sine_series(poisson.source_amplitudes, x[:, 0])


# %% [markdown]
# Solve it, and compare with the exact solution at points that were not among the
# nodes.

# %%
from opifex_tutorials.verification import relative_l2


def poisson_error(beta, weights, biases):
    """Return the error of the network with these coefficients."""
    x = np.linspace(0, 1, 401)
    N = np.tanh(np.outer(2 * x - 1, weights) + biases) @ beta
    return relative_l2(x * (1 - x) * N, poisson.exact(x))


layer = draw(100, seed=0)
A, f = system(*layer)
beta = np.linalg.lstsq(A, f, rcond=1e-14)[0]
print(f"error {poisson_error(beta, *layer):.1e}")
print(f"condition number {np.linalg.cond(A):.0e}", end=", ")
print(f"numerical rank {np.linalg.matrix_rank(A, rtol=1e-14)}")

# %% [markdown]
# All digits are right, and the matrix is singular to rounding. Both have the same
# reason. The features are smooth and resemble each other, so that some combinations
# of them matter, as many as the rank says, and the rest change nothing. We do not need *the*
# coefficients, only some that leave a small residual. {numref}`fig-singular` has all
# combinations in the order of how much they matter.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-singular", "caption": "The singular values of the matrix, largest first, and by how much of the right-hand side the first so many combinations miss. A few combinations carry the solution, and from where the rounding begins the rest carry nothing."}}
left, values, _ = np.linalg.svd(A, full_matrices=False)
parts = left.T @ f / np.linalg.norm(f)
missed = np.sqrt(np.cumsum(parts[::-1] ** 2)[::-1])[1:]
figure, axes = plt.subplots()
count = np.arange(1, len(values) + 1)
look = {"ms": 4, "lw": 1}
axes.semilogy(count, values / values[0], "o-", label="singular value", **look)
axes.semilogy(count[:-1], missed, "s--", label="right-hand side missed", **look)
axes.set(xlabel="combinations of features", ylabel="relative size")
axes.legend()
show(
    figure,
    alt="Both curves fall over some twenty combinations from one to the level "
    "of rounding, and stay there for all the others.",
)

# %% [markdown]
# ### Why not the normal equations
#
# The textbook way, $A^T A \beta = A^T f$, squares the condition number. It costs digits of
# the solution. {numref}`fig-poisson` has both ways for more and more features, five seeds each; the
# matrix $A^T A$ gets a small multiple of the identity, without which it would not be
# invertible. Beside them stands the classical neighbor: polynomials through
# Chebyshev points, differentiated by a matrix $D$ {cite}`trefethen2000`.


# %%
def by_normal_equations(A, f):
    """Return the coefficients, by the Gram matrix."""
    gram = A.T @ A
    ridge = 1e-14 * np.trace(gram)
    return np.linalg.solve(gram + ridge * np.eye(len(gram)), A.T @ f)


def by_factorization(A, f):
    """Return the coefficients, from the matrix itself."""
    return np.linalg.lstsq(A, f, rcond=1e-14)[0]


# %% [markdown]
# The classical solver takes six lines:


# %%
def chebyshev(degree):
    """Return D for the points cos(kπ/degree), and the points."""
    k = np.arange(degree + 1)
    points = np.cos(np.pi * k / degree)
    c = np.r_[2, np.ones(degree - 1), 2] * (-1.0) ** k
    D = np.outer(c, 1 / c) / (points[:, None] - points + np.eye(degree + 1))
    return D - np.diag(D.sum(1)), points


def second_derivative(degree):
    """Return D² on [0, 1] for zero ends, and the points inside."""
    D, points = chebyshev(degree)
    return 4 * (D @ D)[1:-1, 1:-1], (points[1:-1] + 1) / 2


# %%
def chebyshev_error(unknowns):
    """Return the error of the classical solver for Poisson."""
    D2, inside = second_derivative(unknowns + 1)
    u = np.linalg.solve(-D2, sine_series(poisson.source_amplitudes, inside))
    return relative_l2(u, poisson.exact(inside))


# %% [markdown]
# Five seeds of each number of features, both ways, beside the polynomials:


# %%
def feature_errors(solve, unknowns):
    """Return the errors of five seeds."""
    layers = [draw(unknowns, seed) for seed in range(5)]
    return [poisson_error(solve(*system(*one)), *one) for one in layers]


sizes = np.array([6, 10, 14, 18, 22, 30, 40, 60, 100])
by_lstsq, by_gram = (
    np.array([feature_errors(solve, n) for n in sizes])
    for solve in (by_factorization, by_normal_equations)
)
polynomials = np.array([chebyshev_error(n) for n in sizes])

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-poisson", "caption": "Poisson in one dimension: error against the number of unknowns; bands span five seeds. Factorized, the random basis goes down as a classical one does, a few unknowns later. By the normal equations half of the digits are lost."}}
from opifex_tutorials.plotting import seed_band

figure, axes = plt.subplots()
seed_band(axes, sizes, by_gram.T, "normal equations", 1)
seed_band(axes, sizes, by_lstsq.T, "factorized", 0)
axes.plot(sizes, polynomials, "^-.", color=COLORS[2], label="polynomials")
axes.set(xlabel="unknowns", ylabel="relative L2 error", yscale="log")
axes.legend()
show(
    figure,
    alt="Errors fall steeply with the number of unknowns for factorized random "
    "features and for polynomials, down to rounding. With normal equations "
    "they stop halfway.",
)

# %% tags=["hide-input"]
from opifex_tutorials.results import close_chapter, record
from opifex_tutorials.tables import Table

L2, RATIO = "relative L2", "ratio of errors"
ROUNDING = {"loose": "rounding level"}


def note(name, value, unit=L2, **bound):
    """Record a result of this chapter; a missed bound stops the build."""
    record(f"frozen_features.{name}", value, unit=unit, **bound)


# %% tags=["hide-input"]
def first_below(errors, most):
    """Return the least number of unknowns that was tried and is enough."""
    return int(sizes[np.flatnonzero(np.asarray(errors) <= most)[0]])


note("by_hand_error", by_lstsq[-1].max(), at_most=2e-12, **ROUNDING)
note("by_hand_normal", by_gram[-1].min(), at_least=1e-10, **ROUNDING)
note("polynomials_error", polynomials.min(), at_most=1e-12, **ROUNDING)
gain = (by_gram[-1] / by_lstsq[-1]).min()
note("by_hand_gain", gain, RATIO, at_least=100, **ROUNDING)
needed = [first_below(e, 1e-9) for e in (by_lstsq.max(1), polynomials)]
for name, count in zip(("features", "polynomials"), needed, strict=True):
    note(f"{name}_needed", count, "unknowns", at_most=40)
print(f"nine digits: {needed[0]} features, {needed[1]} polynomials")

# %% [markdown]
# With a hundred features the worst seed ends at
# {glue:text}`frozen_features.by_hand_error:.0e`; the best one by the normal
# equations at {glue:text}`frozen_features.by_hand_normal:.0e`. Of the sizes tried,
# {glue:text}`frozen_features.features_needed:.0f` features give nine digits for every
# seed; {glue:text}`frozen_features.polynomials_needed:.0f` polynomials suffice. A random
# basis costs little, and buys nothing here: a polynomial basis is as good, and
# does not have to be drawn.
#
# ## Heat, wave, and the unit square
#
# The package does the same for any formulation of an equation in the form of
# {doc}`first_pinn`: the trial functions are the same as there, nodes are
# Gauss–Legendre points in each coordinate, the matrix comes from automatic
# differentiation. If the residual stays large at nodes that the solve did not see,
# it raises an error.

# %%
from opifex_tutorials.comparison import compare, spread
from opifex_tutorials.problems.linear import HeatProblem, WaveProblem
from opifex_tutorials.solvers import solve_linear_features

LINEAR = {
    "heat": HeatProblem(diffusivity=0.05),
    "wave": WaveProblem(speed=1.0),
    "poisson": poisson,
    "poisson_2d": PoissonProblem(dimension=2),
}

# %% [markdown]
# What comes back is the error and the time.


# %%
def solve_linear(case, seed):
    """Return the error on 61 points a side, and the time."""
    solution = solve_linear_features(case, seed=seed)
    axes = [np.linspace(*ends, 61) for ends in case.bounds.values()]
    grid = np.meshgrid(*axes, indexing="ij")
    error = relative_l2(solution(*grid), case.exact(*grid))
    return error, solution.history.seconds[-1]


linear = compare(solve_linear, LINEAR, one_process=True)

# %% [markdown]
# The classical neighbors go on with 28 Chebyshev points inside a side. In time nothing has to be
# approximated: the semi-discrete equations $\dot v = \kappa D^2 v$ and
# $\ddot v = c^2 D^2 v$ are solved by the exponential of a matrix, and on the square
# $-D^2 U - U D^{2T} = F$ is a Sylvester equation.

# %%
from scipy.linalg import expm, solve_sylvester

D2, inside = second_derivative(29)


def heat(t):
    """Return the solution of the heat equation at the points inside."""
    return expm(0.05 * t * D2) @ sine_series((1.0, 0.0, 0.5), inside)


def wave(t):
    """Return that of the wave equation, initially at rest."""
    nothing, one = np.zeros_like(D2), np.eye(len(D2))
    start = sine_series((1.0, 0.0, 0.5), inside)
    both = expm(t * np.block([[nothing, one], [D2, nothing]]))
    return both[: len(D2), : len(D2)] @ start


# %% [markdown]
# The square, with the second derivative as a matrix from the left and the right:


# %%
def square():
    """Return that of the Poisson equation, at all pairs of points."""
    f = LINEAR["poisson_2d"].source_amplitudes
    return solve_sylvester(-D2, -D2.T, sine_series(f, inside[:, None], inside))


# %% tags=["hide-input"]
import time
from operator import itemgetter


def timed(function, *arguments):
    """Return the result of a call, and the median time of five, in seconds."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        result = function(*arguments)
        seconds.append(time.perf_counter() - start)
    return result, np.median(seconds)


# %% tags=["hide-input"]
pairs = {"heat": (heat, 1.0), "wave": (wave, 1.0), "poisson_2d": (square,)}
neighbors = {}
for key, call in pairs.items():
    found, seconds = timed(*call)
    at = (
        (1.0, inside)
        if "t" in LINEAR[key].bounds
        else (inside[:, None], inside)
    )
    neighbors[key] = relative_l2(found, LINEAR[key].exact(*at)), seconds
neighbors["poisson"] = timed(chebyshev_error, 28)

# %% tags=["hide-input"]
FIRST, SECOND = itemgetter(0), itemgetter(1)
MOST = {"heat": 1e-10, "wave": 1e-10, "poisson": 1e-10, "poisson_2d": 1e-9}
errors, seconds = linear.measure(FIRST), linear.measure(SECOND)
for key, most in MOST.items():
    note(f"{key}_error_worst", errors[key].max(), at_most=most, **ROUNDING)
    note(f"{key}_seconds", np.median(seconds[key]), "s")
    classical = {"at_most": 1e-11, **ROUNDING}
    note(f"{key}_classical_error", neighbors[key][0], **classical)
    ratio = np.median(seconds[key]) / neighbors[key][1]
    note(f"{key}_over_classical", ratio, "s/s")
rows = [
    {
        "equation": key.replace("_2d", ", square"),
        "features": spread(errors[key]),
    }
    | {"their_seconds": spread(seconds[key])}
    | {"classical": neighbors[key][0], "its_seconds": neighbors[key][1]}
    for key in LINEAR
]
columns = "equation features their_seconds classical its_seconds"
Table("Errors and times, five seeds", rows, columns)

# %% [markdown]
# The largest time of each row includes compilation; the classical solutions of heat
# and wave are those at the final time. The trained networks of
# {doc}`first_pinn` are wrong by up to
# {glue:text}`../notebooks/first_pinn.ipynb::first_pinn.heat_error_worst:.0e` (heat),
# {glue:text}`../notebooks/first_pinn.ipynb::first_pinn.wave_error_worst:.0e` (wave)
# and {glue:text}`../notebooks/first_pinn.ipynb::first_pinn.poisson_2d_error_worst:.0e`
# (square). On these equations training is wasted: **what is linear in its unknown,
# in one or two dimensions, should be solved, not trained.** The classical neighbors
# are right to rounding as well, and faster by a factor of
# {glue:text}`frozen_features.heat_over_classical:,.0f` on the heat equation and of
# {glue:text}`frozen_features.poisson_2d_over_classical:,.0f` on the square.
#
# ## A nonlinear equation: Newton
#
# With $\hat u = -\sin \pi x + t\,(1 - x^2) \sum_j \beta_j \varphi_j(t, x)$ the residual
# of the Burgers equation,
#
# $$
# R(\beta) = \hat u_t + \hat u \hat u_x - \nu \hat u_{xx},
# $$ (eq-frozen-residual)
#
# is quadratic in $\beta$. In the direction of one coefficient, with
# $a_j = t\,(1 - x^2)\,\varphi_j$, it changes by
#
# $$
# J_j = \partial_t a_j + \hat u\, \partial_x a_j + \hat u_x\, a_j - \nu\, \partial_{xx} a_j .
# $$ (eq-frozen-jacobian)
#
# The method of *Gauss and Newton* solves one least-squares problem after the other:
# $\beta \leftarrow \beta - \arg\min_d |J d - R|$. First the columns, from tanh and the
# product rule, on 24 by 48 nodes, for the mild viscosity $\nu = 0.1$:

# %%
mild = BurgersProblem(viscosity=0.1)
rules = [np.polynomial.legendre.leggauss(n)[0] for n in (24, 48)]
t, x = (
    v.reshape(-1, 1)
    for v in np.meshgrid((rules[0] + 1) / 2, rules[1], indexing="ij")
)

# %% [markdown]
# With $m = 1 - x^2$:


# %%
def columns(w_t, w_x, biases):
    """Return a_j and its derivatives by t, x and twice by x, at the nodes."""
    phi = np.tanh((2 * t - 1) * w_t + x * w_x + biases)
    slope = 1 - phi**2
    phi_t, phi_x, phi_xx = (
        2 * w_t * slope,
        w_x * slope,
        -2 * w_x**2 * phi * slope,
    )
    m, m_x = 1 - x**2, -2 * x
    a_x = t * (m * phi_x + m_x * phi)
    a_xx = t * (m * phi_xx + 2 * m_x * phi_x - 2 * phi)
    return t * m * phi, m * (phi + t * phi_t), a_x, a_xx


# %% [markdown]
# Then Newton, from $\beta = 0$, with {eq}`eq-frozen-residual` and
# {eq}`eq-frozen-jacobian` as they stand. The root mean square of the residual:

# %%
from opifex_tutorials.models.random_features import draw_features

(w_t, w_x), biases = draw_features((1.0, 3.0), 400, seed=0)
a, a_t, a_x, a_xx = columns(w_t, w_x, biases)
sine, cosine = np.sin(np.pi * x), np.cos(np.pi * x)
beta = np.zeros((400, 1))
for _ in range(6):
    u, u_x = a @ beta - sine, a_x @ beta - np.pi * cosine
    u_xx = a_xx @ beta + np.pi**2 * sine
    R = a_t @ beta + u * u_x - mild.viscosity * u_xx
    print(f"residual {np.sqrt(np.mean(R**2)):.1e}")
    J = a_t + u * a_x + u_x * a - mild.viscosity * a_xx
    beta = beta - by_factorization(J, R)

# %% [markdown]
# The error, on the grid of {doc}`first_pinn` rather than at the nodes:

# %%
t, x = np.linspace(0.02, 1, 50)[:, None], np.linspace(-1, 1, 201)[None]
instant, place = (v.reshape(-1, 1) for v in np.broadcast_arrays(t, x))
phi = np.tanh((2 * instant - 1) * w_t + place * w_x + biases)
u = instant * (1 - place**2) * (phi @ beta) - np.sin(np.pi * place)
one_go = relative_l2(u, mild.exact(instant, place))
print(f"error {one_go:.1e}")

# %% tags=["hide-input"]
note("one_go_error", one_go, at_most=2e-5, at_least=3e-6)

# %% [markdown]
# A few steps, and Newton is done: what is left of the residual, these 400 features
# cannot follow at all times at once. The error is
# {glue:text}`frozen_features.one_go_error:.0e`. At $\nu = 0.01/\pi$, with its thin layer,
# they do far worse.
#
# ## Slabs of time
#
# A classical solver would not solve for all times at once either. It takes steps.
# So do we: on a *slab* of length $h$ that begins at $t_k$,
#
# $$
# \begin{gathered}
# \hat u = -\sin \pi x + \frac{x\,(1 - |x|)}{\sqrt{x^2 + \delta^2}}\, N(t, s), \\
# N(t, s) = N(t_k, s) + (t - t_k) \sum_j \beta_j\,
# \varphi_j\Bigl(2\,\frac{t - t_k}{h} - 1,\; 2 s - 1\Bigr),
# \end{gathered}
# $$ (eq-slab)
#
# where $N = 0$ at the start, and $s(|x|) \in [0, 1]$ is the coordinate of
# {doc}`first_pinn` that stretches the layer of width $\delta = 4\nu$: this trial function
# knows layer and symmetry, as the best one there does. The end of a slab is a
# function, with derivatives to rounding, and the next slab begins there. The
# features are drawn once and serve on all slabs.
#
# Here is the march of {eq}`eq-slab`, on equal slabs. `program` gives the residual, times
# $\sqrt{x^2 + \delta^2}$ as in {doc}`first_pinn`, and its derivatives by $\beta$ at all nodes
# $(\tau, s)$ of a unit square; the rest is the loop from above.

# %%
from functools import partial

from opifex_tutorials.losses.burgers import burgers_slab, layer_width, unstretch
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.solvers.frozen_features import (
    FeatureSolution,
    ResidualOf,
    Slab,
    compile_operator,
)
from opifex_tutorials.training.gauss_newton import least_squares

problem = BurgersProblem(viscosity=0.01 / np.pi)


# %%
def gauss_nodes(counts=(16, 64)):
    """Return nodes of the unit square and their weights."""
    (a, v), (b, w) = map(np.polynomial.legendre.leggauss, counts)
    tau, s = np.meshgrid((a + 1) / 2, (b + 1) / 2, indexing="ij")
    return tau.ravel(), s.ravel(), np.outer(v, w).ravel() / 4


# %% [markdown]
# Newton as before, now for any function that returns residuals and matrix:


# %%
def newton(linearize, beta, solve=least_squares, steps=4):
    """Return the coefficients after some steps."""
    for _ in range(steps):
        R, J = map(np.asarray, linearize(beta))
        beta = beta - solve(J, R)
    return beta


# %% [markdown]
# The march itself:


# %%
def march(layer, count=12, nodes=None, **options):
    """Solve Burgers on equal slabs."""
    enable_float64()  # in each process
    tau, s, weights = nodes or gauss_nodes()
    x, scale = unstretch(s, layer_width(problem)), np.sqrt(weights)
    equation = ResidualOf(burgers_slab, 0)
    program = compile_operator(burgers_slab, equation, True)[1]

    def linearize(slab, beta):
        t = slab.start + tau * slab.share
        R, J = program(problem, layer, slab, beta, t, x)
        return scale * R, scale[:, None] * J

    slabs, found, end = [], [], np.zeros_like(layer[1])
    for k in range(count):
        slabs.append(Slab(k / count, 1 / count, end))
        found.append(newton(partial(linearize, slabs[-1]), 0 * end, **options))
        end = end + found[-1] / count
    form = problem, burgers_slab, layer, True
    return FeatureSolution(*form, tuple(slabs), tuple(found))


# %% [markdown]
# Three choices are in it: slabs, nodes of Gauss rather than scattered ones, and a
# factorization (here QR, with a ridge at the level of rounding) rather than the Gram
# matrix. We take them out one at a time. Scattered nodes are those of a Sobol
# sequence, 1,024 like those of Gauss. A single slab gets more steps of
# Newton; since it has a twelfth of the unknowns, it also runs with 800 features, more
# nodes, and a range of weights in time that suits it better.

# %%
from scipy.stats import qmc


def scattered_nodes(seed, count=1024):
    """Return Sobol points and equal weights."""
    cube = qmc.Sobol(2, rng=np.random.default_rng(seed)).random(count)
    return *cube.T, np.full(count, 1 / count)


# %%
def layer_of(seed, size=400, reach=0.8):
    """Return a hidden layer for slabs of Burgers."""
    return draw_features((reach, 5.0), size, seed)


normal, large = {"solve": by_normal_equations}, gauss_nodes((32, 64))
VARIANTS = {
    "12 slabs, Gauss, QR": lambda s: march(layer_of(s)),
    "normal equations": lambda s: march(layer_of(s), **normal),
    "scattered nodes": lambda s: march(layer_of(s), nodes=scattered_nodes(s)),
    "one slab": lambda s: march(layer_of(s), 1, steps=8),
    "one slab, 800": lambda s: march(layer_of(s, 800, 4.0), 1, large, steps=6),
}

# %% [markdown]
# Errors are measured on the same grid as before.

# %%
exact = problem.exact(t, x)


def march_error(variant, seed):
    """Return the error of one variant and seed."""
    return relative_l2(variant(seed)(t, x), exact)


variants = compare(march_error, VARIANTS)

# %% tags=["hide-input"]
all_in, *without = variants.measure(float).values()
names = ("qr", "gauss", "slabs", "slabs_large")
least = (20, 6, 6e6, 2e5)
for name, errors, bound in zip(names, without, least, strict=True):
    gain = np.median(errors) / np.median(all_in)
    reason = ROUNDING if name == "qr" else {}
    note(f"worth_of_{name}", gain, RATIO, at_least=bound, **reason)
worst_of_scattered = without[1].max() / all_in.max()
note("worth_of_gauss_worst", worst_of_scattered, RATIO, at_least=100)
note("twelve_slabs_error", all_in.max(), at_most=2.4e-9)
variants.table("What each choice is worth, five seeds", error=float)

# %% [markdown]
# In the median of five seeds, without the factorization the error is
# {glue:text}`frozen_features.worth_of_qr:.0f` times as large, with scattered nodes
# {glue:text}`frozen_features.worth_of_gauss:.0f` times, and for the worst seed
# {glue:text}`frozen_features.worth_of_gauss_worst:.0f` times. A single slab is far off, with 800 features still by a factor of
# {glue:text}`frozen_features.worth_of_slabs_large:,.0f`. Slabs are also the cheap way
# to more unknowns: twice the features in one solve cost four times as much at equal nodes, twice
# the slabs twice.
#
# ### Slabs that find their length
#
# How many slabs does a problem need? The package accepts a slab if its residual, at
# nodes that the solve did not see, is below a tolerance; the next one is longer or
# shorter accordingly, as in any solver of ordinary differential equations. All this
# stands behind one call:

# %%
from opifex_tutorials.solvers import solve_burgers_features


def solve_burgers(problem, seed):
    """Solve a Burgers problem with untouched defaults: 400 features."""
    return solve_burgers_features(problem, seed=seed)


burgers = compare(solve_burgers, {"400 features": problem})
solution = burgers.runs["400 features"][0]
lengths = np.diff([*(slab.start for slab in solution.slabs), 1])
print("slabs:", *(f"{length:.3f}" for length in lengths))

# %% [markdown]
# Where are they wrong, by how much, and does one see the slabs?
# {numref}`fig-error-map` answers for the first seed.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-error-map", "caption": "Where the network with 400 frozen features is wrong: the error in time and in the stretched coordinate of half of the domain; vertical lines separate slabs. Their lengths differ little: here their control buys a guarantee rather than speed."}}
s = np.linspace(0, 1, 101)
places = np.asarray(unstretch(s, layer_width(problem)))
instants = np.linspace(0.004, 1, 250)
wrong = solution(instants[:, None], places) - problem.exact(
    instants[:, None], places
)
figure, axes = plt.subplots(figsize=(7.2, 3.6))
digits = np.log10(np.abs(wrong).T + 1e-14)
look = {"origin": "lower", "aspect": "auto", "interpolation": "none"}
extent = (instants[0], 1, 0, 1)
image = axes.imshow(digits[:, ::2], vmin=-12, extent=extent, **look)
for slab in solution.slabs[1:]:
    axes.axvline(slab.start, color="white", lw=0.8, ls="-")
axes.grid(visible=False)
figure.colorbar(image, label="log₁₀ |error|")
axes.set(xlabel="time t", ylabel="stretched coordinate s")
show(
    figure,
    alt="A map of the error over time and stretched coordinate, cut into slabs "
    "of similar length by vertical lines.",
)

# %% [markdown]
# The classical neighbor is the spectral solver of {doc}`first_pinn`, with as few
# points and steps as we found for an error below a billionth.

# %%
from opifex_tutorials.solvers import solve_burgers_grid

spectral = {"points": 1200, "steps": 1800}
grid, grid_seconds = timed(lambda: solve_burgers_grid(problem, **spectral))
grid_error = relative_l2(grid(t, x), exact)
print(f"spectral: {grid_error:.1e} in {grid_seconds:.2f} s")


# %% tags=["hide-input"]
def error(network):
    """Return the relative error of a Burgers network."""
    return relative_l2(network(t, x), exact)


def duration(network):
    """Return the seconds that the solve took."""
    return network.history.seconds[-1]


worst, times = burgers.worst(error), burgers.median(duration)
note("burgers_error_worst", worst["400 features"], at_most=1e-9)
note("burgers_seconds", times["400 features"], "s")
note("burgers_classical_error", grid_error, at_most=1e-9)
over = times["400 features"] / grid_seconds
note("burgers_over_classical", over, "s/s")
burgers.table(
    "Burgers, five seeds",
    slabs=lambda run: len(run.slabs),
    error=error,
    seconds=duration,
)

# %% [markdown]
# The worst seed of 400 features is wrong by
# {glue:text}`frozen_features.burgers_error_worst:.1e`, after
# {glue:text}`frozen_features.burgers_seconds:.1f` s in the median, with two solves side by
# side. (A draw can be unlucky: then it ends in an error, which says by how much.) The spectral solver is
# at {glue:text}`frozen_features.burgers_classical_error:.0e`, and
# {glue:text}`frozen_features.burgers_over_classical:.0f` times as fast. The best
# trained networks that we know of reach 1.6e-8 {cite}`kiyani2025`, which adaptive
# weights improve further {cite}`toscano2025`; unlike ours they were not told where the
# layer is.
#
# ## A bound on the error, without the answer
#
# So far the exact solution told how wrong a network is. For your own equation you
# will not have it. For some equations the residual tells as much.
#
# **Theorem.** Let $\hat u$ satisfy initial and boundary values of the Burgers
# problem exactly. Let it be continuous and piecewise smooth, with $\hat u_x$ continuous
# in $x$ (ours has a kink in $\hat u_x$ at $x = 0$, and in time at the ends of slabs), so that
# its residual $R$ is defined almost everywhere. Then for each $t \in [0, 1]$ its error
# $e = \hat u - u$ obeys
#
# $$
# \int |e(t, x)|\,dx \;\le\; \int_0^t \!\! \int |R(\tau, x)|\,dx\,d\tau .
# $$ (eq-bound)
#
# **Proof.** Subtract the equations of $\hat u$ and of $u$. Since
# $\tfrac12 \hat u^2 - \tfrac12 u^2 = b\,e$ with the mean $b = (\hat u + u)/2$,
#
# $$
# e_t + (b\,e)_x = \nu\, e_{xx} + R, \qquad e(0, x) = 0, \quad e(t, \pm 1) = 0 .
# $$
#
# Multiply by $\eta'_\delta(e)$, where $\eta_\delta(e) = \sqrt{e^2 + \delta^2} - \delta$ is
# a smooth, convex version of $|e|$, and integrate over $x$ and over time up to $t$. The
# left end gives $\int \eta_\delta(e(t, x))\,dx$, and three terms remain. In all of
# them the boundary terms vanish, since $e$ and $\eta'_\delta(0)$ do.
#
# - Diffusion, by parts: $\nu \int \eta'_\delta(e)\, e_{xx} =
#   -\nu \int \eta''_\delta(e)\, e_x^2 \le 0$.
# - Transport, by parts: $-\int \eta'_\delta(e)\,(b\,e)_x = \int \eta''_\delta(e)\,
#   e\, e_x\, b$. Here $|\eta''_\delta(e)\, e| \le 1$, and it tends to zero as
#   $\delta \to 0$ for any $e$. Since $|b\, e_x|$ is integrable over time and space, the
#   integral tends to zero, by dominated convergence.
# - Residual: $\int \eta'_\delta(e)\, R \le \int |R|$, since $|\eta'_\delta| \le 1$.
#
# Let $\delta \to 0$, and nothing is left but the claim. $\square$
#
# This is the contraction in $L^1$ of conservation laws {cite}`kruzhkov1970`: neither
# steepening nor a layer amplifies an error in this norm. There is no constant, no
# viscosity, and no exponential of time. For heat, wave and Poisson, energy
# estimates give similar bounds in $L^2$, with constants that are known: 1,
# $1/(c\pi)$ and $1/(d\pi^2)$. `apply` evaluates any operator on a solution, the
# residual for example, and the right-hand side of {eq}`eq-bound` is a sum over nodes:

# %%
from opifex_tutorials.losses.burgers import burgers_residual


def bound_by_hand(network, counts=(64, 128)):
    """Return the integral of |R| over all slabs and places."""
    tau, s, weights = gauss_nodes(counts)
    width = layer_width(problem)
    x = np.asarray(unstretch(s, width))
    dx_ds = np.sqrt(x**2 + width**2) * np.arcsinh(1 / width)
    total = 0.0
    for slab in network.slabs:
        t = slab.start + slab.share * tau
        R = np.abs(network.apply(burgers_residual, t, x))
        total += 2 * slab.share * weights @ (R * dx_ds)  # both halves
    return total


print(f"the error in L1 is at most {bound_by_hand(solution):.2e}")

# %% [markdown]
# That is a certificate up to quadrature and rounding: a sum over nodes is not an
# integral, and floating-point numbers are no intervals. `certified_error` compares
# two quadratures, checks that the conditions hold, and refuses where it knows no
# estimate.

# %%
from opifex_tutorials.verification import certified_error

certificate = certified_error(solution, nodes=96)
print(certificate)

# %% [markdown]
# It asks for one of these equations, for `apply`, and for built-in conditions: a
# trained network in stretched coordinates has them. So we train five with untouched
# defaults, which are three layers of twelve and 600 steps, and watch their errors as they
# learn; spoil the first network above in four degrees; and compare the bound with
# the true error of all of them, the largest over 51 instants, in {numref}`fig-certificate`.


# %%
from dataclasses import replace

from opifex_tutorials.solvers import solve_burgers_pinn


def spoiled(solution, size, seed=0):
    """Return a solution whose last slab has slightly wrong coefficients."""
    *others, last = solution.coefficients
    noise = np.random.default_rng(seed).standard_normal(len(last))
    wrong = last * (1 + size * noise)
    return replace(solution, coefficients=(*others, wrong))


# %% [markdown]
# All of them by name:


# %%
def train(problem, seed):
    """Train a network by Levenberg–Marquardt."""
    return solve_burgers_pinn(problem, seed=seed, monitor=error)


trained = compare(train, {"trained": problem})
sets = {**burgers.runs, **trained.runs}
degrees = (1e-11, 1e-9, 1e-7, 1e-5)
sets["spoiled"] = [spoiled(solution, size) for size in degrees]

# %% [markdown]
# For each network, the bound and what it bounds:

# %%
from opifex_tutorials.parallel import side_by_side

fine = np.asarray(unstretch(np.linspace(0, 1, 401), layer_width(problem)))
instants = np.linspace(0, 1, 51)[:, None]
truth = problem.exact(instants, fine)


def certify(network):
    """Return the true error in L1, at the worst instant, and its bound."""
    wrong = np.abs(network(instants, fine) - truth)
    error = 2 * np.trapezoid(wrong, fine, axis=1).max()  # both halves
    return error, certified_error(network, nodes=96).bound


# %% [markdown]
# They are computed side by side.

# %%
names = [name for name, networks in sets.items() for _ in networks]
networks = [network for group in sets.values() for network in group]
certified = np.array(side_by_side(certify, networks, "bounds"))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-certificate", "caption": "The bound on the error of a network, computed from its residual alone, against the true error. The points lie above the diagonal, where both would be equal: trained or not, right or spoiled on purpose."}}
figure, axes = plt.subplots(figsize=(6.4, 4.2))
for name, color, marker in zip(sets, COLORS, MARKERS, strict=False):
    some = certified[[name == other for other in names]].T
    axes.plot(*some, color=color, marker=marker, ls="", label=name)
ends = certified.min() / 2, certified.max() * 2
axes.plot(ends, ends, color=COLORS[4], ls="-", lw=1, label="error = bound")
axes.set(xlabel="true error in L1", ylabel="bound on it")
axes.set(xscale="log", yscale="log")
axes.legend()
show(
    figure,
    alt="Bounds against true errors of trained, frozen and spoiled networks "
    "over many decades. All points lie above the diagonal.",
)

# %% tags=["hide-input"]
ratios = certified[:, 1] / certified[:, 0]
of = {n: ratios[[n == other for other in names]] for n in sets}
note("certificate_ratio_least", ratios.min(), "bound over error", at_least=1)
middle = {key: np.median(ratio) for key, ratio in of.items()}
UNIT = "bound over error"
note("certificate_ratio_features", middle["400 features"], UNIT, at_most=100)
note("certificate_ratio_trained", middle["trained"], UNIT, at_most=60)
rows = [{"networks": n, "bound_over_error": spread(r)} for n, r in of.items()]
Table("Bound over true error", rows, "networks bound_over_error")

# %% [markdown]
# The bound is above the error for each of them, by a factor of at least
# {glue:text}`frozen_features.certificate_ratio_least:.1f`. In the median it is
# {glue:text}`frozen_features.certificate_ratio_features:.0f` times the error for
# 400 features, {glue:text}`frozen_features.certificate_ratio_trained:.0f` times for
# trained networks: one digit or two are lost, since a residual that changes sign
# may cancel, what viscosity damps is counted in full, and the bound knows of neither. What the bound cannot see: a wrong
# equation. It compares with the solution of the equation that you wrote.
#
# ## Why the trained network stops earlier
#
# A slab of frozen features has 400 numbers to find, a trained network 373, for all
# times. {numref}`fig-steps` has the error of the trained ones, step by step:

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-steps", "caption": "The error of the trained networks while they train: five seeds, median and range. It goes on falling, ever more slowly. The line is the worst seed of frozen features."}}
figure, axes = plt.subplots()
steps = trained.runs["trained"][0].history.steps
paths = [run.history.errors for run in trained.runs["trained"]]
seed_band(axes, steps, paths, "trained", 1)
frozen = {"color": COLORS[0], "ls": "-", "label": "frozen, worst seed"}
axes.axhline(worst["400 features"], **frozen)
axes.set(xlabel="steps", ylabel="relative L2 error", yscale="log")
axes.legend()
show(
    figure,
    alt="The error of the trained networks falls over 600 steps, ever more "
    "slowly, to some ten-millionths. The frozen features are far below.",
)

# %% tags=["hide-input"]
ends = np.array(paths)
early, late = ends[:, steps.index(150)], ends[:, -1]
note("trained_150_error", early.max(), at_most=2.8e-6)
note("trained_600_error", late.max(), at_most=4.4e-7)
note("trained_gain", np.median(early / late), RATIO, at_least=3)
note("trained_seconds", trained.median(duration)["trained"], "s")
print(f"150 steps: {spread(early)}, 600 steps: {spread(late)}")

# %% [markdown]
# From step 150 to step 600 the same network gains a factor of
# {glue:text}`frozen_features.trained_gain:.0f`, ever more slowly. Is its last
# layer not well solved for? Linearize the trained network in its parameters, as
# Levenberg–Marquardt does, and ask what a least-squares solve could still gain on
# new points: of the last layer alone, which is what we did above, and of all
# parameters.

# %%
from opifex_tutorials.losses.jax_system import System, compile_program

network = trained.runs["trained"][0]
program = compile_program(
    network.formulate, problem, network.points, network.hidden
)
fresh = System(program, problem, program.sample(problem, (99, 0)))

# %% [markdown]
# The parameters of the last layer come last:

# %%
theta = network.parameters
R, J = fresh.linearize(theta)
last = J[:, -13:]  # twelve weights and a bias
kept = R - last @ least_squares(last, R)
step = least_squares(J, R)
size = np.linalg.norm
print(f"last layer: residual / {size(R) / size(kept):.3f}")
print(f"all, as predicted: residual / {size(R) / size(R - J @ step):.1f}")

# %% [markdown]
# The last layer is as good as it can be. All parameters together promise a
# factor. Take that step, and see:

# %%
taken = size(fresh.residuals(theta - step)) / size(R)
print(f"all, taken: residual * {taken:.0e}")

# %% tags=["hide-input"]
note("last_layer_gain", size(R) / size(kept), "ratio", at_most=1.2)
promised = size(R) / size(R - J @ step)
note("promised_gain", promised, "ratio", at_least=1.5)
sure = {"at_least": 100, "loose": "yes or no: far more than before"}
note("taken_loss", taken, "ratio", **sure)

# %% [markdown]
# It promises to divide the residual by
# {glue:text}`frozen_features.promised_gain:.1f`, and multiplies it by
# {glue:text}`frozen_features.taken_loss:.0e`. The loss of a network that bends to the solution
# has long, curved valleys; a straight step leaves them at once, and a damped one creeps. A
# frozen network has a parabola instead, or nearly so, and one factorization jumps to
# its bottom. It pays for that with slabs, each with coefficients of its own. A
# better trial function and a larger network bring the trained network closer; see
# the experiments.
#
# ## Where frozen features lose
#
# ### A tolerance out of reach
#
# Where the coefficients are large, rounding keeps the residual from falling. At
# $\nu = 0.001$ we ask for a tenth of the default tolerance:

# %%
from opifex_tutorials.training.history import ConvergenceError

thin = BurgersProblem(viscosity=0.001)
try:
    solve_burgers_features(thin, seed=0, tolerance=1e-9)
except ConvergenceError as reason:
    print(reason)
else:
    raise AssertionError("this tolerance is within reach after all")

# %% [markdown]
# No slab is short enough, and the solver says so. With ten times the default
# tolerance it arrives. How wrong is the result, one seed, inside of the layer too?

# %%
sharp = solve_burgers_features(thin, seed=0, tolerance=1e-7)
near = np.asarray(unstretch(np.linspace(0, 1, 101), layer_width(thin)))
thin_error = relative_l2(sharp(t, x), thin.exact(t, x))
near_error = relative_l2(sharp(t, near), thin.exact(t, near))
print(f"error {thin_error:.1e}, in stretched coordinates {near_error:.1e}")

# %% tags=["hide-input"]
note("thin_layer_error", max(thin_error, near_error), at_most=1.7e-8)
note("thin_layer_seconds", duration(sharp), "s")

# %% [markdown]
# It is wrong by {glue:text}`frozen_features.thin_layer_error:.0e`, after
# {glue:text}`frozen_features.thin_layer_seconds:.0f` s. A tolerance is a wish; that it is
# granted or refused, and never ignored, is what you should ask of a solver.
#
# ### A game looks both ways
#
# In the mean field game of {doc}`mfg_pinn` the density comes from the past and the value
# from the future. One cannot march: slabs would have to be solved together
# {cite}`dong2021`, which we do not try. So all times are one problem. We solve it
# by hand, with 400 features for each of the two functions and inputs as the trained
# network has them. The ranges of the weights are the best of a few, chosen by the
# error itself.

# %%
import jax
import jax.numpy as jnp

from opifex_tutorials.losses.jax_system import derivative
from opifex_tutorials.problems.mean_field_games import CosineGame

noisy = CosineGame(viscosity=0.3, alpha=0.8, beta=0.8)
GAMES = {
    "ring": (CosineGame(), (2.0, 0.5, 0.5)),
    "much noise": (noisy, (4.0, 1.0, 1.0)),
}

# %% [markdown]
# Terminal cost and initial density are built in, as in the trial functions above.


# %%
def candidates(game, layer, c):
    """Return value and density that the coefficients c stand for."""
    weights, biases = layer

    def N(t, x, coefficients):
        wave = 2 * jnp.pi * x
        z = jnp.stack([2 * t - 1, jnp.cos(wave), jnp.sin(wave)])
        return jnp.tanh(z @ weights + biases) @ coefficients

    def u(t, x):
        return game.terminal_cost(x, xp=jnp) + (1 - t) * N(t, x, c[0])

    def m(t, x):
        return game.initial_density(x, xp=jnp) + t * N(t, x, c[1])

    return u, m


# %% [markdown]
# The two residuals are those of {doc}`mfg_pinn`:


# %%
def residuals(game, u, m, t, x):
    """Return the residuals of both equations at a point."""
    u_x, m_x = derivative(u, 1), derivative(m, 1)

    def flux(t, x):
        return game.viscosity * m_x(t, x) + m(t, x) * u_x(t, x)

    cost = game.running_cost(t, x, m=m(t, x), xp=jnp)
    diffusion = game.viscosity * derivative(u_x, 1)(t, x)
    value = -derivative(u, 0)(t, x) - diffusion + u_x(t, x) ** 2 / 2 - cost
    density = derivative(m, 0)(t, x) - derivative(flux, 1)(t, x)
    return jnp.stack([value, density])


# %% [markdown]
# Newton is the same loop once more; its matrix has two blocks of columns.


# %%
def solve_game(game, ranges, seed, count=400):
    """Return value and density, as functions of (t, x)."""
    layer = draw_features(ranges, count, seed)
    tau, s, weights = gauss_nodes((24, 48))

    def at_point(c, t, x):
        fields = candidates(game, layer, c.reshape(2, count))
        return residuals(game, *fields, t, x)

    both = [
        jax.jit(jax.vmap(f, (None, 0, 0)))
        for f in (at_point, jax.jacrev(at_point))
    ]
    scale, c = np.sqrt(weights)[:, None], np.zeros(2 * count)
    for _ in range(6):
        R, J = (np.asarray(f(c, tau, s)) for f in both)
        J = (scale[..., None] * J).reshape(-1, 2 * count)
        c = c - least_squares(J, (scale * R).ravel())
    return candidates(game, layer, c.reshape(2, count))


# %% [markdown]
# Five seeds of two games: the one that {doc}`mfg_pinn` begins with, and one with much noise.


# %%
def game_errors(case, seed):
    """Return the errors of value and density of frozen features."""
    game, ranges = case
    t, x = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 81))
    exact = game.value(t, x), game.density(t, x)
    fields = solve_game(game, ranges, seed)
    found = [jax.vmap(f)(t.ravel(), x.ravel()) for f in fields]
    pairs = zip(found, exact, strict=True)
    return [relative_l2(f, e.ravel()) for f, e in pairs]


games = compare(game_errors, GAMES)

# %% tags=["hide-input"]
AT_MOST = {"ring": (2.5e-5, 4e-6), "much noise": (3e-2, 3.9e-3)}
for key, (value, density) in AT_MOST.items():
    name = key.replace(" ", "_")
    note(f"game_{name}_value", games.worst(FIRST)[key], at_most=value)
    note(f"game_{name}_density", games.worst(SECOND)[key], at_most=density)
games.table("Frozen features, five seeds", value=FIRST, density=SECOND)

# %% [markdown]
# The worst seeds miss the value by
# {glue:text}`frozen_features.game_ring_value:.0e` and
# {glue:text}`frozen_features.game_much_noise_value:.0e`. The trained networks of
# {doc}`mfg_pinn` are at
# {glue:text}`../notebooks/mfg_pinn.ipynb::mfg_pinn.periodic_value_error_worst:.0e` and
# {glue:text}`../notebooks/mfg_pinn.ipynb::mfg_pinn.much_noise_value_error:.0e`, with
# fewer parameters. With much noise the value changes in a thin layer before the
# horizon. Training can move features there; drawn ones are spread over the whole, and
# nobody stretched time for them as we stretched space for Burgers.
#
# ### Growing dimension
#
# Random features know nothing of the function. In one dimension that does not
# matter. Now take a simple function of all $d$ coordinates alike, a wave along the
# diagonal, $\sin(2 \sum_i x_i/\sqrt d)$ on $[-1, 1]^d$: no equation, only a fit. It is
# the best case of a trained network, which turns its features into the one direction
# that counts. For steep functions of one direction there is a theorem: random
# features need a number, or coefficients of a size, that is exponential in the
# dimension {cite}`yehudai2019`. Our wave is gentler; we only measure.

# %%
DIMENSIONS = {f"d = {d}": d for d in (2, 4, 6, 8)}


def diagonal(points, xp=np):
    """Return a wave along the diagonal."""
    return xp.sin(2 * sum(points) / len(points) ** 0.5)


# %% [markdown]
# Frozen features fit it by least squares:


# %%
def frozen_fit(d, seed, largest):
    """Return the error of 800 features, fitted to 2,048 points."""
    points = 2 * qmc.Sobol(d, rng=np.random.default_rng(seed)).random(2048) - 1
    weights, biases = draw_features((largest,) * d, 800, seed)
    A = np.tanh(points @ weights + biases)
    beta = by_factorization(A, diagonal(points.T))
    unseen = np.random.default_rng(99).uniform(-1, 1, (2000, d))
    found = np.tanh(unseen @ weights + biases) @ beta
    return relative_l2(found, diagonal(unseen.T))


# %% [markdown]
# The trained network has two layers of 12; its "equation" is the misfit. Any
# frozen dataclass with `bounds` is a problem.

# %%
from dataclasses import dataclass

from opifex_tutorials.losses.jax_system import (
    Condition,
    Formulation,
    Trial,
    interior,
)
from opifex_tutorials.solvers.pinn import train_pinn


# %%
@dataclass(frozen=True)
class Cube:
    """The cube [-1, 1]^d."""

    d: int

    @property
    def bounds(self):
        """Lowest and highest value of each coordinate."""
        return {f"x{i}": (-1.0, 1.0) for i in range(self.d)}


# %% [markdown]
# A formulation has a trial function, here the bare network, and conditions.


# %%
def misfit_of(cube, points):
    """Return the misfit as a formulation."""

    def misfit(N):
        return lambda *x: N(*x) - diagonal(x, jnp)

    trial = Trial(lambda *x: jnp.stack(x), lambda N: N)
    at = Condition(misfit, interior(cube.bounds), cube.d, points)
    return Formulation(trial, (at,))


# %% [markdown]
# Frozen features get the best of three ranges of weights, chosen by the error itself:


# %%
def both_fits(d, seed):
    """Return the errors of frozen features and of a trained network."""
    frozen = min(frozen_fit(d, seed, largest) for largest in (0.3, 0.6, 1.0))
    small = {"hidden": (12, 12), "points": 1024, "tolerance": 1.0}
    network = train_pinn(Cube(d), misfit_of, seed=seed, steps=100, **small)
    unseen = np.random.default_rng(99).uniform(-1, 1, (2000, d)).T
    return frozen, relative_l2(network(*unseen), diagonal(unseen))


fits = compare(both_fits, DIMENSIONS, one_process=True)

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-dimension", "caption": "A wave along the diagonal of a cube, fitted by 800 frozen features and by a trained network of two hidden layers of twelve; medians and ranges of five seeds. In two dimensions the frozen ones are ahead by far, from six on the trained one is ahead."}}
figure, axes = plt.subplots()
labels = ("800 frozen features", "trained, two layers of 12")
for index, label in enumerate(labels):
    errors = np.array([[run[index] for run in r] for r in fits.runs.values()]).T
    seed_band(axes, [*DIMENSIONS.values()], errors, label, index)
axes.set(xlabel="dimension", ylabel="relative L2 error", yscale="log")
axes.set_xticks([*DIMENSIONS.values()])
axes.legend()
show(
    figure,
    alt="Error against dimension. Frozen features rise from near rounding to "
    "some percent; the trained network rises slowly and is lower from six on.",
)

# %% tags=["hide-input"]
medians = {f"d{DIMENSIONS[k]}": np.median(r, 0) for k, r in fits.runs.items()}
note("fit_2_frozen", medians["d2"][0], at_most=1e-9, **ROUNDING)
note("fit_2_trained", medians["d2"][1], at_least=1.7e-6)
note("fit_6_frozen", medians["d6"][0], at_least=2.5e-3)
note("fit_8_frozen", medians["d8"][0], at_least=2.5e-2)
note("fit_8_trained", medians["d8"][1], at_most=4.4e-3)
lead = medians["d6"][0] / medians["d6"][1]
note("fit_6_lead", lead, RATIO, at_least=10)

# %% [markdown]
# In {numref}`fig-dimension` the two change places. In six dimensions the trained network is ahead by a factor of
# {glue:text}`frozen_features.fit_6_lead:.0f` in the median, with a third of the parameters.
# {doc}`high_dimensional_games` starts where this picture ends.
#
# ## The verdict
#
# Error against time on the Burgers problem of this chapter and of {doc}`first_pinn` is in
# {numref}`fig-frozen-verdict`:

# %% tags=["hide-input"]
classical = [(grid_seconds, grid_error)]
for points, steps in ((800, 800), (512, 512), (400, 400)):
    coarse, seconds = timed(
        lambda p=points, s=steps: solve_burgers_grid(
            problem, points=p, steps=s, tolerance=1
        )
    )
    classical.append((seconds, relative_l2(coarse(t, x), exact)))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-frozen-verdict", "caption": "Burgers, error against time on one core, all seeds; the first solve of a process, to the right, compiles. Frozen features are ahead of the trained network. The spectral solver (line) is ahead of both."}}
figure, axes = plt.subplots(figsize=(6.4, 4.2))
everyone = {**burgers.runs, **trained.runs}
for name, color, marker in zip(everyone, COLORS, MARKERS, strict=False):
    some = [(duration(run), error(run)) for run in everyone[name]]
    seconds, errors = zip(*some, strict=True)
    axes.plot(seconds, errors, color=color, marker=marker, ls="", label=name)
seconds, errors = zip(*classical, strict=True)
axes.plot(
    seconds, errors, color=COLORS[3], marker="v", ls="-.", label="spectral"
)
axes.set(
    xlabel="time (s)", ylabel="relative L2 error", xscale="log", yscale="log"
)
axes.legend()
show(
    figure,
    alt="Error against time, both logarithmic. Trained networks upper right, "
    "frozen features far below, the spectral solver "
    "lower left.",
)

# %% tags=["hide-input"]
gain = late.min() / worst["400 features"]
note("burgers_gain", gain, RATIO, at_least=90)
longer = trained.median(duration)["trained"] / times["400 features"]
note("trained_over_frozen", longer, "s/s")

# %% [markdown]
# The worst of five seeds of frozen features is
# {glue:text}`frozen_features.burgers_gain:,.0f` times as accurate as the best of five
# trained networks, whose times were
# {glue:text}`frozen_features.trained_over_frozen:.1f` times as long. So:
#
# - One equation in one or two dimensions, on an interval or a square: a classical
#   solver.
# - One of the equations of this chapter whose solution you need as a smooth function
#   with derivatives and an error bound: frozen features. They are also what to try on
#   other linear or scalar equations before you train anything; that we did not test.
# - A problem that cannot be marched in time, or one of more than a few dimensions:
#   train.
#
# ## Results
#
# Everything this chapter recorded, with the bounds that would have stopped the
# build.

# %%
close_chapter("frozen_features")

# %% [markdown]
# ## Exercises
#
# ```{exercise} The range of the weights
# :label: exercise-range
#
# Solve the Poisson problem by 40 features whose largest weight is a tenth of, as large as, and thirty times the default of 2.
# What goes wrong at either end?
# ```

# %% [markdown]
# ````{solution-start} exercise-range
# :class: dropdown
# ````
#
# Small weights make all features nearly straight lines: their combinations that
# bend are lost in rounding. Large ones make steps, and forty steps cannot follow
# two waves.

# %% tags=["hide-input"]
errors = {}
for largest in (0.2, 2.0, 60.0):
    layers = [draw(40, seed, largest) for seed in range(5)]
    found = [
        poisson_error(by_factorization(*system(*one)), *one) for one in layers
    ]
    errors[largest] = np.median(found)
    print(f"largest weight {largest:g}: median error {errors[largest]:.1e}")
assert errors[2.0] < 1e-3 * min(errors[0.2], errors[60.0])

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} The bound of a trained network, improved
# :label: exercise-bound
#
# The bound adds up $|R|$ over time and space. Compute for the network `solution` the
# same integral of $R$, with its sign, over the half $0 \le x \le 1$ and all times. How
# much smaller is it? Why can it not serve as a bound?
# ```

# %% [markdown]
# ````{solution-start} exercise-bound
# :class: dropdown
# ````
#
# The signs cancel. But a source that adds in one place and removes in
# another makes an error with both signs, whose integral is small and whose norm is
# not.

# %% tags=["hide-input"]
tau, s, weights = gauss_nodes((64, 128))
width = layer_width(problem)
half = np.asarray(unstretch(s, width))
dx = weights * np.sqrt(half**2 + width**2) * np.arcsinh(1 / width)
signed = absolute = 0.0
for slab in solution.slabs:
    instant = slab.start + slab.share * tau
    R = solution.apply(burgers_residual, instant, half)
    signed += slab.share * dx @ R
    absolute += slab.share * dx @ np.abs(R)
print(f"signed {signed:.1e}, absolute {absolute:.1e}")
assert abs(signed) < absolute / 3

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Ten digits
# :label: exercise-digits
#
# The default ends between nine and ten digits. Change features, nodes and tolerance until
# the error of `solve_burgers_features` is below a ten-billionth. What does that cost?
# ```

# %% [markdown]
# ````{solution-start} exercise-digits
# :class: dropdown
# ````
#
# 600 features and a tenth of the tolerance. The time grows by a factor of a few: a
# solve is quadratic in the features, and there are a few slabs more.

# %% tags=["hide-input"]
more = {"features": 600, "points": (20, 60), "tolerance": 1e-9}
finer = solve_burgers_features(problem, seed=0, **more)
print(f"error {error(finer):.1e} in {duration(finer):.0f} s")
assert error(finer) < 1e-10

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} Another kind of feature
# :label: exercise-waves
#
# Replace $\tanh$ by $\sin$ in the Poisson problem. Which range of the weights does it
# need for ten digits with 60 features?
# ```

# %% [markdown]
# ````{solution-start} exercise-waves
# :class: dropdown
# ````
#
# Any smooth, curved function will do. Sines with random frequencies
# {cite}`rahimi2007` need three times the range: a sine of a small frequency is almost
# a straight line.

# %% tags=["hide-input"]
found = []
for seed in range(5):
    w, b = draw(60, seed, largest=6.0)
    phi, d_phi = np.sin(nodes * w + b), 2 * w * np.cos(nodes * w + b)
    place = (nodes + 1) / 2
    second = -4 * w**2 * phi * place * (1 - place)
    A = -(second + 2 * (1 - 2 * place) * d_phi - 2 * phi)
    beta = by_factorization(A, system(w, b)[1])
    points = np.linspace(0, 1, 401)
    u = points * (1 - points) * (np.sin(np.outer(2 * points - 1, w) + b) @ beta)
    found.append(relative_l2(u, poisson.exact(points)))
print(f"sines: {spread(found)}")
assert max(found) < 1e-10

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ```{exercise} A range without the answer
# :label: exercise-choose
#
# A small question of research. This chapter knew good ranges of weights, or chose
# them by the error. Choose the range for Poisson with 40 features by what you would
# have for an equation of your own: the residual, at nodes that the solve did not see.
# Let the solve have 44 nodes. How much worse is the error than with the best range?
# And what if you look at the residual at the nodes of the solve?
# ```

# %% [markdown]
# ````{solution-start} exercise-choose
# :class: dropdown
# ````
#
# New nodes are half-way between the old ones. {numref}`fig-range` shows error and
# residual over the ranges: here either residual chooses well, and only the one at
# unseen nodes also says how bad the others are. Does that hold for more features, for
# the slabs of Burgers, and when time and space have ranges of their own?

# %% tags=["hide-input"]
few = np.polynomial.legendre.leggauss(44)[0][:, None]
halfway = (few[1:] + few[:-1]) / 2


def judged(largest, seed):
    """Return the error, and the residual at unseen nodes and at its own."""
    one = draw(40, seed, largest)
    beta = by_factorization(*system(*one, at=few))
    pairs = (system(*one, at=places) for places in (halfway, few))
    sizes = [np.sqrt(np.mean((A @ beta - f) ** 2)) for A, f in pairs]
    return poisson_error(beta, *one), *sizes


# %% tags=["hide-input"]
ranges = np.logspace(-1, 2, 25)
tried = [[judged(r, seed) for seed in range(5)] for r in ranges]
tried = np.median(tried, axis=1).T
best = tried[0].min()
by_unseen, by_own = tried[0, tried[1:].argmin(axis=1)]
print(f"best range {ranges[tried[0].argmin()]:.1f}: error {best:.0e}")
print(f"by unseen nodes: {by_unseen / best:.1f} times the best error")
print(f"by its own nodes: {by_own / best:.1f} times the best error")
assert by_unseen < 10 * best

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-range", "caption": "Error and residual of 40 features against the range of their weights, medians of five seeds. Either residual has its least near that of the error, and can choose. To the right, where weights are large, the residual at the nodes of the solve looks far better than it is: steps pass between them."}}
figure, axes = plt.subplots()
labels = ("error", "residual, unseen nodes", "residual, nodes of the solve")
for index, label in enumerate(labels):
    look = {"color": COLORS[index], "marker": MARKERS[index], "ms": 4, "lw": 1}
    axes.loglog(ranges, tried[index], label=label, **look)
axes.set(xlabel="largest weight", ylabel="error, residual")
axes.legend(fontsize=9, loc="upper center")
show(
    figure,
    alt="Three valleys over the largest weight. Those of the error and of the "
    "residual at unseen nodes have their bottom at about the same place.",
)

# %% [markdown]
# ````{solution-end}
# ````

# %% [markdown]
# ## Experiments to try
#
# - Train with `formulation="smooth"`, `hidden=(16, 16, 16)` and 4,096 points. How close
#   does that come to frozen features, and in which time?
# - Train a network at $\nu = 0.001$, where frozen features needed another tolerance.
# - Double the number of slabs in `march`. By which power of the length does the
#   error fall, and where does it stop?
# - Draw the centers within $\pm 1$ rather than $\pm 1.4$. What happens near the ends
#   of a slab?
# - Solve the heat equation with eight waves. How many features does it take, and
#   which range of weights?
# - Give the mean field game 800 features. Is it the number that is missing?
#
# ## Troubleshooting
#
# **`ConvergenceError: residual … on a slab of length …`.** No slab was short enough
# for the tolerance. More features help most, then more nodes; or accept a larger
# tolerance. `error.history` has the slabs that were solved.
#
# **The residual at the nodes is tiny, the error is not.** There are too few nodes for
# the features, and the solve has learned them by heart. The solvers of the package
# look at other nodes, and raise.
#
# **The coefficients are huge.** They are not unique. If they grow beyond a million,
# digits are lost in the sum: take larger weights, so that features differ more.
#
# **`certified_error` refuses.** Soft conditions are not fulfilled exactly, and then
# the theorem says nothing. Or the residual varies more quickly than the nodes can
# see: give more.
#
# ## Related chapters
#
# - {doc}`first_pinn` trains what is frozen here.
# - {doc}`mfg_pinn` solves the games that frozen features do not.
# - {doc}`high_dimensional_games` goes on in many dimensions.
