"""Derivatives, residuals and trial functions, against calculus by hand and against PyTorch."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from multiprocessing import get_context
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from opifex_tutorials.losses.burgers import (
    burgers_hard,
    burgers_layer,
    burgers_residual,
    burgers_smooth,
    burgers_soft,
    layer_width,
    stretch,
    unstretch,
)
from opifex_tutorials.losses.jax_system import (
    Condition,
    Formulation,
    Program,
    System,
    Trial,
    centered,
    derivative,
    interior,
)
from opifex_tutorials.losses.linear import linear_hard
from opifex_tutorials.models import flax_mlp, torch_mlp
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.solvers.pinn import compile_program

enable_float64()

BURGERS = BurgersProblem(0.01)
T, X = np.random.default_rng(1).random((2, 25))
POINTS = 32


@cache
def program_of(formulate, kind, *, hidden=(6, 5)):
    """A program that the tests share, since it takes a second to compile."""
    return Program(formulate, kind, POINTS, hidden)


def candidate(formulate, problem, seed=3):
    """The trial function with a network in it, as a field."""
    trial = formulate(problem, 64).trial
    inputs = len(trial.features(*[0.5 for _ in problem.bounds]))
    network = flax_mlp.MLP((inputs, 8, 8, 1), rngs=nnx.Rngs(seed))
    return trial.candidate(lambda *z: network(trial.features(*z))[0])


def everywhere(field):
    """The field at arrays of points, compiled: operations one by one would compile each."""
    return jax.jit(jax.vmap(field))


def test_derivatives_of_a_polynomial():
    def u(t, x):
        return t**2 * x**3

    assert derivative(u, 0)(2.0, 3.0) == pytest.approx(2 * 2 * 27)
    assert derivative(derivative(u, 1), 1)(2.0, 3.0) == pytest.approx(4 * 6 * 3)
    assert derivative(derivative(u, 0), 1)(2.0, 3.0) == pytest.approx(2 * 2 * 3 * 9)


def test_a_box_is_mapped_to_the_cube_and_to_its_center():
    place = interior({"t": (1.0, 4.0), "x": (-2.0, 6.0)})
    np.testing.assert_allclose(place(jnp.array([0.0, 1.0])), [1, 6])
    np.testing.assert_allclose(place(jnp.array([1 / 3, 0.25])), [2, 0])
    for low, high in ((1.0, 4.0), (-2.0, 6.0), (-3.0, -1.0)):
        values = jnp.array([low, (low + high) / 2, high])
        np.testing.assert_allclose(centered(values, low, high), [-1, 0, 1])


def test_burgers_residual_by_hand():
    residual = burgers_residual(BurgersProblem(0.25), lambda t, x: t * x**2)
    # u_t = x², u u_x = 2 t² x³, u_xx = 2 t
    assert residual(2.0, 3.0) == pytest.approx(9 + 2 * 4 * 27 - 0.25 * 4)


def test_burgers_residual_agrees_with_pytorch_on_the_same_weights():
    ours = flax_mlp.MLP((2, 8, 8, 1), rngs=nnx.Rngs(3))
    theirs = torch_mlp.MLP((2, 8, 8, 1), seed=0)
    linears = [m for m in theirs.modules() if isinstance(m, torch.nn.Linear)]
    with torch.no_grad():
        for source, target in zip(ours.layers, linears, strict=True):
            target.weight.copy_(torch.from_numpy(np.array(source.kernel[...]).T))
            target.bias.copy_(torch.from_numpy(np.array(source.bias[...])))
    t, x = (torch.tensor(v, requires_grad=True) for v in (T, X))
    u = theirs(torch.stack([2 * t - 1, x], dim=1))[:, 0]
    u_t, u_x = torch.autograd.grad(u.sum(), (t, x), create_graph=True)
    (u_xx,) = torch.autograd.grad(u_x.sum(), x)
    expected = u_t + u * u_x - 0.01 * u_xx
    residual = burgers_residual(BURGERS, candidate(burgers_soft, BURGERS))
    np.testing.assert_allclose(everywhere(residual)(T, X), expected.detach(), atol=1e-13)


@pytest.mark.parametrize("formulate", [burgers_hard, burgers_layer, burgers_smooth])
def test_burgers_conditions_hold_for_any_weights(formulate):
    u = everywhere(candidate(formulate, BURGERS))
    np.testing.assert_allclose(u(0 * T, X), BURGERS.initial(X), atol=1e-15)
    np.testing.assert_allclose(u(T, 0 * X + 1), 0, atol=1e-15)
    np.testing.assert_allclose(u(T, 0 * X - 1), 0, atol=1e-15)
    assert np.abs(u(T, X) - BURGERS.initial(X)).max() > 1e-3  # the network does take part


@pytest.mark.parametrize("formulate", [burgers_layer, burgers_smooth])
def test_layer_trial_is_odd(formulate):
    u = everywhere(candidate(formulate, BURGERS))
    np.testing.assert_allclose(u(T, -X), -u(T, X), atol=1e-15)


def test_smooth_trial_is_odd_about_the_end_as_well_and_does_not_bend_there():
    u = candidate(burgers_smooth, BURGERS)
    np.testing.assert_allclose(everywhere(u)(T, 2 - X), -everywhere(u)(T, X), atol=1e-14)
    bend, bend_of_layer = (
        everywhere(derivative(derivative(v, 1), 1)) for v in (u, candidate(burgers_layer, BURGERS))
    )
    size = np.abs(bend(T, 0 * X + 0.01)).max()
    for end in (0.0, 1.0):
        assert np.abs(bend(T, 0 * X + end)).max() < 1e-11 * size
        assert np.abs(bend_of_layer(T, 0 * X + end + 1e-9 * (1 - 2 * end))).max() > 0.1


def test_layer_residual_and_points_follow_the_local_length():
    (condition,) = burgers_layer(BURGERS, POINTS).conditions
    scaled = everywhere(condition.residual(lambda t, x: t * jnp.sin(x)))
    residual = np.sin(X) + T**2 * np.sin(X) * np.cos(X) + 0.01 * T * np.sin(X)
    np.testing.assert_allclose(scaled(T, X), np.sqrt(X**2 + 0.04**2) * residual, rtol=1e-12)
    t, x = jax.vmap(condition.place)(jnp.stack([T, X], -1))
    np.testing.assert_allclose(t, T, rtol=1e-12)
    np.testing.assert_allclose(x, 0.04 * np.sinh(X * np.arcsinh(1 / 0.04)), rtol=1e-12)


@pytest.mark.parametrize("problem", [HeatProblem(), WaveProblem()])
def test_linear_conditions_hold_for_any_weights(problem):
    u = candidate(linear_hard, problem)
    values, slopes = everywhere(u), everywhere(derivative(u, 0))
    np.testing.assert_allclose(values(0 * T, X), problem.exact(0.0, X), atol=1e-14)
    for edge in (0.0, 1.0):
        np.testing.assert_allclose(values(T, 0 * X + edge), 0, atol=1e-14)
    moves = np.abs(slopes(0 * T, X)).max()
    assert moves < 1e-14 if isinstance(problem, WaveProblem) else moves > 0.1
    assert np.abs(values(T, X) - values(0 * T, X)).max() > 1e-3


def test_poisson_conditions_hold_for_any_weights():
    u = everywhere(candidate(linear_hard, PoissonProblem(2)))
    for edge in (0.0, 1.0):
        np.testing.assert_allclose(u(0 * T + edge, X), 0, atol=1e-15)
        np.testing.assert_allclose(u(T, 0 * X + edge), 0, atol=1e-15)
    assert np.abs(u(T, X)).max() > 1e-3


@pytest.mark.parametrize("viscosity", [0.003, 0.1])
def test_stretch_and_its_inverse(viscosity):
    width = layer_width(BurgersProblem(viscosity))
    s = jnp.linspace(0, 1, 11)
    np.testing.assert_allclose(stretch(unstretch(s, width), width), s, atol=1e-14)
    assert stretch(jnp.asarray(1.0), width) == pytest.approx(1.0)


CASES = [
    (burgers_soft, BURGERS),
    (burgers_hard, BURGERS),
    (burgers_layer, BURGERS),
    (burgers_smooth, BURGERS),
    (linear_hard, HeatProblem()),
    (linear_hard, WaveProblem()),
    (linear_hard, PoissonProblem(1)),
    (linear_hard, PoissonProblem(2)),
]


@pytest.mark.parametrize(("formulate", "problem"), CASES)
def test_the_jacobian_against_finite_differences(formulate, problem):
    program = program_of(formulate, problem)
    system = System(program, problem, program.sample(problem, (0, 0)))
    theta = program.initial_parameters(0)
    direction = np.random.default_rng(0).normal(size=theta.size)
    _, jacobian = system.linearize(theta)

    def along(s):  # the residuals alone would take another compilation
        return system.linearize(theta + s * direction)[0]

    h = 1e-3  # differences of fourth order: their error is about h⁴
    slope = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    np.testing.assert_allclose(jacobian @ direction, slope, atol=1e-7 * np.abs(slope).max())


@pytest.mark.parametrize(("formulate", "problem"), CASES)
def test_derivatives_carried_through_the_layers_agree_with_nested_ones(formulate, problem):
    program = program_of(formulate, problem)
    theta, points = program.initial_parameters(0), program.sample(problem, (0, 0))
    r, jacobian = program.linearize(problem, theta, points)
    formulation = formulate(problem, POINTS)
    trial = formulation.trial

    def nested(parameters):
        u = trial.candidate(by_hand(program.widths, trial.features, parameters))
        return jnp.concatenate(
            [
                jax.vmap(lambda z, c=c: c.residual(u)(*c.place(z)))(cube) / c.points**0.5
                for c, cube in zip(formulation.conditions, points, strict=True)
            ]
        )

    expected, slopes = jax.jit(lambda p: (nested(p), jax.jacfwd(nested)(p)))(jnp.asarray(theta))
    np.testing.assert_allclose(r, expected, atol=1e-13)
    np.testing.assert_allclose(jacobian, slopes, atol=1e-12 * np.abs(slopes).max())


def by_hand(widths, features, parameters):
    """A network as a field, put together without the class under test: biases, then weights."""

    def network(*point):
        z, at = features(*point), 0
        for layer, (n_in, n_out) in enumerate(pairwise(widths)):
            z = jnp.tanh(z) if layer else z
            biases, weights = parameters[at : at + n_out], parameters[at + n_out :]
            z = z @ weights[: n_in * n_out].reshape(n_in, n_out) + biases
            at += (n_in + 1) * n_out
        return z[0]

    return network


def third_order(problem, points):
    """A residual with derivatives of all kinds, up to the third order."""

    def residual(u):
        u_t, u_x = derivative(u, 0), derivative(u, 1)
        u_xxx, u_txx = derivative(derivative(u_x, 1), 1), derivative(derivative(u_t, 1), 1)
        return lambda t, x: u(t, x) * u_t(t, x) + u_xxx(t, x) + t * u_txx(t, x)

    return replace(
        burgers_hard(problem, points),
        conditions=(Condition(residual, lambda z: (z[0], z[1]), 2, points),),
    )


def periodic(problem, points):
    """A residual that compares two places."""

    def residual(u):
        u_x = derivative(u, 1)
        return lambda t, x: u(t, x) - u(t, -x) + u_x(t, 1.0) - u_x(t, -1.0)

    return replace(
        burgers_soft(problem, points),
        conditions=(Condition(residual, lambda z: (z[0], z[1]), 2, points),),
    )


@pytest.mark.parametrize("formulate", [burgers_soft, burgers_layer, periodic])
def test_residuals_alone_are_those_of_the_linearization(formulate):
    program = program_of(formulate, BURGERS)
    system = System(program, BURGERS, program.sample(BURGERS, (1, 0)))
    theta = program.initial_parameters(1)
    np.testing.assert_allclose(system.residuals(theta), system.linearize(theta)[0], atol=1e-14)


@pytest.mark.parametrize("formulate", [third_order, periodic])
def test_any_order_of_derivative_and_any_place(formulate):
    test_derivatives_carried_through_the_layers_agree_with_nested_ones(formulate, BURGERS)


@dataclass(frozen=True)
class Advection:
    """A problem of the reader's own."""

    speed: float = 1.0
    sign: int = 1
    source: np.ndarray = field(default_factory=lambda: np.array([0.0, 1.0]))
    bounds: ClassVar = {"t": (0.0, 1.0), "x": (0.0, 1.0)}


