"""Answers that nobody knows: two statements, lines, an estimate; each against what is known."""

import doctest
from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from opifex_tutorials.losses import equation as equations
from opifex_tutorials.losses.equation import Equation, Named
from opifex_tutorials.losses.jax_system import derivative
from opifex_tutorials.losses.linear import built_in
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import (
    HeatProblem,
    PoissonProblem,
    WaveProblem,
    sine_series,
)
from opifex_tutorials.solvers import method_of_lines, solve_burgers_grid, solve_burgers_pinn
from opifex_tutorials.solvers.frozen_features import solve_by_features
from opifex_tutorials.solvers.linear_pinn import solve_linear_pinn
from opifex_tutorials.solvers.method_of_lines import Grid, solve_by_lines
from opifex_tutorials.solvers.own_equation import require_equation
from opifex_tutorials.solvers.pinn import train_pinn
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.verification import (
    convergence_order,
    errors,
    estimate_error,
    estimates,
    manufactured,
    mismatch,
    relative_l2,
    self_convergence,
    statements,
)

enable_float64()
HEAT = Named(lambda problem, u_t, u_xx: u_t - problem.diffusivity * u_xx)
WAVE = Named(lambda problem, u_tt, u_xx: u_tt - problem.speed**2 * u_xx)
BURGERS = Named(lambda problem, u, u_t, u_x, u_xx: u_t + u * u_x - problem.viscosity * u_xx)


def source(problem, *x):
    return sine_series(problem.source_amplitudes, *x)


POISSON = {
    1: Named(lambda problem, x, u_xx: -u_xx - source(problem, x)),
    2: Named(lambda problem, x, y, u_xx, u_yy: -u_xx - u_yy - source(problem, x, y)),
}
FEW = {"hidden": (10, 10), "points": 512, "steps": 50, "tolerance": np.inf}


def start(problem, x):
    return sine_series(problem.amplitudes, x)


# --- formulas by name ---


@dataclass(frozen=True)
class Ring:
    """Two species on a ring."""

    rate: float = 2.0
    bounds: ClassVar = {"t": (0.0, 1.0), "x": (0.0, 2.0), "y": (0.0, 1.0)}


def test_a_formula_means_what_its_names_say():
    def formula(problem, v, w, v_t, w_x, w_xy, v_yyy, x):
        return v_t + problem.rate * v * w_x, w_xy - v_yyy * x * w

    residuals = Named(formula, ("v", "w"))(
        Ring(), lambda t, x, y: jnp.stack([t * y**3, jnp.sin(t) * x**2 * y])
    )
    t, x, y = 0.3, 0.7, 0.9
    v, w, v_t, w_x, w_xy, v_yyy = t * y**3, np.sin(t) * x**2 * y, y**3, 0, 0, 6 * t
    w_x, w_xy = 2 * np.sin(t) * x * y, 2 * np.sin(t) * x
    np.testing.assert_allclose(residuals[0](t, x, y), v_t + 2 * v * w_x, rtol=1e-12)
    np.testing.assert_allclose(residuals[1](t, x, y), w_xy - v_yyy * x * w, rtol=1e-12)


@pytest.mark.parametrize("name", ["v", "u_z", "w_x", "time"])
def test_a_name_that_says_nothing_is_refused(name):
    formula = eval(f"lambda u, {name}: u")
    with pytest.raises(ValueError, match=f"'{name}'"):
        Named(formula)(HeatProblem(), lambda t, x: t)


MODULES = [equations, method_of_lines, errors, estimates, statements]


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_are_right(module):
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


# --- two statements ---


def reaction(problem, u, factors=(1, 1, 1, 1)):
    """Two rates, diffusion, reaction: Fisher's equation with factors that can be wrong."""
    u_t, u_xx = derivative(u, 0), derivative(derivative(u, 1), 1)
    a, b, c, d = factors

    def residual(t, x):
        diffusion, v = b * problem.diffusivity * u_xx(t, x), u(t, x)
        return a * u_t(t, x) - diffusion - c * problem.rate * v + d * problem.rate * v**2

    return residual


def from_a_wave(problem, N):
    return lambda t, x: 0.5 + 0.4 * jnp.cos(jnp.pi * x) + t * N(t, x)


@dataclass(frozen=True)
class Fisher:
    """u_t = κ u_xx + r u (1 - u) on a ring."""

    diffusivity: float = 0.1
    rate: float = 2.0
    bounds: ClassVar = {"t": (0.0, 1.0), "x": (0.0, 2.0)}


