"""The exact Burgers solution, by routes that share nothing with its implementation."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import roots_hermite

from opifex_tutorials.losses.burgers import burgers_residual
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.problems.burgers import BurgersProblem

enable_float64()

NODES, WEIGHTS = map(jnp.asarray, roots_hermite(400))


@jax.jit
def cole_hopf_in_jax(viscosity, t, x):
    """The solution as -2ν θ_x/θ with θ the solution of the heat equation: another formula.

    And what is left of the equation.
    """

    def log_theta(t, x):
        y = x - NODES * jnp.sqrt(4 * viscosity * t)
        return jax.nn.logsumexp(-jnp.cos(jnp.pi * y) / (2 * jnp.pi * viscosity), b=WEIGHTS)

    def u(t, x):
        return -2 * viscosity * jax.grad(log_theta, 1)(t, x)

    residual = burgers_residual(SimpleNamespace(viscosity=viscosity), u)
    return jax.vmap(u)(t, x), jax.vmap(residual)(t, x)


@pytest.mark.parametrize("viscosity", [0.003, 0.01 / np.pi, 0.02, 0.1])
def test_exact_solution_satisfies_the_equation(viscosity):
    problem = BurgersProblem(viscosity)
    t = np.array([0.05, 0.2, 0.4, 0.7, 1.0] * 5)
    x = np.repeat([-0.6, -0.01, 0.003, 0.2, 0.95], 5)
    values, residual = cole_hopf_in_jax(viscosity, t, x)
    np.testing.assert_allclose(problem.exact(t, x), values, atol=1e-12)
    # The terms themselves reach 1/(2ν) squared: what is left of them is rounding.
    assert np.abs(residual).max() < 1e-9 / viscosity**2 * 1e-2


@pytest.mark.parametrize("viscosity", [0.001, 0.01 / np.pi, 0.1, 0.5])
@pytest.mark.parametrize(("t", "x"), [(0.3, 0.01), (1.0, 0.5), (2.0, 0.002)])
def test_exact_solution_agrees_with_the_trapezoidal_rule(viscosity, t, x):
    # Spectrally accurate, since the integrand and its derivatives vanish at both ends.
    half = np.sqrt(4 * t * (36 * viscosity + 1 / np.pi))
    eta = np.linspace(-half, half, 20_001)
    y = x - eta
    exponent = -np.cos(np.pi * y) / (2 * np.pi * viscosity) - eta**2 / (4 * viscosity * t)
    weights = np.exp(exponent - exponent.max())
    reference = -np.sum(np.sin(np.pi * y) * weights) / np.sum(weights)
    problem = BurgersProblem(viscosity, final_time=2.0)
    assert problem.exact(t, x) == pytest.approx(reference, abs=1e-12)


@given(
    viscosity=st.floats(0.001, 0.5),
    t=st.floats(0.0, 2.0),
    x=st.floats(-1.0, 1.0),
)
@settings(max_examples=50, deadline=None)
def test_exact_solution_is_odd_and_obeys_the_maximum_principle(viscosity, t, x):
    problem = BurgersProblem(viscosity, final_time=2.0)
    u = problem.exact(t, x)
    assert abs(u) <= 1 + 1e-12
    assert u == pytest.approx(-problem.exact(t, -x), abs=1e-12)


def test_exact_solution_meets_initial_and_boundary_values():
    problem = BurgersProblem(0.01)
    x = np.linspace(-1, 1, 41)
    np.testing.assert_allclose(problem.exact(0.0, x), problem.initial(x), atol=1e-14)
    np.testing.assert_allclose(
        problem.exact(np.linspace(0, 1, 9)[:, None], [-1.0, 1.0]), 0, atol=1e-12
    )


def test_shapes_broadcast_time_first():
    problem = BurgersProblem(0.01)
    assert problem.exact(np.zeros((5, 1)), np.zeros(7)).shape == (5, 7)
    assert problem.exact(0.5, 0.5).shape == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BurgersProblem(-0.01), "viscosity=-0.01"),
        (lambda: BurgersProblem(np.nan), "viscosity=nan"),
        (lambda: BurgersProblem(0.01, final_time=0.0), "final_time=0.0"),
        (lambda: BurgersProblem("thick"), "viscosity='thick'"),
        (lambda: BurgersProblem(0.01).exact(1.5, 0.0), "t="),
        (lambda: BurgersProblem(0.01).exact(0.5, [0.0, np.nan]), "x="),
        (lambda: BurgersProblem(0.01).exact(np.zeros(3), np.zeros(4)), "shapes t"),
    ],
)
def test_bad_arguments_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "allowed are" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("viscosity", 1e-3, 0.5), ("final_time", 1e-2, 2)]
)
def test_the_ranges_are_those_of_the_docstring(name, low, high):
    def make(value):
        return BurgersProblem(**{"viscosity": 0.01, name: value})

    assert [getattr(make(end), name) for end in (low, high)] == [low, high]
    for beyond in (0.999 * low, 1.001 * high):
        with pytest.raises(ValueError, match=f"{name}="):
            make(beyond)