def advection(problem, points):
    def residual(u):
        u_t, u_x = derivative(u, 0), derivative(u, 1)
        transport = problem.sign * problem.speed
        return lambda t, x: u_t(t, x) + transport * u_x(t, x) - jnp.polyval(problem.source, x)

    trial = Trial(lambda t, x: jnp.stack([t, x]), lambda N: lambda t, x: jnp.sin(x) + t * N(t, x))
    return Formulation(trial, (Condition(residual, interior(problem.bounds), 2, points),))


def test_any_frozen_dataclass_with_bounds_is_a_problem():
    program = compile_program(advection, Advection(), 32, (5,))
    theta, points = program.initial_parameters(0), program.sample(Advection(), (0, 0))
    slow = program.residuals(Advection(1.0), theta, points)
    fast = program.residuals(Advection(2.0), theta, points)
    assert program.residuals._cache_size() == 1  # a real number does not compile anew
    back = program.residuals(Advection(1.0, -1), theta, points)
    assert program.residuals._cache_size() == 2  # an integer does
    # the residual is linear in the speed
    np.testing.assert_allclose(fast - slow, slow - 0.5 * (slow + back), atol=1e-14)
    forced = program.residuals(Advection(source=np.array([0.0, 3.0])), theta, points)
    assert program.residuals._cache_size() == 2  # an array of the same shape does not
    np.testing.assert_allclose(forced, slow - 2 / 32**0.5, atol=1e-14)


