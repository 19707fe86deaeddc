r"""Meta-learning: a start from which a few steps of training solve any task of a family.

An *adaptation* is a function (start θ, data of a task) -> adapted parameters φ(θ); one of
:func:`gradient_steps`, :func:`meta_sgd_steps` and :func:`levenberg_marquardt_steps` makes it. A
*meta-gradient* says in which direction to move θ for one task: :func:`maml` or :func:`reptile`.
:func:`meta_training` follows its mean over a batch of tasks. Parameters are any pytree.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh

from opifex_tutorials.losses.sharded import Layout, compiled, summed
from opifex_tutorials.training.checkpoints import resumable
from opifex_tutorials.training.gradient import compile_block
from opifex_tutorials.validation import require_between, require_integer, require_multiple

Optimizer: TypeAlias = optax.GradientTransformation
Parameters = Any  # a pytree of arrays
Loss = Callable[[Parameters, Any], jax.Array]  # (parameters, data) -> a scalar
Adapt = Callable[[Parameters, Any], Parameters]
Carry = tuple[jax.Array, jax.Array, jax.Array]  # parameters, damping, its growth
Linearize = Callable[[jax.Array, Any], tuple[jax.Array, jax.Array]]  # -> residuals, Jacobian


class Task(NamedTuple):
    """Data to adapt to, and data to judge the adapted parameters by; may be the same."""

    support: Any
    query: Any


MetaGradient = Callable[[Parameters, Task], tuple[jax.Array, Parameters]]
State = tuple[Parameters, Any]  # of a meta-training: the start, and what its optimizer keeps
Sample = Callable[[jax.Array], Task]  # random key -> a batch of tasks, stacked along a first axis


class MetaSgd(NamedTuple):
    """What Meta-SGD learns: a start, and a learning rate for each of its parameters."""

    start: Parameters
    rates: Parameters


def stack(tasks: list[Any]) -> Any:
    """Stack pytrees of the same structure along a new first axis: a batch of tasks."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *tasks)


def gradient_steps(loss: Loss, optimizer: Optimizer, steps: int) -> Adapt:
    """Adapt by ``steps`` steps of any Optax optimizer, whose state starts anew for each task.

    Line searches, as of ``optax.lbfgs``, are included, but cannot be differentiated: use them with
    a meta-gradient of first order.
    """
    require_integer("steps", steps, 1, 10**6)
    any_optimizer = optax.with_extra_args_support(optimizer)
    advance = compile_block(loss, any_optimizer, steps)

    def adapt(start: Parameters, data: Any) -> Parameters:
        return advance(start, any_optimizer.init(start), data)[0]

    return adapt


def head_only(optimizer: Optimizer, is_head: Parameters) -> Optimizer:
    """Let an optimizer move only the leaves where ``is_head`` is true.

    MAML with it is ANIL, "almost no inner loop" (Raghu et al. 2020, arXiv:1909.09157, section 4):
    tasks share the features, and adapt the last layer.
    """
    frozen = jax.tree.map(lambda head: not head, is_head)
    return optax.chain(optimizer, optax.masked(optax.set_to_zero(), frozen))


def meta_sgd_steps(loss: Loss, steps: int) -> Adapt:
    r"""Adapt by :math:`\theta \leftarrow \theta - \alpha \circ \nabla L(\theta)`, α learned too.

    Start and adapted parameters are :class:`MetaSgd` (Li et al. 2017, arXiv:1707.09835, eq. 2).
    """
    require_integer("steps", steps, 1, 10**6)

    def adapt(meta: MetaSgd, data: Any) -> MetaSgd:
        def step(parameters: Parameters, _: None) -> tuple[Parameters, None]:
            gradient = jax.grad(loss)(parameters, data)
            return jax.tree.map(lambda p, a, g: p - a * g, parameters, meta.rates, gradient), None

        return MetaSgd(jax.lax.scan(step, meta.start, length=steps)[0], meta.rates)

    return adapt


