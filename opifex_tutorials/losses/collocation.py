"""From a formulation of a PDE problem to residuals, Jacobian and curvature at sampled points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.flatten_util import ravel_pytree
from scipy.stats import qmc

from opifex_tutorials.models.flax_mlp import MLP
from opifex_tutorials.models.trial_functions import Field, Network
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
        weight: factor of the mean square in the loss.
    """

    residual: Callable[[Field], Field]
    place: Callable[[jax.Array], tuple[jax.Array, ...]]
    dimension: int
    points: int
    weight: float = 1.0

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


class CollocationProblem:
    """A formulation with a network in it, compiled by JAX as functions of a flat parameter vector.

    Args:
        formulation: what to solve.
        hidden: widths of the hidden layers.
    """

    def __init__(self, formulation: Formulation, hidden: Sequence[int]) -> None:
        self.formulation = formulation
        self.widths = (formulation.inputs, *hidden, 1)
        self._graph, self._unravel = _structure(self.widths)
        self.evaluate = jax.jit(jax.vmap(self.field, in_axes=(None, 0)))
        self.residuals = jax.jit(self._residuals)
        self.linearize = jax.jit(self._linearize)
        self.curvature = jax.jit(self._curvature)
        self.mean_square = jax.jit(self.loss)

    def initial_parameters(self, seed: int) -> FloatArray:
        """Draw the parameters of a new network, shape (P,)."""
        state = nnx.split(MLP(self.widths, rngs=nnx.Rngs(seed)))[1]
        return np.asarray(ravel_pytree(state)[0])

    def sample(self, seed: Sequence[int]) -> Points:
        """Draw scrambled Sobol points for every term; equal seeds give equal points."""
        streams = np.random.SeedSequence(list(seed)).spawn(len(self.formulation.terms))
        return tuple(
            jnp.asarray(qmc.Sobol(term.dimension, rng=np.random.default_rng(s)).random(term.points))
            for term, s in zip(self.formulation.terms, streams, strict=True)
        )

    def field(self, parameters: jax.Array, point: tuple[jax.Array, ...]) -> jax.Array:
        """Evaluate the trial function at one point, given by its coordinates."""
        return self._trial(parameters)(*point)

    def loss(self, parameters: jax.Array, points: Points) -> jax.Array:
        """Return the weighted sum of mean squares of all terms."""
        return jnp.sum(self._residuals(parameters, points) ** 2)

    def _trial(self, parameters: jax.Array) -> Field:
        network: Network = nnx.merge(self._graph, self._unravel(parameters))
        return self.formulation.trial(network)

    def _term_functions(self) -> list[Callable[[jax.Array, jax.Array], jax.Array]]:
        def function_of(term: Term) -> Callable[[jax.Array, jax.Array], jax.Array]:
            scale = (term.weight / term.points) ** 0.5

            def residual(parameters: jax.Array, cube_point: jax.Array) -> jax.Array:
                place = term.place(cube_point)
                return scale * term.residual(self._trial(parameters))(*place)

            return residual

        return [function_of(term) for term in self.formulation.terms]

    def _residuals(self, parameters: jax.Array, points: Points) -> jax.Array:
        terms = zip(self._term_functions(), points, strict=True)
        return jnp.concatenate([jax.vmap(f, (None, 0))(parameters, z) for f, z in terms])

    def _linearize(self, parameters: jax.Array, points: Points) -> tuple[jax.Array, jax.Array]:
        terms = zip(self._term_functions(), points, strict=True)
        pairs = [jax.vmap(jax.value_and_grad(f), (None, 0))(parameters, z) for f, z in terms]
        values, gradients = zip(*pairs, strict=True)
        return jnp.concatenate(values), jnp.concatenate(gradients)

    def _curvature(self, parameters: jax.Array, direction: jax.Array, points: Points) -> jax.Array:
        def slope(p: jax.Array) -> jax.Array:
            return jax.jvp(lambda q: self._residuals(q, points), (p,), (direction,))[1]

        return jax.jvp(slope, (parameters,), (direction,))[1]


@dataclass(frozen=True)
class CollocationSystem:
    """A collocation problem at fixed points: NumPy in, NumPy out, for Levenberg-Marquardt."""

    problem: CollocationProblem
    points: Points

    def residuals(self, parameters: FloatArray) -> FloatArray:
        """Return the residuals, shape (N,), scaled so that their squares sum to the loss."""
        return np.asarray(self.problem.residuals(parameters, self.points))

    def linearize(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the residuals, shape (N,), and their Jacobian, shape (N, P)."""
        r, jacobian = self.problem.linearize(parameters, self.points)
        return np.asarray(r), np.asarray(jacobian)

    def curvature(self, parameters: FloatArray, direction: FloatArray) -> FloatArray:
        """Return the second derivative of the residuals along ``direction``, shape (N,)."""
        return np.asarray(self.problem.curvature(parameters, direction, self.points))


def _structure(widths: tuple[int, ...]) -> tuple[Any, Callable[[jax.Array], Any]]:
    graph, state = nnx.split(MLP(widths, rngs=nnx.Rngs(0)))
    return graph, ravel_pytree(state)[1]
