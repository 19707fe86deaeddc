r"""A least-squares problem whose rows are spread over devices, each walked through block by block.

A step of Levenberg and Marquardt needs of the residuals r and their Jacobian J no more than the
Gram matrix of all columns,

.. math:: [J\; r]^T [J\; r] = \sum_{\text{blocks}} [J_b\; r_b]^T [J_b\; r_b],

and one product with :math:`J^T`. So a device holds one block of J at a time, and a step exchanges
:math:`(P + 1)^2 + P + 1` numbers, however many points there are.

Sums depend on their order, and close to a minimum the iteration amplifies their rounding: two
orders of it lead to parameters that agree in five or six digits. Here the order does not depend on
the number of devices. The points are divided into equal *leaves*, whose sums are added as a
balanced binary tree. Its lower levels lie within a device, its upper ones between devices, on a
mesh whose axes have length two: a sum of two numbers for each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from opifex_tutorials.losses.jax_system import Points, Program
from opifex_tutorials.validation import FloatArray, require_integer, require_multiple

# Wider matrices are multiplied in halves, of which the symmetry saves one: on a CPU that was as
# fast as the rank-k update of BLAS, which computes one triangle; in one piece it took half as long
# again. The rows come first, because XLA is slow to multiply a transposed matrix.
PANEL = 256


@dataclass(frozen=True)
class Layout:
    """How points are spread, by powers of two.

    Attributes:
        devices: how many; None for all, those of other processes included. With several processes
            all of their devices take part.
        block: of each condition, a device linearizes at most so many points at a time. Between 512
            and 2,048 rows of 338 columns a CPU multiplied fastest.
        leaves: number of parts whose sums are added as a tree, a multiple of ``devices``. With
            equal leaves and blocks results are equal to the last bit on any number of devices, if
            XLA computes each with a single thread (``--xla_cpu_multi_thread_eigen=false``).

    Raises:
        ValueError: for numbers that are no powers of two, or that do not fit together.
    """

    devices: int | None = None
    block: int = 1024
    leaves: int = 16

    def __post_init__(self) -> None:
        _require_power("block", self.block, 1, 2**30)
        _require_power("leaves", self.leaves, 1, 2**30)

    def mesh(self) -> Mesh:
        """Return the devices as a mesh of axes of length two, after a first one of length one.

        Raises:
            ValueError: for a number of devices that this run, or the leaves, do not allow.
        """
        every = jax.device_count()
        count = every if self.devices is None else self.devices
        _require_power("devices", count, every if jax.process_count() > 1 else 1, every)
        require_multiple("leaves", self.leaves, count)
        halvings = count.bit_length() - 1
        grid = np.array(jax.devices()[:count]).reshape(1, *(2,) * halvings)
        return Mesh(grid, ("one", *(f"half{i}" for i in range(halvings))))


def _require_power(name: str, value: int, low: int, high: int) -> None:
    if require_integer(name, value, low, high) & (value - 1):
        raise ValueError(f"{name}={value}: allowed are powers of two")


def summed(mesh: Mesh, of_block: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Return (blocks, known) -> the sum of ``of_block(block, *known)``, the same on all devices.

    Args:
        mesh: of :meth:`Layout.mesh`.
        of_block: of an array, or a pytree of them; what is ``known`` is so on every device. The
            blocks are counted by two more axes in front: the leaves, and the blocks of each.
    """

    def local(blocks: Any, known: tuple[Any, ...]) -> jax.Array:
        def add(total: jax.Array, block: Any) -> tuple[jax.Array, None]:
            # What is inside does not mix with what is around, which depends on the devices.
            inputs = jax.lax.optimization_barrier((block, *known))
            return total + of_block(*inputs), None

        def of_leaf(blocks: Any) -> jax.Array:
            first = jax.tree.map(lambda array: array[0], blocks)
            zeros = jnp.zeros_like(jax.eval_shape(of_block, first, *known))
            return jax.lax.scan(add, zeros, blocks)[0]

        sums = jax.lax.map(of_leaf, blocks)
        while len(sums) > 1:
            sums = sums[::2] + sums[1::2]
        for axis in reversed(mesh.axis_names):
            sums = jax.lax.psum(sums, axis)
        return sums[0]

    same, own = PartitionSpec(), PartitionSpec(mesh.axis_names)
    # Unchecked: otherwise a derivative with respect to what is known would be summed over the
    # devices within each block.
    return jax.shard_map(local, mesh=mesh, in_specs=(own, same), out_specs=same, check_vma=False)