def levenberg_marquardt_steps(
    linearize: Linearize, residuals: Loss, steps: int, damping: float = 1e-3
) -> Adapt:
    """Adapt by Levenberg-Marquardt trials, each accepted if the sum of squares falls.

    The damping follows the same rule as :mod:`opifex_tutorials.training.levenberg_marquardt`, but
    here a refused trial counts as a step, so that the loop compiles and can be differentiated.

    Args:
        linearize: (parameters, data) -> residuals, shape (N,), and Jacobian, shape (N, P).
        residuals: (parameters, data) -> residuals.
        steps: trials; parameters are a vector of shape (P,).
        damping: of the first trial. The default suits a start that is near the solution.
    """
    require_integer("steps", steps, 1, 10**6)
    require_between("damping", damping, 1e-18, 1e12)

    def adapt(start: jax.Array, data: Any) -> jax.Array:
        def trial(carry: Carry, _: None) -> tuple[Carry, None]:
            parameters, damping, growth = carry
            r, jacobian = linearize(parameters, data)
            gram = jacobian.T @ jacobian
            damped = gram + damping * jnp.eye(len(gram))
            move = -jax.scipy.linalg.solve(damped, jacobian.T @ r, assume_a="pos")
            decrease = r @ r - jnp.sum(residuals(parameters + move, data) ** 2)
            gain = decrease / (move @ (gram @ move + 2 * damping * move))
            better = decrease > 0  # false for NaN too
            shrink = jnp.maximum(1 / 3, 1 - (2 * gain - 1) ** 3)
            parameters = jnp.where(better, parameters + move, parameters)
            damping = damping * jnp.where(better, shrink, growth)
            return (parameters, damping, jnp.where(better, 2.0, 2 * growth)), None

        carry = (start, jnp.asarray(damping, start.dtype), jnp.asarray(2.0, start.dtype))
        return jax.lax.scan(trial, carry, length=steps)[0][0]

    return adapt


def maml(loss: Loss, adapt: Adapt, *, first_order: bool = False) -> MetaGradient:
    r"""Model-agnostic meta-learning: :math:`\nabla_\theta L(\phi(\theta))`.

    Args:
        loss: judges the adapted parameters, on the query data.
        adapt: makes them, from the support data.
        first_order: take :math:`\nabla L` at φ instead, as if φ were θ plus a constant (FOMAML).
            Otherwise the derivative goes through all steps of the adaptation (Finn et al. 2017,
            arXiv:1703.03400, equation 1 and section 5.2).
    """

    def adapted_loss(start: Parameters, task: Task) -> jax.Array:
        adapted = adapt(start, task.support)
        if first_order:
            adapted = jax.tree.map(lambda p, q: p + jax.lax.stop_gradient(q - p), start, adapted)
        return loss(adapted, task.query)

    return jax.value_and_grad(adapted_loss)


def reptile(loss: Loss, adapt: Adapt) -> MetaGradient:
    r"""Return :math:`\theta - \phi(\theta)` as gradient (Nichol et al. 2018, arXiv:1803.02999).

    With ``optax.sgd(ε)`` as meta-optimizer this is :math:`\theta + \epsilon (\phi - \theta)`.
    """

    def meta_gradient(start: Parameters, task: Task) -> tuple[jax.Array, Parameters]:
        adapted = adapt(start, task.support)
        return loss(adapted, task.query), jax.tree.map(jnp.subtract, start, adapted)

    return meta_gradient


class MetaState(NamedTuple):
    """How far a meta-training is: its steps, and what its optimizer keeps from one to the next."""

    steps: Any
    optimizer: Any


MetaTraining = Callable[..., tuple[Parameters, jax.Array, MetaState]]