def test_a_problem_that_is_not_frozen_is_refused():
    @dataclass
    class Loose:
        bounds: ClassVar = {"t": (0.0, 1.0), "x": (0.0, 1.0)}

    with pytest.raises(ValueError, match="type Loose: allowed are frozen dataclasses"):
        compile_program(advection, Loose(), 32, (5,))


def test_soft_loss_is_the_sum_of_three_mean_squares():
    compiled = program_of(burgers_soft, BURGERS)
    points, theta = compiled.sample(BURGERS, (0, 0)), compiled.initial_parameters(0)
    r = np.asarray(compiled.residuals(BURGERS, theta, points))
    assert [len(p) for p in points] == [32, 4, 4]
    assert jax.jit(compiled.loss)(theta, (BURGERS, points)) == pytest.approx(
        float(r @ r), rel=1e-12
    )
    x = 2 * points[1][:, 0] - 1
    u = compiled.evaluate(BURGERS, theta, (0 * x, x))
    assert np.sum(r[32:36] ** 2) == pytest.approx(np.mean((u + np.sin(np.pi * x)) ** 2))
    times, ends = points[2][:, 0], np.where(points[2][:, 1] < 0.5, -1.0, 1.0)
    u = compiled.evaluate(BURGERS, theta, (times, ends))
    assert np.sum(r[36:] ** 2) == pytest.approx(np.mean(u**2))


