"""Equations that the package does not know: systems, high orders, faces, and what goes wrong."""

import doctest
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest

from opifex_tutorials.losses.equation import Equation
from opifex_tutorials.losses.jax_system import derivative
from opifex_tutorials.solvers import own_equation
from opifex_tutorials.solvers.own_equation import require_equation, solve_equation
from opifex_tutorials.verification import relative_l2

FEW = {"hidden": (10, 10), "points": 512, "steps": 100}


@dataclass(frozen=True)
class Soliton:
    """u_t + 6 u u_x + u_xxx = 0, with the soliton's own values on the faces."""

    speed: float = 1.0
    bounds: ClassVar = {"t": (0.0, 1.0), "x": (-8.0, 8.0)}

    def exact(self, t, x, xp=np):
        return self.speed / 2 / xp.cosh(self.speed**0.5 / 2 * (x - self.speed * t)) ** 2


def korteweg_de_vries(problem, u):
    u_t, u_x = derivative(u, 0), derivative(u, 1)
    u_xxx = derivative(derivative(u_x, 1), 1)
    return lambda t, x: u_t(t, x) + 6 * u(t, x) * u_x(t, x) + u_xxx(t, x)


def misfit(problem, u):
    return lambda t, x: u(t, x) - problem.exact(t, x, jnp)


def misfit_of_slope(problem, u):
    exact = derivative(lambda t, x: problem.exact(t, x, jnp), 1)
    return lambda t, x: derivative(u, 1)(t, x) - exact(t, x)


FACES = [("t", "low", misfit), ("x", "low", misfit), ("x", "high", misfit)]


def test_third_derivatives_and_conditions_on_faces():
    faces = [*FACES, ("x", "high", misfit_of_slope)]
    problem = Soliton()
    solution = solve_equation(problem, korteweg_de_vries, seed=0, faces=faces, **FEW)
    t, x = np.meshgrid(np.linspace(0, 1, 21), np.linspace(-8, 8, 81))
    assert relative_l2(solution(t, x), problem.exact(t, x)) < 1e-4


@pytest.mark.parametrize(
    ("face", "expected"),
    [
        (("t", "low"), (0.0, 4.0)),
        (("x", "low"), (0.25, -8.0)),
        (("x", "high"), (0.25, 8.0)),
    ],
)
def test_a_face_is_where_its_name_says(face, expected):
    equation = Equation(korteweg_de_vries, faces=((*face, misfit),))
    inside, on_face = equation(Soliton(), 64).conditions
    point = np.array([0.25, 0.75])
    assert tuple(map(float, inside.place(point))) == (0.25, 4.0)
    assert tuple(map(float, on_face.place(point))) == expected
    assert (inside.points, on_face.points) == (64, 8)


@dataclass(frozen=True)
class Waves:
    """Two fields on a ring: v_t + c w_x = 0, w_t + c v_x = 0."""

    speed: float = 1.0
    bounds: ClassVar = {"t": (0.0, 1.0), "x": (0.0, 2.0)}


def waves(problem, u):
    u_t, u_x = derivative(u, 0), derivative(u, 1)
    return (
        lambda t, x: u_t(t, x)[0] + problem.speed * u_x(t, x)[1],
        lambda t, x: u_t(t, x)[1] + problem.speed * u_x(t, x)[0],
    )


def from_a_sine(problem, N):
    return lambda t, x: jnp.stack([jnp.sin(jnp.pi * x), 0 * x]) + t * N(t, x)


def test_a_system_on_a_ring():
    solution = solve_equation(Waves(), waves, from_a_sine, seed=0, fields=2, periodic=["x"], **FEW)
    t, x = np.meshgrid(np.linspace(0, 1, 11), np.linspace(0, 2, 41))
    v, w = solution(t, x)
    assert relative_l2(v, np.sin(np.pi * x) * np.cos(np.pi * t)) < 1e-4
    assert relative_l2(w, -np.cos(np.pi * x) * np.sin(np.pi * t)) < 1e-4
    np.testing.assert_allclose(solution(t, 0 * x), solution(t, 0 * x + 2), atol=1e-13)


@dataclass(frozen=True)
class Plate:
    """u'''' = f, clamped at both ends; f belongs to x²(1 - x)² sin 3x."""

    bounds: ClassVar = {"x": (0.0, 1.0)}


def beam(problem, u):
    def chosen(x):
        return x**2 * (1 - x) ** 2 * jnp.sin(3 * x)

    def fourth(f):
        for _ in range(4):
            f = derivative(f, 0)
        return f

    return lambda x: fourth(u)(x) - fourth(chosen)(x)


def clamped(problem, N):
    return lambda x: x**2 * (1 - x) ** 2 * N(x)


def test_fourth_derivatives_without_time():
    solution = solve_equation(Plate(), beam, clamped, seed=0, tolerance=0.1, **FEW)
    x = np.linspace(0, 1, 101)
    assert relative_l2(solution(x), x**2 * (1 - x) ** 2 * np.sin(3 * x)) < 1e-6