def meta_training(
    meta_gradient: MetaGradient,
    optimizer: Optimizer,
    sample: Sample,
    steps: int,
    layout: Layout | None = None,
) -> MetaTraining:
    """Compile a meta-training: (start, key) -> (learned start, mean loss of every step, state).

    Given as a third argument, with the learned start and the same key, the state continues it: two
    times 50 steps are the same as 100.

    Args:
        meta_gradient: of one task; its mean over a batch is followed.
        optimizer: any of Optax, moves the start.
        sample: key -> a batch of tasks, stacked along a first axis; called in every step.
        steps: of the meta-optimizer.
        layout: spread the tasks of a batch over devices and processes. Their number is then a
            multiple of that of the devices, and the results depend on it only.
    """
    require_integer("steps", steps, 1, 10**6)
    of_batch = jax.vmap(meta_gradient, (None, 0))
    mesh = None if layout is None else layout.mesh()

    def mean(start: Parameters, tasks: Task) -> tuple[jax.Array, Parameters]:
        if mesh is not None:
            return _spread_mean(of_batch, mesh, start, tasks)
        losses, gradients = of_batch(start, tasks)
        return losses.mean(), jax.tree.map(lambda g: g.mean(axis=0), gradients)

    def step(carry: State, key: jax.Array) -> tuple[State, jax.Array]:
        parameters, kept = carry
        loss, gradient = mean(parameters, sample(key))
        updates, kept = optimizer.update(gradient, kept, parameters)
        return (optax.apply_updates(parameters, updates), kept), loss

    def train(
        start: Parameters, key: jax.Array, state: MetaState | None = None
    ) -> tuple[Parameters, jax.Array, MetaState]:
        done, kept = (0, optimizer.init(start)) if state is None else state
        # Those of jax.random.split(key, any number), from the first step of this call on.
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, done + jnp.arange(steps))
        (learned, kept), losses = jax.lax.scan(step, (start, kept), keys)
        return learned, losses, MetaState(done + steps, kept)

    return jax.jit(train) if mesh is None else compiled(mesh, train)


def in_parts(
    train: MetaTraining,
    optimizer: Optimizer,
    start: Parameters,
    key: jax.Array,
    *,
    steps: int,
    part: int,
) -> tuple[Parameters, list[float], MetaState]:
    """Do a long meta-training as calls of a short one, so that checkpoints can save it in between.

    Args:
        train: of :func:`meta_training`, with ``part`` steps.
        optimizer: the one that ``train`` was made with.
        start: to learn from.
        key: of ``train``.
        steps: of all calls, a multiple of ``part``.
        part: steps of one call.

    Returns:
        The learned start, the mean loss of every step, and the state, as of one long training.

    Raises:
        ValueError: for a bad argument, or a ``train`` of another number of steps.
    """
    require_multiple("steps", steps, require_integer("part", part, 1, 10**6))
    first, losses = MetaState(jnp.asarray(0), optimizer.init(start)), list[float]()
    state = {"learned": start, "state": first, "losses": losses}

    def asked() -> dict[str, Any]:
        flat, bits = ravel_pytree(start)[0], jax.random.key_data(key)
        return {"start": np.asarray(flat), "key": np.asarray(bits)}

    for _ in resumable(range(0, steps, part), "meta-training", asked, state):
        state["learned"], found, state["state"] = train(state["learned"], key, state["state"])
        if len(found) != part:
            raise ValueError(f"part={part}: allowed is {len(found)}, the steps of train")
        losses.extend(found.tolist())
    return state["learned"], losses, state["state"]


def _spread_mean(
    of_batch: MetaGradient, mesh: Mesh, start: Parameters, tasks: Task
) -> tuple[jax.Array, Parameters]:
    """Return the mean loss and meta-gradient of tasks that are spread over devices."""
    count = require_multiple("tasks", len(jax.tree.leaves(tasks)[0]), mesh.size)
    leaves = count & -count  # the largest power of two in it, whatever the number of devices
    parts = jax.tree.map(lambda x: x.reshape(leaves, 1, -1, *x.shape[1:]), tasks)
    unravel = ravel_pytree((jnp.zeros(()), start))[1]

    def of_block(block: Task, start: Parameters) -> jax.Array:
        return ravel_pytree(jax.tree.map(lambda x: x.sum(axis=0), of_batch(start, block)))[0]

    return unravel(summed(mesh, of_block)(parts, (start,)) / count)
