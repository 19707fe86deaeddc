"""From a formulation of a PDE problem to residuals, Jacobian and curvature at sampled points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree
from scipy.stats import qmc

from opifex_tutorials.models.flax_mlp import MLP
from opifex_tutorials.models.trial_functions import Field, Network
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.validation import FloatArray

Points = tuple[jax.Array, ...]  # for each term, points of the unit cube, shape (n, dimension)


@dataclass(frozen=True)
class Term:
    """One condition that the loss asks for at sampled points.

    Attributes:
        residual: trial function -> residual, a function of scalar coordinates. Scale it there if
            some places count more than others.
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
    """A PDE problem as a least-squares problem for a network.

    Attributes:
        trial: network -> trial function of the coordinates.
        terms: what the trial function has to satisfy.
        inputs: number of features that the trial function feeds to the network.
    """

    trial: Callable[[Network], Field]
    terms: tuple[Term, ...]
    inputs: int


Build = Callable[[Any, int], Formulation]  # (problem, number of points) -> formulation


class CollocationProblem:
    """A formulation with a network in it, compiled by JAX as functions of a flat parameter vector.

    The physical problem is an argument of the compiled functions, not a constant in them: all
    viscosities, and all seeds, share one compilation.

    Args:
        build: makes the formulation from a problem and the number of points.
        points: number of collocation points, a power of two.
        widths: of all layers of the network.
    """

    def __init__(self, build: Build, points: int, widths: Sequence[int]) -> None:
        self.build, self.points, self.widths = build, points, tuple(widths)
        self._graph, state = nnx.split(MLP(self.widths, rngs=nnx.Rngs(0)))
        self.weights = ravel_pytree(state)[1]  # flat parameters -> those of the network
        self.evaluate = jax.jit(jax.vmap(self.field, in_axes=(None, None, 0)))
        self.residuals = jax.jit(self._residuals)
        self.linearize = jax.jit(self._linearize)
        self.curvature = jax.jit(self._curvature)

    def initial_parameters(self, seed: int) -> FloatArray:
        """Draw the parameters of a new network, shape (P,)."""
        state = nnx.split(MLP(self.widths, rngs=nnx.Rngs(seed)))[1]
        return np.asarray(ravel_pytree(state)[0])

    def sample(self, problem: Any, seed: Sequence[int]) -> Points:
        """Draw scrambled Sobol points for every term; equal seeds give equal points."""
        terms = self.build(problem, self.points).terms
        streams = np.random.SeedSequence(list(seed)).spawn(len(terms))
        return tuple(
            jnp.asarray(qmc.Sobol(term.dimension, rng=np.random.default_rng(s)).random(term.points))
            for term, s in zip(terms, streams, strict=True)
        )

    def field(self, problem: Any, parameters: jax.Array, point: tuple[jax.Array, ...]) -> jax.Array:
        """Evaluate the trial function at one point, given by its coordinates."""
        return self._trial(problem, parameters)(*point)

    def loss(self, parameters: jax.Array, data: tuple[Any, Points]) -> jax.Array:
        """Return the sum of mean squares of all terms; data are problem and points."""
        problem, points = data
        return jnp.sum(self._residuals(problem, parameters, points) ** 2)

    def _trial(self, problem: Any, parameters: jax.Array) -> Field:
        network: Network = nnx.merge(self._graph, self.weights(parameters))
        return self.build(problem, self.points).trial(network)

    def _terms(self, problem: Any) -> list[Callable[[jax.Array, jax.Array], jax.Array]]:
        def function_of(term: Term) -> Callable[[jax.Array, jax.Array], jax.Array]:
            scale = term.points**-0.5

            def residual(parameters: jax.Array, cube_point: jax.Array) -> jax.Array:
                u = self._trial(problem, parameters)
                return scale * term.residual(u)(*term.place(cube_point))

            return residual

        return [function_of(term) for term in self.build(problem, self.points).terms]

    def _residuals(self, problem: Any, parameters: jax.Array, points: Points) -> jax.Array:
        terms = zip(self._terms(problem), points, strict=True)
        return jnp.concatenate([jax.vmap(f, (None, 0))(parameters, z) for f, z in terms])

    def _linearize(
        self, problem: Any, parameters: jax.Array, points: Points
    ) -> tuple[jax.Array, jax.Array]:
        terms = zip(self._terms(problem), points, strict=True)
        pairs = [jax.vmap(jax.value_and_grad(f), (None, 0))(parameters, z) for f, z in terms]
        values, gradients = zip(*pairs, strict=True)
        return jnp.concatenate(values), jnp.concatenate(gradients)

    def _curvature(
        self, problem: Any, parameters: jax.Array, direction: jax.Array, points: Points
    ) -> jax.Array:
        def slope(p: jax.Array) -> jax.Array:
            return jax.jvp(lambda q: self._residuals(problem, q, points), (p,), (direction,))[1]

        return jax.jvp(slope, (parameters,), (direction,))[1]


@dataclass(frozen=True)
class CollocationSystem:
    """A collocation problem at fixed points: NumPy in, NumPy out, for Levenberg-Marquardt."""

    compiled: CollocationProblem
    problem: Any
    points: Points

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """Return the residuals, shape (N,), scaled so that their squares sum to the loss."""
        return np.asarray(self.compiled.residuals(self.problem, parameters, self.points))

    def linearize(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the residuals, shape (N,), and their Jacobian, shape (N, P)."""
        r, jacobian = self.compiled.linearize(self.problem, parameters, self.points)
        return np.asarray(r), np.asarray(jacobian)

    def curvature(self, parameters: FloatArray, direction: FloatArray) -> FloatArray:
        """Return the second derivative of the residuals along ``direction``, shape (N,)."""
        return np.asarray(self.compiled.curvature(self.problem, parameters, direction, self.points))


def _register(kind: type) -> None:
    """Let JAX trace the real numbers of a problem; its integers stay constants of the program."""
    constant = [field.name for field in fields(kind) if field.type is int]
    traced = [field.name for field in fields(kind) if field.type is not int]

    def flatten(problem: Any) -> tuple[list[Any], tuple[int, ...]]:
        return [getattr(problem, n) for n in traced], tuple(getattr(problem, n) for n in constant)

    def unflatten(constants: tuple[int, ...], leaves: Sequence[Any]) -> Any:
        problem: Any = object.__new__(kind)  # a traced number cannot pass the checks of __init__
        for name, value in zip(traced + constant, [*leaves, *constants], strict=True):
            object.__setattr__(problem, name, value)
        return problem

    jax.tree_util.register_pytree_node(kind, flatten, unflatten)


for _kind in (BurgersProblem, HeatProblem, WaveProblem, PoissonProblem):
    _register(_kind)
