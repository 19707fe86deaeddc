"""An equation of your own by a physics-informed neural network: one call."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from opifex_tutorials.losses.equation import Equation, Face, Residual, as_fields
from opifex_tutorials.losses.jax_system import Field, register
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.solvers.pinn import PinnSolution, train_pinn
from opifex_tutorials.validation import require_choice, require_finite, require_integer

ENDS = ("low", "high")
SAMPLE = 16  # points at which a statement is tried before it is trained


def solve_equation(
    problem: Any,
    residual: Residual,
    trial: Callable[[Any, Field], Field] | None = None,
    *,
    seed: int,
    fields: int = 1,
    periodic: Sequence[str] = (),
    faces: Sequence[Face] = (),
    inputs: Callable[[Any], Field] | None = None,
    **options: Any,
) -> PinnSolution:
    """Solve an equation that the package does not know.

    Args:
        problem: a frozen dataclass; its ``bounds`` give lowest and highest value of each
            coordinate by name, time first. Its real numbers can change without a new compilation.
        residual: (problem, u) -> field, or a tuple of fields, which is to vanish everywhere. Write
            derivatives with :func:`opifex_tutorials.losses.jax_system.derivative`.
        trial: (problem, N) -> candidate with conditions built in; by default the network itself.
        seed: of the initial weights and of the collocation points.
        fields: number of unknowns. With several, u and N are of shape (fields,).
        periodic: names of the coordinates in which the solution is periodic.
        faces: conditions that are not built in, as (name, ``"low"`` or ``"high"``, residual).
        inputs: what the network sees instead of the coordinates, (problem) -> field of shape
            (inputs,), each in about [-1, 1].
        options: as in :func:`opifex_tutorials.solvers.pinn.train_pinn`, with the same defaults. The
            ``tolerance`` is absolute, in the units of your residual; ``tolerance=np.inf`` hands
            back whatever was reached.

    Returns:
        The solution; with several unknowns its values have a first axis that counts them.

    Raises:
        ValueError: for a statement that cannot be right; see :func:`require_equation`.
        ConvergenceError: if the residual on held-out points stays above the tolerance.

    Example:
        >>> from dataclasses import dataclass
        >>> import jax.numpy as jnp
        >>> from opifex_tutorials.losses.jax_system import derivative
        >>> @dataclass(frozen=True)
        ... class Decay:
        ...     rate: float = 1.0
        ...     bounds = {"t": (0.0, 1.0)}
        >>> def residual(problem, u):
        ...     return lambda t: derivative(u, 0)(t) + problem.rate * u(t)
        >>> def trial(problem, N):
        ...     return lambda t: 1 + t * N(t)
        >>> small = {"hidden": (8,), "points": 64, "steps": 50}
        >>> u = solve_equation(Decay(), residual, trial, seed=0, **small)
        >>> print(f"{u(1.0):.5f}")
        0.36788
    """
    equation = Equation(residual, trial, fields, tuple(periodic), tuple(faces), inputs=inputs)
    require_equation(problem, equation)
    return train_pinn(problem, equation, seed=seed, **options)


def require_equation(problem: Any, equation: Equation) -> None:
    """Try a statement at a few points, before it is compiled.

    Raises:
        ValueError: for a problem that is not frozen or without proper ``bounds``, time that does
            not come first, unknown names, a residual that is no number at a point or not finite,
            a trial function of the wrong shape, or one that does not use the network.
    """
    enable_float64()
    register(type(problem))  # type: ignore[arg-type]  # a cached function: types are hashable
    require_integer("fields", equation.fields, 1, 64)
    names = _require_bounds(problem)
    for face in equation.faces:
        if not isinstance(face, tuple | list) or len(face) != 3 or not callable(face[2]):
            raise ValueError(f"face {face!r}: allowed are (name, 'low' or 'high', residual)")
        require_choice("end of a face", face[1], ENDS)
    for name in (*equation.periodic, *(name for name, _, _ in equation.faces)):
        require_choice("coordinate", name, tuple(names))
    residuals = as_fields(equation.residual(problem, equation.nothing))
    if len(residuals) < equation.fields:
        count = equation.fields
        raise ValueError(f"{len(residuals)} residuals for {count} fields: allowed are {count}")
    shape = () if equation.fields == 1 else (equation.fields,)
    formulation = equation(problem, SAMPLE)
    cube = jnp.asarray(np.random.default_rng(0).random((SAMPLE, len(names))))

    def network(shift: float) -> Field:
        return lambda *z: jnp.sin(sum(z) + shift + jnp.arange(equation.fields).reshape(shape))

    def tried(field: Field, place: Any, expected: tuple[int, ...], what: str) -> Any:
        found = getattr(jax.eval_shape(field, *place(cube[0])), "shape", "no array")
        if found != expected:
            raise ValueError(f"{what} of shape {found} at a point: allowed is an array {expected}")
        return jax.vmap(lambda z: field(*place(z)))(cube)

    first, *_ = formulation.conditions
    u, other = (formulation.trial.candidate(network(shift)) for shift in (0.0, 1.0))
    values = [tried(v, first.place, shape, "trial function") for v in (u, other)]
    if np.array_equal(*values):
        raise ValueError("trial function that does not use the network: allowed are those that do")
    for condition in formulation.conditions:
        r = tried(condition.residual(u), condition.place, (), "residual")
        if not np.isfinite(r).all():
            raise ValueError("residual that is not finite for a smooth u: allowed are finite ones")


def _require_bounds(problem: Any) -> list[str]:
    bounds = getattr(problem, "bounds", None)
    if not isinstance(bounds, dict) or not bounds:
        raise ValueError(f"bounds={bounds!r}: allowed are name: (lowest, highest) by coordinate")
    for name, ends in bounds.items():
        low, high = (require_finite(f"bounds of {name}", end) for end in ends)
        if not low < high:
            raise ValueError(f"bounds of {name}={ends!r}: allowed are two rising numbers")
    names = list(bounds)
    if "t" in names[1:]:
        raise ValueError(f"coordinates {names}: allowed are orders with t first")
    return names
