"""Meta-gradients against finite differences, a quadratic solved by hand, and PyTorch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from jax.flatten_util import ravel_pytree

from opifex_tutorials.losses.burgers import burgers_hard
from opifex_tutorials.losses.jax_system import Program
from opifex_tutorials.losses.linear import linear_hard
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, WaveProblem
from opifex_tutorials.training.levenberg_marquardt import (
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)
from opifex_tutorials.training.meta_learning import (
    MetaSgd,
    Task,
    gradient_steps,
    head_only,
    in_parts,
    levenberg_marquardt_steps,
    maml,
    meta_sgd_steps,
    meta_training,
    reptile,
    stack,
)

RATE, STEPS = 0.05, 3
enable_float64()
RNG = np.random.default_rng(0)

# A small network that fits a sine of a task's phase: the example of Finn et al.
WEIGHTS = {
    "w1": jnp.asarray(RNG.normal(size=(1, 5))),
    "b1": jnp.asarray(RNG.normal(size=5)),
    "w2": jnp.asarray(RNG.normal(size=(5, 1))),
}
X = np.linspace(-1, 1, 9)[:, None]
SUPPORT, QUERY = (X[::2], np.sin(3 * X[::2] + 0.4)), (X[1::2], np.sin(3 * X[1::2] + 0.4))
TASK = Task(SUPPORT, QUERY)


def loss(weights, data):
    x, y = data
    return jnp.mean((jnp.tanh(x @ weights["w1"] + weights["b1"]) @ weights["w2"] - y) ** 2)


SGD = gradient_steps(loss, optax.sgd(RATE), STEPS)
HEAD = dict(w1=False, b1=False, w2=True)
ADAPTATIONS = {
    "sgd": SGD,
    "adam": gradient_steps(loss, optax.adam(RATE), STEPS),
    "anil": gradient_steps(loss, head_only(optax.sgd(RATE), HEAD), STEPS),
}


def central_difference(function, start, h=1e-5):
    """Return the gradient of a function of a pytree, entry by entry, as a vector."""
    flat, unravel = ravel_pytree(start)
    steps = h * jnp.eye(len(flat))
    return (
        np.array([(function(unravel(flat + e)) - function(unravel(flat - e))) / 2 for e in steps])
        / h
    )


@pytest.mark.parametrize("name", ADAPTATIONS)
def test_the_gradient_of_maml_is_that_of_finite_differences(name):
    adapt = ADAPTATIONS[name]
    value, gradient = maml(loss, adapt)(WEIGHTS, TASK)
    expected = central_difference(jax.jit(lambda p: loss(adapt(p, SUPPORT), QUERY)), WEIGHTS)
    assert float(value) == pytest.approx(float(loss(adapt(WEIGHTS, SUPPORT), QUERY)), rel=1e-12)
    np.testing.assert_allclose(ravel_pytree(gradient)[0], expected, rtol=0, atol=1e-8)


def test_the_gradients_of_meta_sgd_are_those_of_finite_differences():
    meta = MetaSgd(WEIGHTS, jax.tree.map(lambda w: 0.03 + 0.01 * w**2, WEIGHTS))
    adapt = meta_sgd_steps(loss, STEPS)

    def of_start(m, data):
        return loss(m.start, data)

    gradient = maml(of_start, adapt)(meta, TASK)[1]
    expected = central_difference(jax.jit(lambda m: of_start(adapt(m, SUPPORT), QUERY)), meta)
    np.testing.assert_allclose(ravel_pytree(gradient)[0], expected, rtol=0, atol=1e-8)


def test_meta_sgd_with_equal_rates_is_sgd():
    rates = jax.tree.map(lambda w: jnp.full_like(w, RATE), WEIGHTS)
    adapted = meta_sgd_steps(loss, STEPS)(MetaSgd(WEIGHTS, rates), SUPPORT).start
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-13), adapted, SGD(WEIGHTS, SUPPORT))


# A quadratic task: L(p) = (p - c)' A (p - c) / 2. A step of SGD multiplies p - c by M = I - rate A.
A = np.array([[3.0, 1.0], [1.0, 2.0]])
CENTER = np.array([0.7, -0.4])
START = jnp.array([2.0, 1.0])


def quadratic(p, c):
    return 0.5 * (p - c) @ jnp.asarray(A) @ (p - c)


def after(steps):
    return np.linalg.matrix_power(np.eye(2) - RATE * A, steps)


@pytest.mark.parametrize("steps", [1, 4])
def test_maml_and_fomaml_on_a_quadratic(steps):
    adapt, task = gradient_steps(quadratic, optax.sgd(RATE), steps), Task(CENTER, CENTER)
    M, error = after(steps), np.asarray(START) - CENTER
    second = maml(quadratic, adapt)(START, task)[1]
    first = maml(quadratic, adapt, first_order=True)(START, task)[1]
    np.testing.assert_allclose(second, M.T @ A @ M @ error, rtol=1e-13)
    np.testing.assert_allclose(first, A @ M @ error, rtol=1e-13)
    assert np.abs(second - first).max() > 0.05  # the factor M, which FOMAML drops


def test_reptile_on_a_quadratic():
    adapt = gradient_steps(quadratic, optax.sgd(RATE), 4)
    found = reptile(quadratic, adapt)(START, Task(CENTER, CENTER))[1]
    np.testing.assert_allclose(found, (np.eye(2) - after(4)) @ (START - CENTER), rtol=1e-13)


def test_reptile_adapts_to_the_support_and_is_judged_on_the_query():
    adapt = gradient_steps(quadratic, optax.sgd(RATE), 4)
    elsewhere = CENTER + np.array([0.3, 1.1])
    value, found = reptile(quadratic, adapt)(START, Task(support=CENTER, query=elsewhere))
    adapted = CENTER + after(4) @ (np.asarray(START) - CENTER)
    np.testing.assert_allclose(found, np.asarray(START) - adapted, rtol=1e-13)
    off = adapted - elsewhere
    assert float(value) == pytest.approx(0.5 * off @ A @ off, rel=1e-12)


@pytest.mark.parametrize("optimizer", [optax.lbfgs(), optax.rmsprop(RATE), optax.adam(RATE)])
def test_any_optimizer_of_optax_adapts(optimizer):
    steps = 12
    adapted = gradient_steps(quadratic, optimizer, steps)(START, CENTER)
    expected, state = START, optimizer.init(START)
    for _ in range(steps):
        value, gradient = jax.value_and_grad(quadratic)(expected, CENTER)
        updates, state = optax.with_extra_args_support(optimizer).update(
            gradient,
            state,
            expected,
            value=value,
            grad=gradient,
            value_fn=lambda p: quadratic(p, CENTER),
        )
        expected = expected + updates
    np.testing.assert_allclose(adapted, expected, rtol=1e-9, atol=1e-12)


def test_line_searches_solve_a_quadratic_and_learn_by_reptile():
    adapt = gradient_steps(quadratic, optax.lbfgs(), 20)
    np.testing.assert_allclose(adapt(START, CENTER), CENTER, atol=1e-7)
    found = reptile(quadratic, adapt)(START, Task(CENTER, CENTER))[1]
    np.testing.assert_allclose(found, np.asarray(START) - CENTER, atol=1e-7)


def test_first_and_second_order_agree_when_the_adaptation_does_nothing():
    still = gradient_steps(loss, optax.sgd(0.0), STEPS)
    first, second = (maml(loss, still, first_order=f)(WEIGHTS, TASK)[1] for f in (True, False))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-14), first, second)


@pytest.mark.parametrize("first_order", [False, True])
def test_the_gradient_of_maml_is_that_of_pytorch(first_order):
    names = list(WEIGHTS)
    support, query = (tuple(map(torch.from_numpy, part)) for part in (SUPPORT, QUERY))

    def torch_loss(weights, data):
        w1, b1, w2 = weights
        return ((torch.tanh(data[0] @ w1 + b1) @ w2 - data[1]) ** 2).mean()

    def adapted_loss(*weights):
        moved = weights
        for _ in range(STEPS):
            gradient = torch.func.grad(torch_loss)(moved, support)
            if first_order:
                gradient = tuple(g.detach() for g in gradient)
            moved = tuple(w - RATE * g for w, g in zip(moved, gradient, strict=True))
        return torch_loss(moved, query)

    start = tuple(torch.from_numpy(np.array(WEIGHTS[n])) for n in names)
    expected = torch.func.grad(adapted_loss, argnums=(0, 1, 2))(*start)
    found = maml(loss, SGD, first_order=first_order)(WEIGHTS, TASK)[1]
    for name, gradient in zip(names, expected, strict=True):
        np.testing.assert_allclose(found[name], gradient.numpy(), rtol=0, atol=1e-12)


def test_anil_adapts_the_head_and_learns_the_body():
    adapt = ADAPTATIONS["anil"]
    adapted, gradient = adapt(WEIGHTS, SUPPORT), maml(loss, adapt)(WEIGHTS, TASK)[1]
    for name, head in HEAD.items():
        assert np.array_equal(adapted[name], WEIGHTS[name]) is not head
        assert np.abs(gradient[name]).max() > 1e-3


def test_meta_training_is_the_loop_written_out():
    phases = jnp.linspace(0.0, 1.0, 3)
    separate = [Task((X, np.sin(3 * X + p)), (X, np.sin(3 * X + p))) for p in phases]
    tasks = stack(separate)
    optimizer, meta_gradient = optax.adam(0.1), jax.jit(maml(loss, SGD))
    train = meta_training(meta_gradient, optimizer, lambda key: tasks, 4)
    learned, losses, _ = train(WEIGHTS, jax.random.key(0))

    parameters, state = WEIGHTS, optimizer.init(WEIGHTS)
    for step in range(4):
        each = [meta_gradient(parameters, task) for task in separate]
        assert float(losses[step]) == pytest.approx(
            np.mean([value for value, _ in each]), rel=1e-10
        )
        mean = jax.tree.map(lambda *g: sum(g) / 3, *[gradient for _, gradient in each])
        updates, state = optimizer.update(mean, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-10), learned, parameters)
    assert losses[-1] < losses[0]


def test_meta_training_samples_new_tasks_in_every_step():
    def sample(key):
        c = jax.random.normal(key, (1, 2))
        return Task(c, c)

    still = gradient_steps(quadratic, optax.sgd(0.0), 1)
    losses = meta_training(maml(quadratic, still), optax.sgd(0.0), sample, 5)(
        START, jax.random.key(0)
    )[1]
    assert len(np.unique(losses)) == 5


def test_a_meta_training_in_parts_is_the_same_training():
    def sample(key):
        c = jax.random.normal(key, (4, 2))
        return Task(c, c + 1)

    def trained(steps):
        meta_gradient = maml(quadratic, gradient_steps(quadratic, optax.sgd(0.1), 2))
        return meta_training(meta_gradient, optax.adam(0.1), sample, steps)

    start, key = START, jax.random.key(3)
    learned, losses, state = trained(6)(start, key)
    asked = {"steps": 6, "part": 2}
    found = in_parts(trained(2), optax.adam(0.1), start, key, **asked)
    np.testing.assert_array_equal(found[0], learned)
    assert found[1] == losses.tolist()
    assert int(found[2].steps) == int(state.steps) == 6
    with pytest.raises(ValueError, match="part=2: allowed is 3, the steps of train"):
        in_parts(trained(3), optax.adam(0.1), start, key, **asked)
    with pytest.raises(ValueError, match="steps=5: allowed are multiples of 2"):
        in_parts(trained(2), optax.adam(0.1), start, key, steps=5, part=2)


FAMILIES = {
    "burgers": (burgers_hard, [BurgersProblem(v, 0.5) for v in (0.01, 0.05)]),
    "heat": (linear_hard, [HeatProblem(diffusivity=d) for d in (0.02, 0.1)]),
    "wave": (linear_hard, [WaveProblem(speed=c) for c in (0.8, 1.2)]),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_problems_are_batches_of_tasks(name):
    build, problems = FAMILIES[name]
    compiled = Program(build, problems[0], 64, (8,))
    data = [(p, compiled.sample(p, (0,))) for p in problems]
    tasks = stack([Task(d, d) for d in data])
    start = jnp.asarray(compiled.initial_parameters(0))

    def mean_loss(parameters):
        return np.mean([compiled.loss(parameters, d) for d in data])

    adapt = gradient_steps(compiled.loss, optax.sgd(1e-3), 2)
    train = meta_training(maml(compiled.loss, adapt), optax.adam(0.03), lambda key: tasks, 200)
    learned, *_ = train(start, jax.random.key(0))
    assert mean_loss(learned) < 0.5 * mean_loss(start)


def burgers_system():
    compiled = Program(burgers_hard, BurgersProblem(0.05), 128, (6,))
    problem = BurgersProblem(0.05, 0.5)
    points = compiled.sample(problem, (0,))

    def linearize(p, data):
        return compiled.linearize(problem, p, data)

    def residuals(p, data):
        return compiled.residuals(problem, p, data)

    return compiled, points, linearize, residuals


def test_compiled_levenberg_marquardt_takes_the_steps_of_the_plain_one():
    compiled, points, linearize, residuals = burgers_system()

    class System:
        def residuals(self, p):
            return np.asarray(residuals(p, points))

        def linearize(self, p):
            return tuple(np.asarray(part) for part in linearize(p, points))

    start = compiled.initial_parameters(0)
    state = LevenbergMarquardtState(start, damping=10.0)
    for _ in range(5):
        state = levenberg_marquardt_step(System(), state, geodesic=False)
    adapt = jax.jit(levenberg_marquardt_steps(linearize, residuals, 5, damping=10.0))
    np.testing.assert_allclose(adapt(jnp.asarray(start), points), state.parameters, rtol=1e-6)


def test_compiled_levenberg_marquardt_refuses_steps_that_do_not_help():
    _, points, linearize, residuals = burgers_system()
    compiled = burgers_system()[0]
    start = jnp.asarray(compiled.initial_parameters(0))
    losses = [
        float(jnp.sum(residuals(p, points) ** 2))
        for p in (
            levenberg_marquardt_steps(linearize, residuals, k, damping=1e-9)(start, points)
            for k in (1, 8)
        )
    ]
    before = float(jnp.sum(residuals(start, points) ** 2))
    assert losses[0] <= before
    assert losses[1] < before


def test_maml_through_levenberg_marquardt():
    compiled, points, linearize, residuals = burgers_system()
    adapt = levenberg_marquardt_steps(linearize, residuals, 2, damping=10.0)

    def loss_at(p, data):
        return jnp.sum(residuals(p, data) ** 2)

    start, task = jnp.asarray(compiled.initial_parameters(0)), Task(points, points)
    gradient = maml(loss_at, adapt)(start, task)[1]
    direction = jnp.asarray(RNG.normal(size=len(start)))
    h = 1e-6
    ends = [float(loss_at(adapt(start + s * h * direction, points), points)) for s in (1, -1)]
    assert float(gradient @ direction) == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("steps", [0, -1, 1.5])
def test_impossible_numbers_of_steps_are_refused(steps):
    for make in (
        lambda: gradient_steps(loss, optax.sgd(0.1), steps),
        lambda: meta_sgd_steps(loss, steps),
        lambda: meta_training(maml(loss, SGD), optax.sgd(0.1), lambda key: TASK, steps),
    ):
        with pytest.raises(ValueError, match="steps="):
            make()


def test_a_negative_damping_is_refused():
    _, _, linearize, residuals = burgers_system()
    with pytest.raises(ValueError, match="damping="):
        levenberg_marquardt_steps(linearize, residuals, 1, damping=-1.0)
