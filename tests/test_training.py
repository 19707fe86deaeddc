"""Optimizers against libraries, linear algebra and problems whose solution is known."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import optax
import optimistix
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from opifex_tutorials.losses.burgers import burgers_layer
from opifex_tutorials.losses.jax_system import Program, System
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.training.gradient import adam, compile_block, initial_state, l_bfgs
from opifex_tutorials.training.history import ConvergenceError, History, Stopwatch
from opifex_tutorials.training.levenberg_marquardt import (
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)
from opifex_tutorials.training.meta_learning import levenberg_marquardt_steps

enable_float64()


class Decay:
    """Fit a₀ exp(-b₀ t) + a₁ exp(-b₁ t) to data: the classical long and narrow valley."""

    times = np.linspace(0.0, 3.0, 30)
    truth = np.array([1.0, 0.5, 2.0, 3.0])

    def model(self, p):
        return p[0] * np.exp(-p[1] * self.times) + p[2] * np.exp(-p[3] * self.times)

    def residuals(self, p):
        return self.model(p) - self.model(self.truth)

    def linearize(self, p):
        e0, e1 = np.exp(-p[1] * self.times), np.exp(-p[3] * self.times)
        jacobian = np.stack([e0, -p[0] * self.times * e0, e1, -p[2] * self.times * e1], axis=1)
        return self.residuals(p), jacobian


START = np.array([0.5, 0.2, 1.0, 1.5])


def run(system, start, steps, **options):
    states = [LevenbergMarquardtState(np.asarray(start, dtype=float))]
    for _ in range(steps):
        states.append(levenberg_marquardt_step(system, states[-1], **options))
    return states


@pytest.mark.parametrize("geodesic", [True, False])
def test_levenberg_marquardt_finds_the_minimum_that_libraries_find(geodesic):
    system = Decay()
    ours = run(system, START, 60, geodesic=geodesic)[-1].parameters
    scipy_s = least_squares(system.residuals, START, method="lm", xtol=1e-15, ftol=1e-15).x

    def traced(p, _):
        t = jnp.asarray(system.times)
        model = p[0] * jnp.exp(-p[1] * t) + p[2] * jnp.exp(-p[3] * t)
        return model - system.model(system.truth)

    solver = optimistix.LevenbergMarquardt(rtol=1e-12, atol=1e-12)
    optimistix_s = optimistix.least_squares(traced, solver, jnp.asarray(START), max_steps=1000)
    np.testing.assert_allclose(ours, system.truth, rtol=1e-6)
    np.testing.assert_allclose(ours, scipy_s, rtol=1e-6)
    np.testing.assert_allclose(ours, optimistix_s.value, rtol=1e-5)


def test_a_step_without_correction_solves_the_damped_least_squares_problem():
    system, damping = Decay(), 0.3
    state = LevenbergMarquardtState(START, damping)
    r, jacobian = system.linearize(START)
    # The same step from an orthogonal factorization of the stacked problem [J; √λ I] d = [-r; 0].
    stacked = np.vstack([jacobian, np.sqrt(damping) * np.eye(4)])
    expected = np.linalg.lstsq(stacked, np.concatenate([-r, np.zeros(4)]), rcond=None)[0]
    after = levenberg_marquardt_step(system, state, geodesic=False)
    np.testing.assert_allclose(after.parameters - START, expected, rtol=1e-10)


def test_the_correction_follows_the_curve_to_second_order():
    """On r(θ) = f(θ) - target the step s ↦ s d + s² a / 2 keeps r on a straight line."""

    class Square:
        def residuals(self, p):
            return np.array([p[0] ** 2 - 4.0])

        def linearize(self, p):
            return self.residuals(p), np.array([[2 * p[0]]])

    start = LevenbergMarquardtState(np.array([1.8]), damping=1e-12)
    with_correction, without = (
        levenberg_marquardt_step(Square(), start, geodesic=g).parameters[0] for g in (True, False)
    )
    d = (4 - 1.8**2) / 3.6
    assert without == pytest.approx(1.8 + d)
    # a parabola has no third derivative, so that the difference gives its curvature exactly
    assert with_correction == pytest.approx(1.8 + d - d**2 / 3.6)
    assert abs(with_correction - 2) < abs(without - 2) / 5


@given(start=st.lists(st.floats(0.1, 3.0), min_size=4, max_size=4))
@settings(max_examples=40, deadline=None)
def test_the_loss_never_increases(start):
    states = run(Decay(), start, 15)[1:]
    losses = [s.loss for s in states]
    assert all(b <= a for a, b in pairwise(losses))
    assert all(np.isfinite(s.parameters).all() for s in states)


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**20, 2.0**40])
@pytest.mark.parametrize("geodesic", [True, False])
def test_the_units_of_the_residuals_do_not_matter(scale, geodesic):
    class Scaled(Decay):
        def linearize(self, p):
            return self.residuals(p), scale * super().linearize(p)[1]

        def residuals(self, p):
            return scale * super().residuals(p)

    plain, scaled = (run(s, START, 40, geodesic=geodesic) for s in (Decay(), Scaled()))
    assert not plain[10].stalled
    for one, other in zip(plain, scaled, strict=True):
        # a power of two leaves the rounding as it is
        np.testing.assert_array_equal(one.parameters, other.parameters)


class Refusing(Decay):
    """The first trials seem worse than the start."""

    def __init__(self, refusals):
        self.refusals = refusals

    def residuals(self, p):
        self.refusals -= 1
        return super().residuals(p) + 10.0 * (self.refusals >= 0)

    def linearize(self, p):
        return Decay().linearize(p)


@pytest.mark.parametrize("refusals", [0, 1, 2, 3, 5])
def test_each_refusal_in_a_row_raises_the_damping_more(refusals):
    """Madsen, Nielsen & Tingleff 2004, equation 2.21: by 2, 4, 8 and so on."""
    before = LevenbergMarquardtState(START, 1e-3)
    after = levenberg_marquardt_step(Refusing(refusals), before, geodesic=False)
    r, jacobian = Decay().linearize(START)
    damping = 1e-3 * 2 ** (refusals * (refusals + 1) // 2)
    gram = jacobian.T @ jacobian
    d = np.linalg.solve(gram + damping * np.eye(4), -jacobian.T @ r)
    np.testing.assert_allclose(after.parameters, START + d, rtol=1e-9)
    loss = np.sum(Decay().residuals(START + d) ** 2)
    model = np.sum((r + jacobian @ d) ** 2)
    gain = (r @ r - loss) / (r @ r - model)
    expected = damping * max(1 / 3, 1 - (2 * gain - 1) ** 3)
    assert after.loss == pytest.approx(loss)
    assert after.damping == pytest.approx(expected, rel=1e-6)


def test_the_first_step_is_short():
    after = levenberg_marquardt_step(Decay(), LevenbergMarquardtState(START), geodesic=False)
    r, jacobian = Decay().linearize(START)
    gram = jacobian.T @ jacobian
    d = np.linalg.solve(gram + gram.diagonal().max() * np.eye(4), -jacobian.T @ r)
    np.testing.assert_allclose(after.parameters, START + d, rtol=1e-12)


@pytest.mark.parametrize("damping", [0, -1.0, np.nan, np.inf, "small"])
def test_a_damping_that_is_not_positive_is_refused(damping):
    with pytest.raises(ValueError, match=f"damping={damping!r}: allowed are numbers from"):
        LevenbergMarquardtState(START, damping)


def madsen(p, damping, trials):
    """Trials of Levenberg and Marquardt on atan(p), written from the book."""
    path, growth = [], 2.0
    for _ in range(trials):
        r, slope = np.arctan(p), 1 / (1 + p**2)
        d = -slope * r / (slope**2 + damping)
        decrease = r**2 - np.arctan(p + d) ** 2
        if decrease > 0:
            gain = decrease / (r**2 - (r + slope * d) ** 2)
            p, growth = p + d, 2.0
            damping = damping * max(1 / 3, 1 - (2 * gain - 1) ** 3)
        else:
            damping, growth = damping * growth, 2 * growth
        path.append(p)
    return path


def test_the_compiled_iteration_raises_the_damping_by_the_same_rule():
    """From 10 five trials go too far, and two more after the first that helps."""
    expected = madsen(10.0, 1e-7, 9)
    assert [a != b for a, b in pairwise([10.0, *expected])] == [
        *[False] * 5,
        True,
        False,
        False,
        True,
    ]

    def linearize(p, _):
        return jnp.arctan(p), jnp.diag(1 / (1 + p**2))

    for trials in (5, 6, 9):
        adapt = levenberg_marquardt_steps(linearize, lambda p, _: jnp.arctan(p), trials, 1e-7)
        np.testing.assert_allclose(adapt(jnp.array([10.0]), None), expected[trials - 1], rtol=1e-9)


def test_at_a_minimum_the_iteration_says_so_and_stays():
    after = levenberg_marquardt_step(Decay(), LevenbergMarquardtState(Decay.truth))
    assert after.stalled
    np.testing.assert_array_equal(after.parameters, Decay.truth)


def test_a_start_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="residuals or Jacobian"):
        levenberg_marquardt_step(Decay(), LevenbergMarquardtState(np.full(4, np.nan)))


def test_the_correction_is_worth_its_price_on_burgers():
    problem, compiled = (
        BurgersProblem(0.05),
        Program(burgers_layer, BurgersProblem(0.05), 512, (8, 8)),
    )
    system = System(compiled, problem, compiled.sample(problem, (0, 0)))
    losses = [
        run(system, compiled.initial_parameters(0), 120, geodesic=g)[-1].loss for g in (True, False)
    ]
    assert losses[0] < losses[1] / 5


def quadratic(p, data):
    return jnp.sum(data * (p - 1) ** 2)


def test_blocks_of_adam_equal_single_steps_of_optax():
    data, start = jnp.array([1.0, 10.0, 100.0]), jnp.zeros(3)
    block = compile_block(quadratic, adam(30, 0.1), 15)
    theta, state = start, adam(30, 0.1).init(start)
    for _ in range(2):
        theta, state = block(theta, state, data)

    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 30))
    expected, memory = start, optimizer.init(start)
    for _ in range(30):
        updates, memory = optimizer.update(2 * data * (expected - 1), memory)
        expected = expected + updates
    np.testing.assert_allclose(theta, expected, rtol=1e-12)


@pytest.mark.parametrize("optimizer", [adam(30), l_bfgs()])
def test_a_block_compiles_once(optimizer):
    data, theta = jnp.ones(3), jnp.zeros(3)
    block, state = compile_block(quadratic, optimizer, 5), initial_state(optimizer, theta)
    for _ in range(2):
        theta, state = block(theta, state, data)
    assert block._cache_size() == 1


def test_l_bfgs_minimizes_a_quadratic():
    data, start = jnp.logspace(0, 2, 12), jnp.zeros(12)
    theta, _ = compile_block(quadratic, l_bfgs(), 60)(start, l_bfgs().init(start), data)
    np.testing.assert_allclose(theta, 1, atol=1e-8)


def test_the_stopwatch_does_not_count_pauses(monkeypatch):
    now = iter([0.0, 1.0, 101.0, 103.0])  # start, before the pause, after it, at the end
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    clock = Stopwatch()
    with clock.paused():
        pass
    assert clock.seconds == 3.0


def test_a_convergence_error_keeps_its_history_across_processes():
    import pickle

    error = ConvergenceError("no", History(steps=[3], losses=[0.5]))
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == "no"
    assert copy.history.losses == [0.5]


class Wavy:
    """Five residuals of nine parameters."""

    A = np.random.default_rng(0).normal(size=(5, 9))

    def residuals(self, parameters):
        return np.sin(self.A @ parameters) + 0.5

    def linearize(self, parameters):
        return self.residuals(parameters), np.cos(self.A @ parameters)[:, None] * self.A


@pytest.mark.parametrize("geodesic", [False, True])
def test_with_fewer_residuals_than_parameters_the_step_is_the_same(geodesic):
    """The damped equations once more, by the larger matrix."""
    system, start, damping = Wavy(), 0.1 * np.arange(9.0), 3.0
    r, J = system.linearize(start)
    damped = J.T @ J + damping * np.eye(9)
    expected = move = -np.linalg.solve(damped, J.T @ r)
    if geodesic:
        bend = -np.sin(system.A @ start) * (system.A @ move) ** 2
        expected = move - 0.5 * np.linalg.solve(damped, J.T @ bend)
    state = LevenbergMarquardtState(start, damping)
    found = levenberg_marquardt_step(system, state, geodesic=geodesic)
    np.testing.assert_allclose(found.parameters - start, expected, rtol=1e-4 if geodesic else 1e-10)
    predicted = move @ (J.T @ J @ move + 2 * damping * move)
    gain = (r @ r - found.loss) / predicted
    assert found.damping == pytest.approx(damping * max(1 / 3, 1 - (2 * gain - 1) ** 3))


def test_with_fewer_residuals_than_parameters_the_gain_is_the_same():
    """Where a step is neither very good nor very bad, the damping tells what was predicted."""
    system, start, damping = Wavy(), 0.2 * np.arange(9.0), 0.1
    r, J = system.linearize(start)
    move = -np.linalg.solve(J.T @ J + damping * np.eye(9), J.T @ r)
    found = levenberg_marquardt_step(
        system, LevenbergMarquardtState(start, damping), geodesic=False
    )
    predicted = r @ r - np.sum((r + J @ move) ** 2)
    gain = (r @ r - np.sum(system.residuals(start + move) ** 2)) / predicted
    assert 1 / 3 < 1 - (2 * gain - 1) ** 3 < 1
    assert found.damping == pytest.approx(damping * (1 - (2 * gain - 1) ** 3), rel=1e-9)
