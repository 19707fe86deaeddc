"""Adam and L-BFGS from Optax, many steps compiled into one block."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import optax

Optimizer: TypeAlias = optax.GradientTransformationExtraArgs
Loss = Callable[[Any, Any], jax.Array]  # (parameters, data) -> a scalar
Block = Callable[[Any, Any, Any], tuple[Any, Any]]  # (parameters, state, data) -> both


def adam(steps: int, learning_rate: float = 5e-3) -> Optimizer:
    """Return Adam with a cosine decay of the learning rate to zero over ``steps``.

    Without the decay the last digits are noise of the step size.
    """
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    return optax.with_extra_args_support(optax.adam(schedule))


def l_bfgs(memory: int = 50) -> Optimizer:
    """Return L-BFGS with Optax's zoom line search; 50 pairs, as usual for PINNs."""
    return optax.lbfgs(memory_size=memory)


def initial_state(optimizer: Optimizer, parameters: jax.Array) -> Any:
    """Return the optimizer's state, in the types that a block returns: else it compiles twice."""
    return jax.tree.map(lambda leaf: leaf.astype(leaf.dtype), optimizer.init(parameters))


def compile_block(loss: Loss, optimizer: Optimizer, steps: int) -> Block:
    """Compile ``steps`` steps of any Optax transformation, line searches included, into one loop.

    Parameters are any pytree.

    A step of a small network takes less time than its dispatch from Python; a loop inside the
    compiled program pays that price once per block.
    """

    @jax.jit
    def advance(parameters: Any, state: Any, data: Any) -> tuple[Any, Any]:
        def step(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
            p, state = carry
            value, gradient = jax.value_and_grad(loss)(p, data)
            search = {"value": value, "grad": gradient, "value_fn": lambda q: loss(q, data)}
            updates, state = optimizer.update(gradient, state, p, **search)
            return (optax.apply_updates(p, updates), state), None

        return jax.lax.scan(step, (parameters, state), length=steps)[0]

    return advance
