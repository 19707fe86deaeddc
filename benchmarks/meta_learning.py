"""Meta-training compiled into one program against the same steps in a Python loop."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from opifex_tutorials.losses.burgers import burgers_soft
from opifex_tutorials.losses.jax_system import Program
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.training.meta_learning import (
    Task,
    gradient_steps,
    maml,
    meta_training,
    stack,
)

META_STEPS, INNER_STEPS, INNER_RATE, META_RATE = 100, 5, 0.01, 1e-3  # as published
EAGER_META_STEPS = 3  # of the loop; each takes the same time


def loop(loss, start, tasks, steps):
    """First-order MAML, one dispatch for every operation, as the published example runs it."""
    for _ in range(steps):
        total = jnp.zeros_like(start)
        for task in tasks:
            adapted = start
            for _ in range(INNER_STEPS):
                adapted = adapted - INNER_RATE * jax.grad(loss)(adapted, task)
            total = total + jax.grad(loss)(adapted, task)
        start = start - META_RATE * total / len(tasks)
    return jax.block_until_ready(start)


def timed(run):
    """Return the result of the call and its wall time in seconds."""
    start = time.perf_counter()
    result = jax.block_until_ready(run())
    return result, time.perf_counter() - start


def main():
    """Time both, and check that they do the same."""
    problems = [BurgersProblem(float(nu), 0.5) for nu in np.linspace(0.005, 0.05, 12)[::2]]
    system = Program(burgers_soft, problems[0], 256, (32, 32))
    tasks = [(problem, system.sample(problem, (0,))) for problem in problems]
    batch = stack([Task(task, task) for task in tasks])
    start = jnp.asarray(system.initial_parameters(0))
    adapt = gradient_steps(system.loss, optax.sgd(INNER_RATE), INNER_STEPS)
    direction = maml(system.loss, adapt, first_order=True)

    def compiled(steps):
        train = meta_training(direction, optax.sgd(META_RATE), lambda key: batch, steps)
        return lambda: train(start, jax.random.key(0))[0]

    print(f"First-order MAML on {len(tasks)} viscosities, {META_STEPS} meta-steps")
    whole = compiled(META_STEPS)
    _, with_compilation = timed(whole)
    _, without = timed(whole)
    expected, _ = timed(compiled(EAGER_META_STEPS))
    loop(system.loss, start, tasks, 1)  # let JAX build the programs of single operations
    found, eager = timed(lambda: loop(system.loss, start, tasks, EAGER_META_STEPS))
    if not np.allclose(found, expected, rtol=1e-10, atol=1e-12):
        raise AssertionError("loop and compiled program differ")
    eager *= META_STEPS / EAGER_META_STEPS
    print(f"  loop ({EAGER_META_STEPS} meta-steps timed, in proportion)  {eager:8.1f} s")
    print(f"  one program, compilation included     {with_compilation:8.2f} s")
    print(f"  one program, compiled before          {without:8.2f} s")
    print(f"  ratios of times: {eager / with_compilation:.0f}, {eager / without:.0f}\n")