def test_samples_are_reproducible_balanced_and_different_from_round_to_round():
    compiled = program_of(burgers_hard, BURGERS)
    (first,), (again,), (other,), (another,) = (
        compiled.sample(BURGERS, seed) for seed in ((5, 0), (5, 0), (5, 50), (6, 0))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert np.abs(first - another).max() > 0.1
    for column in first.T:
        assert np.histogram(column, bins=POINTS, range=(0, 1))[0].tolist() == [1] * POINTS


def test_every_condition_has_points_of_its_own():
    interior_points, _, at_the_ends = program_of(burgers_soft, BURGERS).sample(BURGERS, (5, 0))
    assert np.abs(interior_points[: len(at_the_ends)] - at_the_ends).min() > 1e-6


@pytest.mark.parametrize(
    ("formulate", "one", "other"),
    [
        (burgers_layer, BURGERS, BurgersProblem(0.02, 0.5)),
        (linear_hard, HeatProblem(), HeatProblem(0.2, amplitudes=(0.3, 0.2, 0.1))),
    ],
)
def test_problems_of_one_kind_share_a_compilation_but_not_their_numbers(formulate, one, other):
    program = program_of(formulate, one)
    theta, points = program.initial_parameters(0), program.sample(one, (0, 0))
    residuals = [program.residuals(problem, theta, points) for problem in (one, other)]
    assert program.residuals._cache_size() == 1
    for problem, computed in zip((one, other), residuals, strict=True):
        formulation = formulate(problem, POINTS)
        (condition,), trial = formulation.conditions, formulation.trial
        u = trial.candidate(by_hand(program.widths, trial.features, jnp.asarray(theta)))
        at = jax.vmap(condition.place)(points[0])
        expected = everywhere(condition.residual(u))(*at) / POINTS**0.5
        np.testing.assert_allclose(computed, expected, atol=1e-12)


@pytest.mark.parametrize("points", [0, -4, 100])
def test_unbalanced_numbers_of_points_are_refused(points):
    with pytest.raises(ValueError, match=f"points={points}: allowed are powers of two"):
        Condition(lambda u: u, lambda z: (z[0],), 1, points)


def test_a_program_travels_to_another_process():
    program = compile_program(burgers_hard, BURGERS, 32, (4,))
    assert pickle.loads(pickle.dumps(program)) is program  # compiled once for all copies
    theta, points = program.initial_parameters(0), program.sample(BURGERS, (0, 0))
    here = program.residuals(BURGERS, theta, points)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(residuals_of, program, theta, points).result()
    np.testing.assert_allclose(there, here, rtol=1e-12)


def residuals_of(program, theta, points):
    return np.asarray(program.residuals(BURGERS, theta, points))
