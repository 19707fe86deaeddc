"""Closed forms of the linear problems against their equations, by automatic differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from opifex_tutorials.losses.linear import heat_residual, poisson_residual, wave_residual
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.problems.linear import (
    HeatProblem,
    PoissonProblem,
    WaveProblem,
    sine_series,
)

enable_float64()

AMPLITUDES = (1.0, -0.3, 0.5, 0.0, 0.2, -0.1, 0.05, 0.02)  # eight, as many as allowed
POINTS = np.random.default_rng(0).random((2, 40))


def everywhere(field):
    return jax.jit(jax.vmap(field))


def modes(amplitudes, *point):
    return [
        a * jnp.prod(jnp.sin(k * jnp.pi * jnp.stack(point))) for k, a in enumerate(amplitudes, 1)
    ]


def heat_form(problem):
    def u(t, x):
        rates = [problem.diffusivity * (k * jnp.pi) ** 2 for k in range(1, 9)]
        return sum(m * jnp.exp(-r * t) for m, r in zip(modes(AMPLITUDES, x), rates, strict=True))

    return u


def wave_form(problem):
    def u(t, x):  # d'Alembert: two travelling waves, a formula other than the package's
        def g(z):
            return sum(modes(AMPLITUDES, z))

        return (g(x - problem.speed * t) + g(x + problem.speed * t)) / 2

    return u


def poisson_form(problem):
    return lambda *point: sum(modes(AMPLITUDES, *point))


CASES = [
    (HeatProblem(0.07, amplitudes=AMPLITUDES), heat_form, heat_residual),
    (WaveProblem(1.3, amplitudes=AMPLITUDES), wave_form, wave_residual),
    (PoissonProblem(1, amplitudes=AMPLITUDES), poisson_form, poisson_residual),
    (PoissonProblem(2, amplitudes=AMPLITUDES), poisson_form, poisson_residual),
]


@pytest.mark.parametrize(("problem", "form", "residual"), CASES)
def test_closed_form_satisfies_the_equation(problem, form, residual):
    u, points = form(problem), POINTS[: len(problem.bounds)]
    np.testing.assert_allclose(problem.exact(*points), everywhere(u)(*points), atol=1e-13)
    assert np.abs(everywhere(residual(problem, u))(*points)).max() < 1e-10


@pytest.mark.parametrize(("problem", "form", "residual"), CASES)
def test_residual_notices_a_wrong_solution(problem, form, residual):
    def wrong(*point):
        return form(problem)(*point) + 1e-3 * jnp.sin(2 * jnp.pi * point[-1])

    assert np.abs(everywhere(residual(problem, wrong))(*POINTS[: len(problem.bounds)])).max() > 1e-4


@pytest.mark.parametrize("dimension", [1, 2])
def test_source_is_the_negative_laplacian(dimension):
    problem = PoissonProblem(dimension, amplitudes=AMPLITUDES)
    hessian = everywhere(jax.hessian(lambda z: poisson_form(problem)(*z)))
    laplacian = np.trace(hessian(POINTS[:dimension].T), axis1=1, axis2=2)
    source = sine_series(problem.source_amplitudes, *POINTS[:dimension])
    np.testing.assert_allclose(source, -laplacian, rtol=1e-11)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HeatProblem(diffusivity=0.0), "diffusivity=0.0"),
        (lambda: WaveProblem(speed=-1.0), "speed=-1.0"),
        (lambda: PoissonProblem(dimension=3), "dimension=3"),
        (lambda: PoissonProblem(dimension=True), "dimension=True"),
        (lambda: HeatProblem(amplitudes=()), r"amplitudes=\(\)"),
        (lambda: HeatProblem(amplitudes=(1.0,) * 9), r"amplitudes=.*1 to 8"),
        (lambda: HeatProblem(amplitudes=[1.0]), r"amplitudes=\[1\.0\]"),
        (lambda: WaveProblem(amplitudes=(1.0, np.inf)), "amplitudes="),
        (lambda: PoissonProblem(2).exact(np.zeros(2), np.zeros(3)), "shapes x"),
        (lambda: WaveProblem().exact(0.5, 1.5), "x="),
    ],
)
def test_bad_arguments_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("kind", "name", "low", "high"),
    [
        (HeatProblem, "diffusivity", 1e-3, 1),
        (HeatProblem, "final_time", 1e-2, 10),
        (WaveProblem, "speed", 0.1, 10),
        (WaveProblem, "final_time", 1e-2, 10),
    ],
)
def test_the_ranges_are_those_of_the_docstrings(kind, name, low, high):
    assert [getattr(kind(**{name: end}), name) for end in (low, high)] == [low, high]
    for beyond in (0.999 * low, 1.001 * high):
        with pytest.raises(ValueError, match=f"{name}="):
            kind(**{name: beyond})
