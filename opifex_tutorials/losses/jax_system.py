r"""From a formulation of a problem to residuals and their Jacobian at sampled points, in JAX.

A *trial* turns a network N into a candidate û for the solution, a *condition* is a residual of û
asked for at points, and both together are a *formulation*. A *program* is a formulation compiled
for networks of one size; a *system* is a program at fixed points: a least-squares problem.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree
from scipy.stats import qmc

from opifex_tutorials.models import flax_jets as jets
from opifex_tutorials.models.flax_mlp import MLP
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.validation import FloatArray

Widths = tuple[int, ...]  # of the hidden layers
Field = Callable[..., jax.Array]  # scalar coordinates -> a scalar
Operator = Callable[[Any, Field], Field]  # (problem, candidate) -> what to evaluate of it
Points = tuple[jax.Array, ...]  # for each condition, points of the unit cube, shape (n, dimension)


def derivative(u: Field, argument: int) -> Field:
    """Return the partial derivative of ``u`` with respect to one scalar argument.

    Forward mode: the second derivative of a function by ``derivative(derivative(u, 1), 1)`` costs
    three evaluations and leaves reverse mode to the parameters, where there are many.

    Args:
        u: function of scalar coordinates.
        argument: position of the coordinate, from 0.
    """

    def u_z(*point: jax.Array) -> jax.Array:
        def along(z: jax.Array) -> jax.Array:
            return u(*point[:argument], z, *point[argument + 1 :])

        z = jnp.asarray(point[argument])
        return jax.jvp(along, (z,), (jnp.ones_like(z),))[1]

    return u_z


def identity(problem: Any, u: Field) -> Field:
    """Return the candidate itself: the operator that evaluates a solution."""
    return u


def interior(bounds: dict[str, tuple[float, float]]) -> Callable[[jax.Array], tuple[Any, ...]]:
    """Return the map from the unit cube to the box with these bounds."""

    def place(z: jax.Array) -> tuple[jax.Array, ...]:
        pairs = zip(z, bounds.values(), strict=True)
        return tuple(low + (high - low) * coordinate for coordinate, (low, high) in pairs)

    return place


def centered(value: jax.Array, low: float | jax.Array, high: float | jax.Array) -> jax.Array:
    """Map [low, high] to [-1, 1], where a tanh network starts out sensitive."""
    return (2 * value - low - high) / (high - low)


@dataclass(frozen=True)
class Trial:
    r"""How a network becomes a candidate, such as :math:`\hat u = g + t\,x(1 - x)\,N`.

    A lift satisfies the initial and boundary conditions, a mask in front of the network vanishes
    where they hold: no weights can violate them (Lagaris, Likas & Fotiadis 1998).

    Attributes:
        features: scalar coordinates -> inputs of the network, shape (inputs,).
        candidate: the network as a field -> û as a field. The network is a scalar if it has one
            output; otherwise of shape (outputs,).
    """

    features: Field
    candidate: Callable[[Field], Field]


@dataclass(frozen=True)
class Condition:
    """A residual that is asked for at sampled points.

    Attributes:
        residual: candidate -> residual, both fields. Scale it there if some places count more.
        place: coordinates of a point of the unit cube, shape (dimension,).
        dimension: of the unit cube that is sampled.
        points: how many; a power of two, for which a Sobol sequence is balanced.
    """

    residual: Callable[[Field], Field]
    place: Callable[[jax.Array], tuple[jax.Array, ...]]
    dimension: int
    points: int

    def __post_init__(self) -> None:
        if self.points < 1 or self.points & (self.points - 1):
            raise ValueError(f"points={self.points!r}: allowed are powers of two")


@dataclass(frozen=True)
class Formulation:
    """A problem as a least-squares problem for a network.

    Attributes:
        trial: turns the network into a candidate.
        conditions: what the candidate has to satisfy.
        outputs: of the network.
    """

    trial: Trial
    conditions: tuple[Condition, ...]
    outputs: int = 1


Formulate = Callable[[Any, int], Formulation]  # (problem, number of points) -> formulation


class Program:
    """A formulation with a network in it, compiled by JAX as functions of a flat parameter vector.

    The problem is an argument of the compiled functions, not a constant in them: all viscosities,
    and all seeds, share one compilation. JAX is switched to float64.

    Args:
        formulate: makes the formulation from a problem and the number of points.
        problem: any of its kind, a frozen dataclass; see :func:`register`.
        points: number of collocation points, a power of two.
        hidden: widths of the hidden layers.
    """

    def __init__(self, formulate: Formulate, problem: Any, points: int, hidden: Widths) -> None:
        enable_float64()
        register(type(problem))  # type: ignore[arg-type]  # a cached function: types are hashable
        self.formulate, self.points = formulate, points
        self._made_of = formulate, problem, points, tuple(hidden)
        formulation = formulate(problem, points)
        corner = [jnp.asarray(low, dtype=float) for low, _ in problem.bounds.values()]
        inputs = formulation.trial.features(*corner).shape[0]
        self.widths = (inputs, *hidden, formulation.outputs)
        self._graph, state = nnx.split(MLP(self.widths, rngs=nnx.Rngs(0)))
        self.weights = ravel_pytree(state)[1]  # flat parameters -> those of the network
        self.operated = cache(self._operated)
        self.residuals = jax.jit(self._residuals)
        self.linearize = jax.jit(self._linearize)

    def __reduce__(self) -> tuple[Any, ...]:
        """Compile anew in another process, once for all copies that arrive there."""
        return compile_program, self._made_of

    def initial_parameters(self, seed: int) -> FloatArray:
        """Draw the parameters of a new network, shape (P,)."""
        state = nnx.split(MLP(self.widths, rngs=nnx.Rngs(seed)))[1]
        return np.asarray(ravel_pytree(state)[0])

    def sample(self, problem: Any, seed: Sequence[int]) -> Points:
        """Draw scrambled Sobol points for every condition; equal seeds give equal points."""
        conditions = self.formulate(problem, self.points).conditions
        streams = np.random.SeedSequence(list(seed)).spawn(len(conditions))
        pairs = zip(conditions, map(np.random.default_rng, streams), strict=True)
        return tuple(jnp.asarray(qmc.Sobol(c.dimension, rng=g).random(c.points)) for c, g in pairs)

    def evaluate(self, problem: Any, parameters: Any, points: tuple[Any, ...]) -> jax.Array:
        """Evaluate the candidate at points, given by their coordinates, shape (N,) each."""
        return self.operated(identity)(problem, parameters, *points)

    def _operated(self, operator: Operator) -> Callable[..., jax.Array]:
        """Compile (problem, parameters, *coordinates) -> what the operator gives, shape (N,)."""

        def at_one_point(problem: Any, parameters: jax.Array, *point: jax.Array) -> jax.Array:
            trial = self.formulate(problem, self.points).trial
            return operator(problem, trial.candidate(self._network(trial, parameters)))(*point)

        def at_all(problem: Any, parameters: jax.Array, *points: jax.Array) -> jax.Array:
            over = (None, None, *(0 for _ in points))
            return jax.vmap(at_one_point, over)(problem, parameters, *points)

        return jax.jit(at_all)

    def loss(self, parameters: jax.Array, data: tuple[Any, Points]) -> jax.Array:
        """Return the sum of mean squares of all conditions; data are problem and points."""
        problem, points = data
        return jnp.sum(self._residuals(problem, parameters, points) ** 2)

    def _network(self, trial: Trial, parameters: jax.Array) -> Field:
        model = nnx.merge(self._graph, self.weights(parameters))

        def network(*point: jax.Array) -> jax.Array:
            outputs = model(trial.features(*point))
            return outputs[0] if len(outputs) == 1 else outputs

        return network

    def _residuals(self, problem: Any, parameters: jax.Array, points: Points) -> jax.Array:
        return jnp.concatenate([r for r, _ in self._parts(problem, parameters, points, False)])

    def _linearize(
        self, problem: Any, parameters: jax.Array, points: Points
    ) -> tuple[jax.Array, jax.Array]:
        values, rows = zip(*self._parts(problem, parameters, points, True), strict=True)
        return jnp.concatenate(values), jnp.concatenate(rows)

    def _parts(
        self, problem: Any, parameters: jax.Array, points: Points, jacobian: bool
    ) -> Iterator[tuple[jax.Array, Any]]:
        """Yield the scaled residuals of each condition and, if asked for, their Jacobian."""
        formulation = self.formulate(problem, self.points)
        for condition, cube in zip(formulation.conditions, points, strict=True):
            yield self._part(formulation.trial, condition, cube, parameters, jacobian)

    def _part(
        self, trial: Trial, condition: Condition, cube: jax.Array, theta: jax.Array, jacobian: bool
    ) -> tuple[jax.Array, Any]:
        at = jax.vmap(condition.place)(cube)

        def residual(network: Field, *point: jax.Array) -> jax.Array:
            return condition.points**-0.5 * condition.residual(trial.candidate(network))(*point)

        indices = jets.requested(residual, self.widths[-1], len(at))
        if indices is None:  # the network is asked elsewhere, and so evaluated anew each time

            def one(theta: jax.Array, *point: jax.Array) -> Any:
                return residual(self._network(trial, theta), *point)

            both = jax.vmap(jax.value_and_grad(one), (None, *(0 for _ in at)))
            return both(theta, *at)  # what is not used is not computed

        hidden = self.weights(theta)["layers"]
        layers = [(hidden[i]["kernel"][...], hidden[i]["bias"][...]) for i in range(len(hidden))]
        inputs = jets.of_function(trial.features, at, indices, derivative)

        def total(taps: Any) -> tuple[jax.Array, Any]:
            outputs, entering = jets.network(layers, inputs, taps)
            known = jnp.stack([outputs[alpha] for alpha in indices], axis=1)
            r = jax.vmap(lambda k, *p: residual(jets.as_field(k, indices.index), *p))(known, *at)
            return r.sum(), (r, entering)

        if not jacobian:
            return total(None)[1][0], None
        zeros = [{a: jnp.zeros((len(cube), n)) for a in indices} for n in self.widths[1:]]
        adjoints, (r, entering) = jax.grad(total, has_aux=True)(zeros)
        return r, jets.pull_back(adjoints, entering)


@dataclass(frozen=True)
class Kind:
    """What a compiled program depends on; any problem of the kind can make it."""

    formulate: Formulate
    kind: type
    dimension: int
    points: int
    hidden: Widths
    problem: Any = field(compare=False)


def compile_program(formulate: Formulate, problem: Any, points: int, hidden: Widths) -> Program:
    """Compile a formulation once per process: seeds and problems of the same kind share it."""
    kind, dimension = type(problem), len(problem.bounds)
    return compile_kind(Kind(formulate, kind, dimension, points, hidden, problem))


@lru_cache(maxsize=32)
def compile_kind(kind: Kind) -> Program:
    """Compile a formulation for any problem of its kind."""
    return Program(kind.formulate, kind.problem, kind.points, kind.hidden)


@dataclass(frozen=True)
class System:
    """A program at fixed points: NumPy in, NumPy out, for Levenberg-Marquardt."""

    program: Program
    problem: Any
    points: Points

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """Return the residuals, shape (N,), scaled so that their squares sum to the loss."""
        return np.asarray(self.program.residuals(self.problem, parameters, self.points))

    def linearize(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the residuals, shape (N,), and their Jacobian, shape (N, P)."""
        r, jacobian = self.program.linearize(self.problem, parameters, self.points)
        return np.asarray(r), np.asarray(jacobian)