FISHER = Equation(reaction, from_a_wave, periodic=("x",))
SAID_AGAIN = Equation(
    Named(
        lambda problem, u, u_t, u_xx: u_t - problem.diffusivity * u_xx - problem.rate * (u - u**2)
    ),
    periodic=("x",),
    faces=(("t", "low", Named(lambda u, x: u - 0.1 - 0.8 * jnp.cos(jnp.pi * x / 2) ** 2)),),
)
SLIPS = [
    tuple(factor if i == place else 1 for i in range(4))
    for place in range(4)
    for factor in (-1, 0, 0.5, 2)
]


def test_two_statements_of_the_same_agree():
    found = mismatch(Fisher(), FISHER, SAID_AGAIN)
    assert set(found) == {
        "equation 0",
        "t low 0",
        "x periodic, derivative 0",
        "x periodic, derivative 1",
    }
    assert max(found.values()) < 1e-13


@pytest.mark.parametrize("factors", SLIPS)
def test_wrong_signs_and_factors_are_caught(factors):
    wrong = replace(FISHER, residual=lambda problem, u: reaction(problem, u, factors))
    require_equation(Fisher(), wrong)  # nothing else notices
    with pytest.raises(ValueError, match="equation 0"):
        manufactured(Fisher(), wrong, SAID_AGAIN)


def beginning(value, mask=0):
    return lambda problem, N: lambda t, x: value(x) + (t + mask) * N(t, x)


@pytest.mark.parametrize(
    ("part", "slip"),
    [
        ("t low 0", {"trial": beginning(lambda x: 0.5 + 0.4 * jnp.sin(jnp.pi * x))}),
        ("t low 0", {"trial": beginning(lambda x: 0.5 - 0.4 * jnp.cos(jnp.pi * x))}),
        ("t low 0", {"trial": beginning(lambda x: 0.5 + 0.4 * jnp.cos(jnp.pi * x), mask=1)}),
        ("x periodic, derivative 0", {"periodic": ()}),
        ("x periodic, derivative 1", {"trial": beginning(lambda x: 0.1 + 0.8 * (x - 1) ** 2)}),
    ],
)
def test_wrong_conditions_are_caught(part, slip):
    with pytest.raises(ValueError, match=part):
        manufactured(Fisher(), replace(FISHER, **slip), SAID_AGAIN)


def test_conditions_on_faces_are_compared_too():
    (face,) = SAID_AGAIN.faces
    soft = replace(FISHER, trial=None, faces=(face,))
    assert max(mismatch(Fisher(), soft, SAID_AGAIN).values()) < 1e-13
    other = replace(soft, faces=(("t", "low", Named(lambda u, x: u - x)),))
    with pytest.raises(ValueError, match=r"t low 0.*t low 0, asked for"):
        manufactured(Fisher(), other, SAID_AGAIN)
    extra = replace(soft, faces=(face, ("x", "low", Named(lambda u: u))))
    with pytest.raises(ValueError, match="x low 0, asked for"):
        manufactured(Fisher(), extra, SAID_AGAIN)


def test_a_manufactured_equation_has_the_chosen_solution():
    made = manufactured(Fisher(), FISHER, SAID_AGAIN)
    t, x = np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 2, 41))
    exact = made.exact(t, x)
    np.testing.assert_allclose(exact[:, 0], 0.5 + 0.4 * np.cos(np.pi * x[:, 0]), atol=1e-14)
    np.testing.assert_allclose(exact[0], exact[-1], atol=1e-14)
    solution = train_pinn(Fisher(), made.equation, seed=0, **FEW)
    assert relative_l2(solution(t, x), exact) < 1e-5
    slipped = replace(FISHER, residual=lambda p, u: reaction(p, u, (1, 1, 1, 0.5)))
    made = manufactured(Fisher(), slipped, SAID_AGAIN, tolerance=np.inf)
    solution = train_pinn(Fisher(), made.equation, seed=0, **FEW)
    assert relative_l2(solution(t, x), exact) > 0.01


def test_a_second_statement_has_to_say_all():
    for short in (
        replace(SAID_AGAIN, faces=()),
        replace(SAID_AGAIN, trial=from_a_wave),
        replace(SAID_AGAIN, periodic=()),
        SAID_AGAIN.residual,
    ):
        with pytest.raises(ValueError, match="allowed"):
            mismatch(Fisher(), FISHER, short)


def test_frozen_features_are_for_one_field():
    ring = Equation(reaction, from_a_wave, fields=2)
    small = {"features": 10, "ranges": (1, 1), "points": (4, 4), "tolerance": 1.0}
    with pytest.raises(ValueError, match="2 unknown fields"):
        solve_by_features(Fisher(), ring, seed=0, evolves=False, **small)


