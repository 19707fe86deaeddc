r"""A mean field game on a grid, with both equations as sparse matrices over all of space-time.

Agents hop between neighboring cells. With :math:`\delta = u_j - u_i` the cost gained by a hop, a
scheme is one convex function η, whose slope is the rate of hopping, :math:`r = -\eta'`:

.. math::

    -\nu\Delta u + \tfrac\lambda2 u_x^2 \approx G(u)_i = \sum_{j\sim i} \eta(u_j - u_i), \qquad
    -G'(u) = A(u), \quad A_{ij} = r(u_j - u_i),\; A_{ii} = -\sum_j A_{ij}.

Rates are positive and the rows of A sum to 0, so that the population, transported by
:math:`A^T`, stays positive and keeps its mass, and the discrete Fokker-Planck equation is exactly
the transpose of the linearized discrete HJB equation (Achdou & Capuzzo-Dolcetta 2010). On step n

.. math::

    \frac{u^n - u^{n+1}}{\Delta t} + G(\bar u) = F(\bar m), \quad
    \frac{m^{n+1} - m^n}{\Delta t} = A(\bar u)^T \bar m, \quad
    \bar u = \theta u^n + (1 - \theta) u^{n+1}, \quad \bar m = \theta m^{n+1} + (1 - \theta) m^n.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.special import exprel, spence

from opifex_tutorials.problems.mean_field_games import MeanFieldGame
from opifex_tutorials.training.history import ConvergenceError, History
from opifex_tutorials.validation import FloatArray, refuse, require_between, require_integer

Boundary = Callable[[FloatArray, float], tuple[ArrayLike, ArrayLike]]
Control = Callable[[FloatArray, FloatArray], ArrayLike]  # (t, x) -> velocity
POLICY_ITERATIONS = 50
KEEP = (0.6, 0.5, 0.25, 0.0)  # tried in turn until the density is positive; 0 is implicit Euler


class _FactorsByStep:
    """LU factors of a matrix that couples each step to itself and to the next one."""

    def __init__(self, matrix: Any, size: int) -> None:
        rows = [matrix[n : n + size] for n in range(0, matrix.shape[0], size)]
        own = [row[:, n * size : (n + 1) * size] for n, row in enumerate(rows)]
        # Symmetric ordering and no pivoting keep the elimination of an M-matrix positive.
        options = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0}
        self._factors = [splu(block.tocsc(), **options) for block in own]
        self._next = [row[:, n * size : (n + 1) * size] for n, row in enumerate(rows[:-1], 1)]

    def solve(self, right: FloatArray, trans: str = "N") -> FloatArray:
        """Solve with the matrix, from the last step to the first, or transposed, forward."""
        x, steps = right.reshape(len(self._factors), -1).copy(), range(len(self._factors))
        for n in steps if trans == "T" else reversed(steps):
            if trans == "T" and n > 0:
                x[n] -= self._next[n - 1].T @ x[n - 1]
            if trans == "N" and n < len(self._next):
                x[n] -= self._next[n] @ x[n + 1]
            x[n] = self._factors[n].solve(x[n], trans=trans)
        return x.ravel()


class MeanFieldGameScheme:
    """The two discrete equations, for ``u`` at times 0 to T - Δt and for m̄ of every step.

    Both have shape (steps, cells), flattened; steps and cells are N and K = J^d below. A bad
    argument raises ``ValueError``.

    Args:
        game: in one dimension or two.
        cells: J, along each axis, from 8 to 2000 or, in two dimensions, 200; of equal width.
            Values belong to their centers.
        steps: of time, from 4 to 20000.
        order: 1 for upwind differences and implicit Euler (θ = 1); 2 for the rates of Scharfetter
            & Gummel (1969) and the implicit midpoint rule (θ = 1/2, see ``limits``).
        boundary: see ``solve_mfg_grid``.
        interval: see ``solve_mfg_grid``.
        around: see ``solve_mfg_grid``.
    """

    def __init__(
        self,
        game: MeanFieldGame,
        cells: int,
        steps: int,
        order: int,
        boundary: Boundary | None = None,
        interval: tuple[float, float] | None = None,
        around: Any = None,
    ) -> None:
        self.dimension = require_integer("dimension", game.dimension, 1, 2)
        self.J = require_integer("cells", cells, 8, 2000 if self.dimension == 1 else 200)
        self.K = self.J**self.dimension
        self.N = require_integer("steps", steps, 4, 20_000)
        self.order = require_integer("order", order, 1, 2)
        if self.dimension > 1:
            game.require_box("boundary in two dimensions")
            options = {"boundary": boundary, "interval": interval, "around": around}
            refuse(" in two dimensions: allowed is None", **options)
        self.game, box = game, list(game.bounds.values())[1]
        self.low, self.high = box if interval is None else interval
        require_between("interval[0]", self.low, *box)
        require_between("interval[1]", self.high, self.low + 1e-6, box[1])
        self.h, self.dt = (self.high - self.low) / self.J, game.horizon / self.N
        self.x = self.low + self.h * (np.arange(self.J) + 0.5)
        self.places = [x.ravel() for x in np.meshgrid(*[self.x] * self.dimension, indexing="ij")]
        self.t = np.linspace(0.0, game.horizon, self.N + 1)
        self.is_periodic = game.boundary == "periodic" and boundary is None and interval is None
        # The cells beside them.
        self.walls = [] if self.is_periodic or self.dimension > 1 else [0, -1]
        self.boundary, self.has_other_walls = boundary, boundary is not None
        if game.boundary == "exact" and boundary is None:
            self.boundary = self._closed_form
        m0 = game.initial_density(*self.places)
        # On the whole domain the midpoint rule gives mass 1 but for a small error; remove it.
        self.initial_density = m0 / (m0.sum() * self.h**self.dimension) if interval is None else m0
        self._connect()
        self._later = sparse.eye(self.N * self.K, k=self.K, format="csr")
        self._time_difference = (sparse.identity(self.N * self.K) - self._later) / self.dt
        self._terminal = np.zeros((self.N, self.K))
        self._terminal[-1] = game.terminal_cost(*self.places)
        self.around = around
        if around is not None:
            if self.boundary is not None:
                # In the tail of a crowd a correction need not be positive.
                where = f"around with boundary={game.boundary!r}"
                raise ValueError(f"{where}: allowed are the whole ring, or walls that mirror")
            places = self.t[:, None], self.x
            self.sampled = around.value(*places), around.density(*places)
        self.set_theta(1.0 if order == 1 else 0.5)

    def _connect(self) -> None:
        """Set what hops between neighbors need: along each axis, to the right and to the left."""
        left = np.arange(self.J if self.is_periodic else self.J - 1)
        self.faces = self.low + self.h * (left + 1)
        grid, axes = np.arange(self.K).reshape([self.J] * self.dimension), range(self.dimension)
        beside = [[np.take(grid, i % self.J, a).ravel() for a in axes] for i in (left, left + 1)]
        self._beside = left, right = np.hstack(beside[0]), np.hstack(beside[1])
        pick = sparse.identity(self.K, format="csr")
        here, there = pick[np.append(left, right)], pick[np.append(right, left)]
        every_step = sparse.identity(self.N)
        self.here = sparse.kron(every_step, here, "csr")  # the cell that a hop starts from
        self._difference = sparse.kron(every_step, there - here, "csr")

    def _closed_form(self, t: FloatArray, x: float) -> tuple[ArrayLike, ArrayLike]:
        return self.game.value_gradient(t, x)[0], 0.0

    def set_theta(self, value: ArrayLike) -> None:
        """Set θ, everywhere or one number per step and cell, and what depends on it."""
        self.theta = theta = np.broadcast_to(np.asarray(value), (self.N, self.K))
        self.midway = self.t[1:, None] - theta * self.dt  # the times of ū and of the flux
        weights = theta.ravel()
        self.averaging = sparse.diags(weights) + sparse.diags(1 - weights) @ self._later
        potential = self.game.potential(self.t[:, None], *self.places)
        self._potential = (theta * potential[1:] + (1 - theta) * potential[:-1]).ravel()
        self._wall, self._inflow = np.zeros((2, self.N, self.K))
        self.wall_slopes = np.zeros((self.N, len(self.walls)))  # of ū
        if self.boundary is not None:
            for cell, x, outward in ((0, self.low, -1), (-1, self.high, 1)):
                slope, flux = self.boundary(self.midway[:, cell], x)
                self._wall[:, cell] = self.hamiltonian(outward * self.h * np.asarray(slope))
                # A control that is linear between the steps, as of a solution on a grid, is met.
                ends = 0 * self.t + np.asarray(self.boundary(self.t, x)[0])
                self.wall_slopes[:, cell] = np.interp(self.midway[:, cell], self.t, ends)
                self._inflow[:, cell] = -outward * np.asarray(flux) / self.h
        if self.around is not None:
            self._remove_defect()

    def average(self, fields: FloatArray) -> FloatArray:
        """Return the m̄ of densities at all times, shape (steps + 1, cells), flattened."""
        return (self.theta * fields[1:] + (1 - self.theta) * fields[:-1]).ravel()

    def _remove_defect(self) -> None:
        """Add sources such that the equations hold up to the defects of ``around``."""
        u, m = self.sampled
        now, mean, shape = u[:-1].ravel(), self.average(m), (self.N, self.J)
        hjb, fokker_planck = self.around.residuals(self.midway, self.x)
        self._wall = hjb - self.hjb(now, mean).reshape(shape)
        hops = self._difference.T @ (self.rates(self.jumps(now)) * (self.here @ mean))
        source = np.diff(m, axis=0) / self.dt - fokker_planck - hops.reshape(shape)
        self._inflow += source - source.mean(axis=1, keepdims=True)  # nobody enters or leaves

    def limits(self, densities: FloatArray) -> Iterator[float]:
        """Set θ to 1/2, but more where Euler's step empties a cell too fast, and more each time.

        The midpoint rule can leave a negative density there: no Runge-Kutta method of second order
        is positive for every step size (Bolley & Crouzeix 1978). With shorter steps θ returns to
        1/2 everywhere. Leave the loop at a positive density. The last is implicit Euler, which
        always has one; the scheme of first order starts there.

        Args:
            densities: of implicit Euler (θ = 1), shape (steps + 1, cells).

        Yields:
            What is kept: θ is 1/2 where a step leaves more than 1/(2 keep) of the density, and
            tends to 1 where it leaves nothing.
        """
        for keep in KEEP if self.order == 2 else KEEP[-1:]:
            self.set_theta(np.maximum(0.5, 1 - keep * densities[1:] / densities[:-1]))
            yield keep

    # The function η of the scheme, its rate r = -η' and the rate's derivative.
    def hamiltonian(self, delta: FloatArray) -> FloatArray:
        """Return η(δ), the share of a hop in -νΔu + (λ/2)|∇u|²."""
        nu, lam = self.game.viscosity, self.game.kinetic
        if self.order == 1:
            return -nu * delta / self.h**2 + lam / 2 * (np.minimum(delta, 0) / self.h) ** 2
        # The integral of z/(e^z - 1) is a dilogarithm.
        return -(nu**2) / (lam * self.h**2) * spence(np.exp(-lam * delta / nu))

    def rates(self, delta: FloatArray) -> FloatArray:
        """Return r(δ), the rate of hopping."""
        nu, lam = self.game.viscosity, self.game.kinetic
        if self.order == 1:
            return (nu - lam * np.minimum(delta, 0)) / self.h**2
        return np.asarray(nu / self.h**2 / exprel(lam * delta / nu))

    def _rate_slopes(self, delta: FloatArray) -> FloatArray:
        nu, lam = self.game.viscosity, self.game.kinetic
        if self.order == 1:
            return np.where(delta < 0, -lam / self.h**2, 0.0)
        z = lam * delta / nu
        b, near = 1 / exprel(z), np.abs(z) < 1e-4  # where the quotient would cancel
        slopes: Any = np.where(near, z / 6 - 0.5, b * (1 - b - z) / np.where(near, 1, z))
        return lam / self.h**2 * slopes

    # The two equations.
    def jumps(self, u: FloatArray) -> FloatArray:
        """Return δ of every hop: first all to the right, then all to the left, on each step."""
        past = ((1 - self.theta) * self._terminal).ravel()
        return self._difference @ (self.averaging @ u + past)

    def jumps_of(self, control: Control) -> tuple[FloatArray, FloatArray]:
        """Return the δ for which agents move as ``control(t, x)``, finite at the faces, says.

        And the slopes of ū at the walls that it stands for, in the shape of ``wall_slopes``. In one
        dimension.
        """
        require_integer("dimension", self.dimension, 1, 1)
        left, right = self._beside
        between = (self.theta[:, left] + self.theta[:, right]) / 2
        theta = np.hstack([between, self.theta[:, self.walls]])
        places = np.hstack([self.faces, np.array([self.low, self.high])[self.walls]])
        t, x = np.broadcast_arrays(self.t[1:, None] - theta * self.dt, places)
        slopes = -np.reshape(control(t, x), t.shape) / self.game.kinetic
        if not np.isfinite(slopes).all():
            raise ValueError("control with values that are not finite: allowed are finite values")
        slopes, at_walls = np.hsplit(slopes, [len(self.faces)])
        return self.h * np.hstack([slopes, -slopes]).ravel(), at_walls

    def hjb(self, u: FloatArray, m: FloatArray) -> FloatArray:
        """Return the residual of the HJB equation."""
        hops = self.here.T @ self.hamiltonian(self.jumps(u)) + self._wall.ravel()
        cost = self._potential + self.game.coupling(m)
        return self._time_difference @ u - self._terminal.ravel() / self.dt + hops - cost

    def matrix(self, rates: FloatArray) -> Any:
        """Return the HJB equation linearized; its transpose is the Fokker-Planck equation."""
        hops = self.here.T @ sparse.diags(rates) @ self._difference
        return self._time_difference - hops @ self.averaging

    def source(self) -> FloatArray:
        """Return the right-hand side of the Fokker-Planck equation."""
        source = self.averaging.T @ self._inflow.ravel()
        source[: self.K] += self.initial_density / self.dt
        return source

    def curvature(self, delta: FloatArray, m: FloatArray) -> Any:
        """Return the derivative of the Fokker-Planck equation with respect to u."""
        weights = sparse.diags(-self._rate_slopes(delta) * (self.here @ m))
        gradient = self._difference @ self.averaging
        return gradient.T @ weights @ gradient

    def factorize(self, rates: FloatArray) -> Any:
        """Return the LU factors of ``matrix``; step follows step, so no reordering is needed.

        In two dimensions that would fill in, and each step has factors of its own.
        """
        if not np.isfinite(rates).all():
            raise ConvergenceError("a value that is not finite", History())
        # The matrix of implicit Euler is an M-matrix: without pivoting, elimination keeps the
        # density positive.
        if self.dimension > 1:
            return _FactorsByStep(self.matrix(rates).tocsr(), self.K)
        return splu(self.matrix(rates).tocsc(), permc_spec="NATURAL", diag_pivot_thresh=0.0)

    def transport(self, rates: FloatArray) -> FloatArray:
        """Return m̄ of the population that hops at these rates."""
        return self.factorize(rates).solve(self.source(), trans="T")

    def densities(self, m: FloatArray, start: FloatArray | None = None) -> FloatArray:
        """Return m at all times, shape (steps + 1, cells), from m̄.

        Or any field from its averages and its ``start``, which may have more axes before the cells.
        """
        fields = [self.initial_density if start is None else start]
        for theta, average in zip(self.theta, m.reshape(self.N, *fields[0].shape), strict=True):
            fields.append((average - (1 - theta) * fields[-1]) / theta)
        return np.array(fields)

    def best_response(self, m: FloatArray, u: FloatArray | None = None) -> FloatArray:
        """Return the value if the population stays m̄, by policy iteration from ``u``.

        Raises:
            ConvergenceError: if it does not converge.
        """
        u = np.tile(self._terminal[-1], self.N) if u is None else u
        history = History()
        for iteration in range(1, POLICY_ITERATIONS + 1):
            change = self.factorize(self.rates(self.jumps(u))).solve(self.hjb(u, m))
            u = u - change
            history.steps.append(iteration)
            history.losses.append(float(np.mean(change**2)))
            if np.abs(change).max() <= 1e-12 * (1 + np.abs(u).max()):
                return u
        raise ConvergenceError(f"no best response after {POLICY_ITERATIONS} iterations", history)