@cache
def register(kind: type) -> None:
    """Let JAX trace the real numbers of a kind of problem.

    Whatever else a problem holds, integers and words for example, is a constant of the program.

    Args:
        kind: a frozen dataclass; ``ValueError`` for any other type.
    """
    # Only this attribute, which the type stubs lack, tells whether a dataclass is frozen.
    if not is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ValueError(f"problem of type {kind.__name__}: allowed are frozen dataclasses")
    names = tuple(field.name for field in fields(kind))

    def flatten(problem: Any) -> tuple[list[Any], tuple[Any, ...]]:
        values = {name: getattr(problem, name) for name in names}
        traced = tuple(name for name in names if _is_real(values[name]))
        constants = tuple((name, values[name]) for name in names if name not in traced)
        return [values[name] for name in traced], (traced, constants)

    def unflatten(structure: tuple[Any, ...], leaves: Sequence[Any]) -> Any:
        traced, constants = structure
        problem: Any = object.__new__(kind)  # a traced number cannot pass the checks of __init__
        for name, value in [*zip(traced, leaves, strict=True), *constants]:
            object.__setattr__(problem, name, value)
        return problem

    jax.tree_util.register_pytree_node(kind, flatten, unflatten)


def _is_real(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_real, value))
    return isinstance(value, float | np.floating | np.ndarray | jax.Array)