def test_another_value_of_a_parameter_does_not_compile_anew():
    options = {"seed": 0, "faces": FACES, "tolerance": np.inf, "hidden": (4,)}
    options |= {"points": 64, "steps": 50}
    first = solve_equation(Soliton(1.0), korteweg_de_vries, **options)
    second = solve_equation(Soliton(1.1), korteweg_de_vries, **options)
    assert second.history.seconds[-1] < first.history.seconds[-1] / 2


@dataclass(frozen=True)
class Cube:
    """-Δu + u = f in three dimensions, no slope at the lower end of z; f belongs to waves."""

    bounds: ClassVar = {"x": (0.0, 1.0), "y": (0.0, 1.0), "z": (0.0, 1.0)}


def chosen_in_cube(x, y, z, xp=np):
    return xp.sin(np.pi * x) * xp.sin(np.pi * y) * xp.cos(np.pi * z / 2)


def screened(problem, u):
    second = [derivative(derivative(u, i), i) for i in range(3)]

    def residual(*z):
        source = (1 + 2.25 * jnp.pi**2) * chosen_in_cube(*z, xp=jnp)
        return u(*z) - sum(u_zz(*z) for u_zz in second) - source

    return residual


def zero_where_it_should_be(problem, N):
    return lambda x, y, z: x * (1 - x) * y * (1 - y) * (1 - z) * N(x, y, z)


def test_three_dimensions_and_a_neumann_condition():
    faces = [("z", "low", lambda problem, u: derivative(u, 2))]
    built = {"trial": zero_where_it_should_be, "faces": faces}
    solution = solve_equation(Cube(), screened, seed=0, **built, **(FEW | {"points": 1024}))
    x = np.meshgrid(*[np.linspace(0, 1, 17)] * 3)
    assert relative_l2(solution(*x), chosen_in_cube(*x)) < 1e-4


def test_a_network_may_see_other_inputs_than_coordinates():
    def ring(problem):
        return lambda t, x: jnp.stack([2 * t - 1, -jnp.cos(jnp.pi * x), -jnp.sin(jnp.pi * x)])

    seen = solve_equation(Waves(), waves, from_a_sine, seed=0, fields=2, inputs=ring, **FEW)
    same = solve_equation(Waves(), waves, from_a_sine, seed=0, fields=2, periodic=["x"], **FEW)
    t, x = np.meshgrid(np.linspace(0, 1, 11), np.linspace(0, 2, 41))
    np.testing.assert_allclose(seen(t, x), same(t, x), atol=1e-9)


def test_the_template_runs_and_is_short():
    template = Path(__file__).parent.parent / "book" / "templates" / "my_equation.py"
    found = runpy.run_path(str(template))
    assert max(found["parts"].values()) < 1e-12
    assert 0.5 < found["estimated"] / found["error"] < 2
    assert found["error"] < 1e-5
    first = template.read_text(encoding="utf-8").split("# %%\n")[1].split("# %% [markdown]")[0]
    own = first[first.index("@dataclass") :].splitlines()
    assert sum(bool(line.strip()) for line in own) <= 15


def test_the_example_of_the_docstring_is_right():
    found = doctest.testmod(own_equation)
    assert found.attempted
    assert not found.failed


@dataclass
class Thawed:
    bounds: ClassVar = {"x": (0.0, 1.0)}


@dataclass(frozen=True)
class Boundless:
    rate: float = 1.0


@dataclass(frozen=True)
class LateTime:
    bounds: ClassVar = {"x": (0.0, 1.0), "t": (0.0, 1.0)}


@dataclass(frozen=True)
class Empty:
    bounds: ClassVar = {"x": (1.0, 1.0)}


def simple(problem, u):
    return lambda *point: u(*point)


def of_all_fields(problem, u):
    return lambda *point: jnp.stack([u(*point), u(*point)])


def infinite(problem, u):
    return lambda *point: u(*point) / 0.0


def deaf(problem, N):
    return lambda *point: 0 * point[0]


@pytest.mark.parametrize(
    ("problem", "equation", "message"),
    [
        (Thawed(), Equation(simple), "frozen"),
        (Boundless(), Equation(simple), "bounds="),
        (Empty(), Equation(simple), "rising"),
        (LateTime(), Equation(simple), "t first"),
        (Plate(), Equation(simple, periodic=("y",)), "'y'"),
        (Plate(), Equation(simple, faces=(("x", "left", simple),)), "'left'"),
        (Plate(), Equation(simple, faces=("x", "low", simple)), "face 'x'"),
        (Plate(), Equation(lambda problem, u: 0.0), "returns 0.0"),
        (Plate(), Equation(simple, lambda p, N: lambda x: (N(x), N(x))), "no array"),
        (Plate(), Equation(simple, fields=2), "1 residuals for 2 fields"),
        (Plate(), Equation(of_all_fields), r"shape \(2,\)"),
        (Plate(), Equation(infinite), "finite"),
        (Plate(), Equation(simple, deaf), "does not use the network"),
        (Plate(), Equation(simple, fields=0), "fields=0"),
    ],
)
def test_statements_that_cannot_be_right_are_named(problem, equation, message):
    with pytest.raises(ValueError, match=message):
        require_equation(problem, equation)