def test_other_numbers_of_fields_and_residuals_are_refused():
    with pytest.raises(ValueError, match="fields=2"):
        mismatch(Fisher(), FISHER, replace(SAID_AGAIN, fields=2))
    pair = replace(SAID_AGAIN, residual=Named(lambda u, u_t: (u, u_t)))
    with pytest.raises(ValueError, match="2 residuals"):
        mismatch(Fisher(), FISHER, pair)


# --- lines ---


@pytest.mark.parametrize(
    ("problem", "statement"), [(HeatProblem(), HEAT), (WaveProblem(), WAVE)], ids=["heat", "wave"]
)
def test_lines_converge_with_second_order(problem, statement):
    errors = []
    for points in (16, 32, 64):
        lines = solve_by_lines(problem, statement, start, points=points, ends=["dirichlet"])
        errors.append(relative_l2(lines.values, problem.exact(*lines.mesh)))
    assert convergence_order([1 / 16, 1 / 32, 1 / 64], errors) == pytest.approx(2, abs=0.1)


def test_an_even_start_needs_half_of_the_ring():
    @dataclass(frozen=True)
    class Half(Fisher):
        bounds: ClassVar = {"t": (0.0, 1.0), "x": (0.0, 1.0)}

    def wave(problem, x):
        return 0.5 + 0.4 * jnp.cos(jnp.pi * x)

    ring = solve_by_lines(Fisher(), SAID_AGAIN.residual, wave, points=64)
    half = solve_by_lines(Half(), SAID_AGAIN.residual, wave, points=32, ends=["neumann"])
    np.testing.assert_allclose(half.values, ring.values[:, :33], atol=1e-9)


def test_derivatives_on_the_grid_have_order_two():
    names = ["u_x", "u_xx", "u_xxx", "u_xxxx", "u_xy", "u_yyx"]
    steady = type("Steady", (), {"bounds": {"x": (0.0, 2.0), "y": (0.0, 2.0)}})()

    def field(x, y):
        return jnp.exp(jnp.sin(jnp.pi * x) + jnp.cos(jnp.pi * y))

    for name in names:
        statement, errors = Named(eval(f"lambda {name}: {name}")), []
        for points in (64, 128):
            grid = Grid(steady, statement, points, ["periodic"] * 2)
            found = grid.residual(None, field(*grid.x)[None])[0]
            exact = statement(steady, field)
            at = [jnp.asarray(x.ravel()) for x in grid.x]
            errors.append(relative_l2(found.ravel(), jax.vmap(exact)(*at)))
        assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 4}, "points=4"),
        ({"ends": ["periodic", "periodic"]}, "a list of 1"),
        ({"ends": ["open"]}, "'open'"),
        ({"tolerance": 0.5}, "tolerance"),
        ({"statement": Named(lambda u_t, u_xx: 2 * u_t - u_xx)}, "factor 1"),
        ({"statement": Named(lambda u, u_xx: u - u_xx)}, "derivatives in time"),
        ({"statement": Named(lambda u, u_t, u_txx: u_t - u_txx + u)}, "derivatives in time"),
        ({"statement": Named(lambda v, w, v_t, w_t: (w_t, v_t), ("v", "w"))}, "in this order"),
        ({"statement": lambda problem, u: u}, "Named"),
        ({"ends": "dirichlet"}, "a list"),
        ({"statement": Named(lambda u_ttt, u_xx: u_ttt - u_xx)}, "derivatives in time"),
        ({"problem": PoissonProblem(), "statement": POISSON[1]}, "t first"),
    ],
)
def test_bad_arguments_of_lines_are_named(options, message):
    given = {"problem": HeatProblem(), "statement": HEAT, "initial": start, "points": 16} | options
    with pytest.raises(ValueError, match=message):
        solve_by_lines(**given)


# --- convergence against oneself ---


