"""Transfer: interpolation against lines, adaptation against SciPy, and what breaks it."""

from typing import ClassVar

import numpy as np
import pytest
from scipy.optimize import least_squares

from opifex_tutorials.losses.burgers import burgers_layer
from opifex_tutorials.losses.jax_system import Program, System
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.training.transfer import DonorLibrary, adapt, solve_branch

MEMBERS = np.array([0.01, 0.02, 0.08])


@pytest.mark.parametrize("member", [0.001, 0.01, 0.013, 0.04, 0.08, 0.5])
def test_weights_linear_in_the_logarithm_are_interpolated_exactly(member):
    def line(mu):
        return np.array([1.0, -2.0]) + np.array([3.0, 0.5]) * np.log(mu)

    library = DonorLibrary(MEMBERS, np.array([line(mu) for mu in MEMBERS]))
    np.testing.assert_allclose(library.interpolate(member), line(member), rtol=1e-12)


def test_the_nearest_donor_is_nearest_in_the_logarithm():
    library = DonorLibrary(MEMBERS, np.arange(3.0)[:, None])
    assert library.nearest(0.039) == 1  # nearer to 0.02 by difference and by ratio
    assert library.nearest(0.045) == 2  # nearer to 0.02 by difference, to 0.08 by ratio
    assert DonorLibrary(MEMBERS[:1], np.ones((1, 2))).interpolate(7.0).tolist() == [1, 1]


class Circle:
    """Points on a circle of radius μ, nonlinear in the parameters; the minimum is known."""

    def __init__(self, radius):
        self.radius = radius

    def residuals(self, p):
        return np.array([p[0] * np.cos(p[1]) - self.radius * 0.6, p[0] * np.sin(p[1]) - 0.8])

    def linearize(self, p):
        c, s = np.cos(p[1]), np.sin(p[1])
        return self.residuals(p), np.array([[c, -p[0] * s], [s, p[0] * c]])


def test_adapt_finds_what_scipy_finds_and_a_branch_visits_every_member():
    start = np.array([1.3, 0.5])
    path = adapt(Circle(1.5), start, 12)
    assert path.shape == (13, 2)
    np.testing.assert_array_equal(path[0], start)
    np.testing.assert_allclose(path[-1], least_squares(Circle(1.5).residuals, start).x, rtol=1e-8)
    library = solve_branch(Circle, [1.0, 1.5], start, first_steps=30, steps=12)
    expected = [[np.hypot(0.6 * r, 0.8), np.arctan2(0.8, 0.6 * r)] for r in (1.0, 1.5)]
    np.testing.assert_allclose(library.parameters, expected, rtol=1e-8)


class Noted(Circle):
    """A circle that notes where the first step of each member starts."""

    starts: ClassVar = []

    def __init__(self, radius):
        super().__init__(radius)
        self.is_new = True

    def linearize(self, p):
        if self.is_new:
            Noted.starts.append(p)
            self.is_new = False
        return super().linearize(p)


def test_each_member_of_a_branch_starts_from_the_one_before():
    Noted.starts.clear()
    start = np.array([1.3, 0.5])
    library = solve_branch(Noted, [1.0, 1.5, 2.0], start, first_steps=30, steps=12)
    np.testing.assert_array_equal(Noted.starts, [start, *library.parameters[:2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DonorLibrary(MEMBERS[::-1], np.zeros((3, 2))), "members="),
        (lambda: DonorLibrary(-MEMBERS[::-1], np.zeros((3, 2))), "members="),
        (lambda: DonorLibrary(MEMBERS, np.zeros((2, 2))), "parameters of shape"),
        (lambda: DonorLibrary(MEMBERS, np.zeros((3, 2))).nearest(-1.0), "member=-1.0"),
        (lambda: DonorLibrary(MEMBERS, np.zeros((3, 2))).interpolate(np.nan), "member=nan"),
        (lambda: adapt(Circle(1.0), np.ones(2), -1), "steps=-1"),
        (lambda: adapt(Circle(1.0), np.ones(2), 1, damping=-1.0), "damping=-1.0"),
        (lambda: adapt(Circle(1.0), np.ones(2), 1, damping=0.0), "damping=0.0"),
        (lambda: adapt(Circle(1.0), np.ones(2), 1, damping=np.nan), "damping=nan"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.fixture(scope="module")
def family():
    """The layer formulation of Burgers, as a function of viscosity, and a measure of error."""
    compiled = Program(burgers_layer, BurgersProblem(0.05), 512, (10, 10))
    points = compiled.sample(BurgersProblem(0.02, 0.5), (0, 0))
    t, x = (a.ravel() for a in np.meshgrid(np.linspace(0.05, 0.5, 10), np.linspace(-1, 1, 101)))

    def system_of(viscosity):
        return System(compiled, BurgersProblem(float(viscosity), 0.5), points)

    def error(viscosity, parameters):
        problem = BurgersProblem(viscosity, 0.5)
        exact = problem.exact(t, x)
        u = np.asarray(compiled.evaluate(problem, parameters, (t, x)))
        return np.linalg.norm(u - exact) / np.linalg.norm(exact)

    return compiled, system_of, error


def test_transfer_beats_a_random_start_and_needs_its_small_damping(family):
    compiled, system_of, error = family
    library = solve_branch(system_of, [0.01, 0.05], compiled.initial_parameters(0), first_steps=60)
    system = system_of(0.02)

    def ten_steps(start, damping):
        return error(0.02, adapt(system, start, 10, damping=damping)[-1])

    good = ten_steps(library.interpolate(0.02), 1e-8)
    assert good < 5e-5
    assert good < ten_steps(compiled.initial_parameters(1), None) / 30
    assert good < ten_steps(library.interpolate(0.02), None) / 5


def test_weights_of_independent_networks_cannot_be_interpolated(family):
    compiled, system_of, error = family
    members = [0.015, 0.03]
    branch = solve_branch(system_of, members, compiled.initial_parameters(0), first_steps=60)
    alone = [
        solve_branch(system_of, [mu], compiled.initial_parameters(i), first_steps=60).parameters[0]
        for i, mu in enumerate(members)
    ]
    independent = DonorLibrary(np.array(members), np.array(alone))
    together, apart = (error(0.021, lib.interpolate(0.021)) for lib in (branch, independent))
    assert together < 0.1 < apart
