"""Waves of one coordinate, and bases of their products: all on a tensor grid, or few at a time."""

from collections.abc import Callable
from itertools import combinations, product
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.stats import qmc

from opifex_tutorials.problems.game import MeanFieldGame
from opifex_tutorials.validation import FloatArray, require_integer


class Waves:
    """The waves of one coordinate: 1, √2 cos jκx and, on a ring, √2 sin jκx.

    Their mean squares are one, their mean products zero.
    """

    def __init__(self, game: MeanFieldGame, degree: int) -> None:
        self.low, high = list(game.bounds.values())[1]
        self.width, is_ring = high - self.low, game.boundary == "periodic"
        kinds = 2 if is_ring else 1
        require_integer("degree", degree, 1, 100)
        self.degree = np.append(0, np.repeat(np.arange(1, degree + 1), kinds))
        self._shift = np.append(0, np.tile([0, np.pi / 2][:kinds], degree))
        self._kappa = kinds * np.pi / self.width * self.degree
        self._size = np.where(self.degree > 0, np.sqrt(2), 1)
        self.nodes = self.low + self.width * (np.arange(len(self)) + 0.5) / len(self)
        self.decay = game.viscosity * self._kappa**2

    def __len__(self) -> int:
        return len(self.degree)

    def __call__(self, x: FloatArray) -> FloatArray:
        """Return the waves at ``x``, with a new last axis."""
        return self._size * np.cos(self._kappa * (x[..., None] - self.low) - self._shift)

    def slopes(self, x: FloatArray) -> FloatArray:
        """Return their derivatives."""
        phase = self._kappa * (x[..., None] - self.low) - self._shift
        return -self._size * self._kappa * np.sin(phase)


class TensorBasis:
    """All products, and a tensor grid of as many points."""

    def __init__(self, waves: Waves, dimension: int) -> None:
        self.waves, self.dimension, self.count = waves, dimension, len(waves) ** dimension
        self.size = self.count
        self._to_waves: FloatArray = np.asarray(np.linalg.inv(waves(waves.nodes)), dtype=float)

    def points(self, block: slice) -> list[FloatArray]:
        """Return the coordinates of some of the points."""
        numbers = np.arange(self.count)[block]
        digits = np.unravel_index(numbers, (len(self.waves),) * self.dimension)
        return [self.waves.nodes[digit] for digit in digits]

    def fit(self, values: FloatArray) -> FloatArray:
        """Return weights from values at the points."""
        return self._along_every_axis(self._to_waves, values)

    def diffusion(self, duration: float) -> Callable[[FloatArray], FloatArray]:
        """Return the map of values to those after the heat equation acted."""
        waves = self.waves
        matrix = (waves(waves.nodes) * np.exp(-waves.decay * duration)) @ self._to_waves
        return lambda values: self._along_every_axis(matrix, values)

    def _along_every_axis(self, matrix: FloatArray, values: FloatArray) -> FloatArray:
        for _ in range(self.dimension):  # the first axis becomes the last
            values = (matrix @ values.reshape(len(matrix), -1)).T
        return values.ravel()

    def combine(self, weights: Any, factors: list[FloatArray], along: int | None) -> FloatArray:
        """Return the sum at points where the waves of each coordinate are ``factors``.

        Those of the coordinate ``along`` are slopes.
        """
        tensor = weights.reshape(-1, len(self.waves)) @ factors[-1].T
        for factor in factors[-2::-1]:
            tensor = tensor.reshape(-1, *factor.T.shape)
            tensor = np.einsum("ajp,pj->ap", tensor, factor)
        return tensor[0]


def products(waves: Waves, number: int) -> list[tuple[int, ...]]:
    """Return the choices of one wave for each of some coordinates, of bounded total degree."""
    highest = max(waves.degree[-1], number)
    choices = product(range(1, len(waves)), repeat=number)
    return [choice for choice in choices if waves.degree[list(choice)].sum() <= highest]


def sobol_count(size: int) -> int:
    """Return the number of points, a power of two, for so many unknowns."""
    return 2 ** int(np.ceil(np.log2(2 * size)))


class SparseBasis:
    """Products of few waves, of bounded total degree; least squares on twice as many points."""

    def __init__(self, waves: Waves, dimension: int, active: int, seed: int) -> None:
        self.waves = waves
        rows = list[tuple[int, ...]]()
        for number in range(active + 1):
            rest = (0,) * (active - number)
            for where in combinations(range(dimension), number):
                rows += [where + rest + kind + rest for kind in products(waves, number)]
        self._where, self._kind = np.hsplit(np.array(rows), 2)
        self.size, self.count = len(rows), sobol_count(len(rows))
        unit = qmc.Sobol(dimension, rng=seed).random(self.count)
        self._points = waves.low + waves.width * unit
        self._matrix = self._products([waves(x) for x in self._points.T])
        Q, R = np.linalg.qr(self._matrix)
        self._inverse = solve_triangular(R, Q.T)
        self._decay = waves.decay[self._kind].sum(axis=1)

    def _products(self, factors: list[FloatArray]) -> FloatArray:
        every, result = np.array(factors), np.ones(1)
        every[:, :, 0] = 1.0  # of a coordinate that is not active
        for where, kind in zip(self._where.T, self._kind.T, strict=True):
            result = result * every[where, :, kind].T
        return result

    def points(self, block: slice) -> list[FloatArray]:
        """Return the coordinates of some of the points."""
        return list(self._points[block].T)

    def fit(self, values: FloatArray) -> FloatArray:
        """Return weights from values at the points."""
        return self._inverse @ values

    def diffusion(self, duration: float) -> Callable[[FloatArray], FloatArray]:
        """Return the map of values to those after the heat equation acted."""
        matrix = self._matrix * np.exp(-self._decay * duration)
        return lambda values: matrix @ (self._inverse @ values)

    def combine(self, weights: Any, factors: list[FloatArray], along: int | None) -> FloatArray:
        """See ``TensorBasis``."""
        if along is not None:  # a product without this coordinate has no slope
            is_active = (self._where == along) & (self._kind > 0)
            weights = weights * is_active.any(axis=1)
        return self._products(factors) @ weights