def test_self_convergence_finds_order_and_error():
    problem = WaveProblem()

    def lines(points):
        return solve_by_lines(problem, WAVE, start, points=points, ends=["dirichlet"])

    found = self_convergence(lambda n: lines(n).values[:, :: n // 16], (16, 32, 64, 128))
    assert found.orders == pytest.approx(2, abs=0.1)
    exact = problem.exact(*lines(16).mesh)
    true = relative_l2(found.values, exact)
    assert true < 1e-5
    assert true < found.error < 30 * true


def test_self_convergence_refuses_what_does_not_converge():
    with pytest.raises(ValueError, match="order"):
        self_convergence(lambda n: np.array([1.0, 2.0]) + n, (8, 16, 32))
    with pytest.raises(ValueError, match="counts"):
        self_convergence(lambda n: np.ones(3), (8, 16, 24))


# --- the error, estimated ---

JUDGED = {
    "heat": (HeatProblem(), HEAT, 64, 1),
    "wave": (WaveProblem(), WAVE, 64, 1),
    "poisson": (PoissonProblem(), POISSON[1], 128, 1),
    "poisson_2d": (PoissonProblem(2), POISSON[2], 32, 2),
}


@pytest.mark.parametrize("name", JUDGED)
def test_the_estimate_is_close_to_the_error(name):
    problem, statement, points, dimension = JUDGED[name]
    solution = solve_linear_pinn(problem, seed=1, **FEW)
    found = estimate_error(solution, statement, points=points, ends=["dirichlet"] * dimension)
    error = problem.exact(*found.mesh) - solution(*found.mesh)
    assert relative_l2(found.values, error) < 0.15


def test_the_estimate_of_burgers_is_close_to_the_error():
    problem = BurgersProblem(0.05)
    solution = solve_burgers_pinn(problem, seed=0, **FEW)
    # Between nodes: at x = 0 the second derivative of this trial function jumps.
    found = estimate_error(solution, BURGERS, points=127, ends=["dirichlet"])
    error = problem.exact(*found.mesh) - solution(*found.mesh)
    assert relative_l2(found.values, error) < 0.1


def test_the_estimate_holds_for_systems():
    def two(problem, u):
        u_t, u_xx = derivative(u, 0), derivative(derivative(u, 1), 1)
        return (
            lambda t, x: u_t(t, x)[0] - 0.1 * u_xx(t, x)[0] + u(t, x)[0] * u(t, x)[1],
            lambda t, x: u_t(t, x)[1] - 0.1 * u_xx(t, x)[1] - u(t, x)[0] * u(t, x)[1],
        )

    def trial(problem, N):
        return lambda t, x: jnp.stack([1 + jnp.sin(jnp.pi * x), 0.5 + 0 * x]) + t * N(t, x)

    def formula(v, w, v_t, w_t, v_xx, w_xx):
        return v_t - v_xx / 10 + v * w, w_t - w_xx / 10 - v * w

    statement = Named(formula, ("v", "w"))
    solution = train_pinn(Fisher(), Equation(two, trial, 2, ("x",)), seed=0, **FEW)
    found = estimate_error(solution, statement, points=64)

    def lines(points):
        start = solve_by_lines(
            Fisher(), statement, lambda p, x: (1 + jnp.sin(jnp.pi * x), 0.5), points=points
        )
        return start.values[..., :: points // 64]

    error = self_convergence(lines, (64, 128, 256)).values - solution(*found.mesh)
    assert relative_l2(found.values, error) < 0.2


def test_a_slip_in_the_equation_is_an_error():
    def doubled(problem, u):
        u_t, u_xx = derivative(u, 0), derivative(derivative(u, 1), 1)
        return lambda t, x: u_t(t, x) - 2 * problem.diffusivity * u_xx(t, x)

    solution = train_pinn(HeatProblem(), Equation(doubled, built_in), seed=0, **FEW)
    found = estimate_error(solution, HEAT, points=64, ends=["dirichlet"])
    error = HeatProblem().exact(*found.mesh) - solution(*found.mesh)
    assert np.abs(error).max() > 0.1
    assert relative_l2(found.values, error) < 0.01


def test_a_constant_that_nothing_fixes_has_no_estimate():
    @dataclass(frozen=True)
    class Ring1:
        bounds: ClassVar = {"x": (0.0, 2.0)}

    def sine(problem, u):
        u_xx = derivative(derivative(u, 0), 0)
        return lambda x: u_xx(x) + jnp.pi**2 * jnp.sin(jnp.pi * x)

    solution = train_pinn(Ring1(), Equation(sine, periodic=("x",)), seed=0, **FEW)
    named = Named(lambda u_xx, x: u_xx + jnp.pi**2 * jnp.sin(jnp.pi * x))
    with pytest.raises(ConvergenceError, match="without a single solution"):
        estimate_error(solution, named, points=64)


def test_the_estimate_is_for_networks_of_jax():
    grid = solve_burgers_grid(BurgersProblem(0.1), points=64, steps=64)
    with pytest.raises(ValueError, match="BurgersGridSolution"):
        estimate_error(grid, BURGERS)
