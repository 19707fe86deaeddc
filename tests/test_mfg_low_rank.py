"""Tensor trains: their arithmetic against full tensors, the solver against closed forms."""

from itertools import pairwise

import numpy as np
import pytest

from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    LinearQuadraticGame,
    MixtureGame,
)
from opifex_tutorials.problems.projection import projection_error
from opifex_tutorials.solvers import solve_mfg_low_rank, solve_mfg_spectral
from opifex_tutorials.solvers.tensor_trains import block, combine, compress, cross, inner, mirrored
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.verification import mass_drift, relative_l2

NODES = 4


def full(train):
    """All entries of a train."""
    result = np.ones((1, 1))
    for core in train:
        result = np.tensordot(result, core, 1).reshape(-1, core.shape[2])
    return result.reshape((NODES,) * len(train))


def random_train(rng, dimension, rank):
    sizes = [1, *[rank] * (dimension - 1), 1]
    return [rng.normal(size=(a, NODES, b)) for a, b in pairwise(sizes)]


def test_arithmetic_of_trains():
    rng = np.random.default_rng(0)
    a, b = random_train(rng, 5, 3), random_train(rng, 5, 2)
    np.testing.assert_allclose(full(combine([2, -1], [a, b])), 2 * full(a) - full(b))
    assert inner(a, b) == pytest.approx(np.mean(full(a) * full(b)))
    double = compress(combine([1, 1], [a, a]), 1e-12)
    assert max(core.shape[2] for core in double) == 3
    np.testing.assert_allclose(full(double), 2 * full(a), atol=1e-10)
    small = compress(combine([1, 1e-3], [a, b]), 1e-1)
    assert max(core.shape[2] for core in small) == 3
    assert np.sqrt(np.mean((full(small) - full(a) - 1e-3 * full(b)) ** 2)) < 1e-1
    left, right = rng.integers(0, NODES, (6, 2)), rng.integers(0, NODES, (7, 1))
    entries = full(a)[left[:, 0], left[:, 1]][..., right[:, 0]]
    np.testing.assert_allclose(block(a, left, right), entries)


def sampler(tensor):
    def sample(left, right):
        shape = (len(left), NODES, NODES, len(right))
        entries = np.empty(shape)
        for i, row in enumerate(left):
            for j, column in enumerate(right):
                entries[i, :, :, j] = tensor[(*row, slice(None), slice(None), *column)]
        return entries

    return sample


@pytest.mark.parametrize("rank", [1, 3])
def test_cross_approximation_finds_the_rank(rank):
    rng = np.random.default_rng(1)
    tensor = full(random_train(rng, 5, rank))
    right = [rng.integers(0, NODES, (2, 5 - k)) for k in range(5)] + [np.zeros((1, 0), int)]
    for _ in range(2):  # there and back
        train, right = cross(sampler(tensor), NODES, right, 1e-10, 20)
        back, right = cross(mirrored(sampler(tensor)), NODES, right, 1e-10, 20)
    assert max(core.shape[2] for core in train) == rank
    np.testing.assert_allclose(full(train), tensor, atol=1e-8)
    np.testing.assert_allclose(full([core.T for core in back[::-1]]), tensor, atol=1e-8)


def errors(solution, points=200):
    game = solution.game
    p = np.random.default_rng(0).random((game.dimension + 1, points))
    control = -game.kinetic * game.value_gradient(*p)
    return (
        relative_l2(solution.value(*p), game.value(*p)),
        relative_l2(solution.control(*p), control),
        relative_l2(solution.density(*p), game.density(*p)),
    )


@pytest.mark.parametrize(
    ("game", "options"),
    [
        (MixtureGame(dimension=2), {}),
        (MixtureGame(dimension=4, seed=1, kinetic=2.0), {}),
        (MixtureGame(dimension=3, harmonics=2, coupling=Coupling()), {"degree": 2}),
        (CosineGame(dimension=4, boundary="neumann"), {"degree": 2}),
    ],
)
def test_closed_forms_of_low_rank(game, options):
    solution = solve_mfg_low_rank(game, tolerance=1e-6, **options)
    value, control, density = errors(solution)
    assert value < 5e-5
    assert control < 5e-6
    assert density < 1e-6
    assert mass_drift(solution) < 1e-6


@pytest.mark.parametrize("seed", [0, 1])
def test_ten_dimensions_where_no_sum_of_pairs_is_near(seed):
    game = MixtureGame(dimension=10)
    value, control, density = errors(solve_mfg_low_rank(game, tolerance=1e-3, seed=seed))
    assert value < 1e-2 < projection_error(game, 2, points=128)[0]
    assert control < 3e-3
    assert density < 1e-3


class Restless(CosineGame):
    """Its running cost does not vanish at the equilibrium, which no closed form describes."""

    def _potential(self, xp, t, x):
        return xp.cos(2 * np.pi * (x[0] - x[1]) - 3 * t) * (1 + t) / 2


def test_trains_and_full_tensors_agree_without_a_closed_form():
    game, options = Restless(dimension=3), {"degree": 2, "steps": 8}
    full_tensor = solve_mfg_spectral(game, **options)
    train = solve_mfg_low_rank(game, tolerance=1e-6, **options)
    points = np.random.default_rng(0).random((4, 100))
    for name in ("value", "density", "control"):
        found, other = (getattr(s, name)(*points) for s in (train, full_tensor))
        assert relative_l2(found, other) < 1e-5


def test_too_small_a_rank_is_an_error():
    with pytest.raises(ConvergenceError, match=r"tolerance=1e-06") as caught:
        solve_mfg_low_rank(MixtureGame(dimension=4), tolerance=1e-6, rank=1, iterations=15)
    assert len(caught.value.history.losses) <= 15


@pytest.mark.parametrize(
    ("game", "options", "message"),
    [
        (LinearQuadraticGame(dimension=2), {}, "boundary='exact'"),
        (CosineGame(), {}, "dimension=1"),
        (CosineGame(dimension=2), {"degree": 0}, "degree=0"),
        (CosineGame(dimension=2), {"steps": 2}, "steps=2"),
        (CosineGame(dimension=2), {"damping": 0.0}, "damping=0.0"),
        (CosineGame(dimension=2), {"acceleration": -1}, "acceleration=-1"),
        (CosineGame(dimension=2), {"tolerance": 0.0}, "tolerance=0.0"),
        (CosineGame(dimension=2), {"iterations": 0}, "iterations=0"),
        (CosineGame(dimension=2), {"rank": 0}, "rank=0"),
    ],
)
def test_bad_arguments_are_refused_by_name(game, options, message):
    with pytest.raises(ValueError, match=message):
        solve_mfg_low_rank(game, **options)