def compiled(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that sums over a mesh, with the same arithmetic on any number of devices.

    On CPUs XLA's algebraic simplifier is left out: it rewrote quotients of quotients in another way
    for one device, where there is nothing to partition, than for two.
    """
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    options = {"xla_disable_hlo_passes": "algsimp"} if on_cpu else None
    return jax.jit(function, compiler_options=options)


class ShardedProgram:
    """A program compiled for a layout.

    Args:
        program: whose residuals.
        layout: of their points.
    """

    def __init__(self, program: Program, layout: Layout) -> None:
        self.program, self.layout, self.mesh = program, layout, layout.mesh()
        sums = self._gram, self._curvature, self._squares
        self.gram, self.curvature, self.squares = (
            compiled(self.mesh, summed(self.mesh, of_block)) for of_block in sums
        )

    def spread(self, points: Points) -> Points:
        """Return points as arrays over all devices, shape (leaves, blocks, rows, dimension).

        Every process draws all points and keeps those of its own devices.

        Raises:
            ValueError: if one of the conditions has fewer points than there are blocks.
        """
        leaves, over = (
            self.layout.leaves,
            NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names)),
        )
        blocks = max(1, max(map(len, points)) // leaves // self.layout.block)

        def place(cube: Any) -> jax.Array:
            if len(cube) % (leaves * blocks):
                allowed = f"at least {leaves * blocks}, one for each block"
                raise ValueError(f"points={len(cube)} of a condition: allowed are {allowed}")
            host = np.asarray(cube).reshape(leaves, blocks, -1, cube.shape[1])
            return jax.make_array_from_callback(host.shape, over, host.__getitem__)

        return tuple(map(place, points))

    def _gram(self, block: Points, problem: Any, theta: jax.Array) -> jax.Array:
        r, jacobian = self.program.linearize(problem, theta, block)
        return _gram(jnp.concatenate([jacobian, r[:, None]], axis=1).T)

    def _squares(self, block: Points, problem: Any, theta: jax.Array) -> jax.Array:
        return jnp.sum(self.program.residuals(problem, theta, block) ** 2)

    def _curvature(
        self, block: Points, problem: Any, theta: jax.Array, d: jax.Array, h: jax.Array
    ) -> jax.Array:
        residuals = partial(self.program.residuals, problem, points=block)
        # Row by row. With J'J d from the Gram matrix, which is nearly singular, its rounding would
        # not lie in the range of J', and the solve would amplify it.
        r, along = jax.linearize(residuals, theta)
        r_dd = 2 / h**2 * (residuals(theta + h * d) - r - h * along(d))
        return jax.linear_transpose(along, theta)(r_dd)[0]


def _gram(rows: jax.Array) -> jax.Array:
    if len(rows) <= PANEL:
        return rows @ rows.T
    upper, lower = jnp.split(rows, [len(rows) // 2])
    across = upper @ lower.T
    return jnp.block([[_gram(upper), across], [across.T, _gram(lower)]])


#: (program, layout) -> the program compiled for it, once per process.
compile_sharded = lru_cache(maxsize=32)(ShardedProgram)


@dataclass(frozen=True)
class ShardedSystem:
    """A sharded program at fixed points: NumPy in, NumPy out, for Levenberg-Marquardt."""

    program: ShardedProgram
    problem: Any
    points: Points  # as :meth:`ShardedProgram.spread` returned them

    def sum_of_squares(self, parameters: FloatArray) -> float:
        """Return the sum of the squares of the residuals: the loss."""
        return float(self.program.squares(self.points, (self.problem, parameters)))

    def normal_equations(self, parameters: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return the loss, the Gram matrix J'J, shape (P, P), and J'r, shape (P,)."""
        gram = np.asarray(self.program.gram(self.points, (self.problem, parameters)))
        return float(gram[-1, -1]), gram[:-1, :-1], gram[:-1, -1]

    def pulled_curvature(self, parameters: FloatArray, d: FloatArray, h: float) -> FloatArray:
        """Return J' times the second derivative of r along d, by a difference of length h."""
        known = self.problem, parameters, d, np.float64(h)
        return np.asarray(self.program.curvature(self.points, known))
