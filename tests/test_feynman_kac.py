"""The value by random paths, against closed forms."""

import numpy as np
import pytest

from benchmarks.feynman_kac import feynman_kac_value
from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    Coupling,
    LinearQuadraticGame,
    MixtureGame,
)


class Taxed(CosineGame):
    """Every agent pays t² more: the value grows by its integral, the equilibrium stays."""

    def _potential(self, xp, t, x):
        return super()._potential(xp, t, x) + t**2

    def _value(self, xp, t, x):
        return super()._value(xp, t, x) + (1 - t**3) / 3

    def _terminal_cost(self, xp, t, x):
        return super()._value(xp, t, x)


@pytest.mark.parametrize(
    "game",
    [
        CosineGame(dimension=3),
        CosineGame(dimension=2, boundary="neumann", kinetic=2.0, coupling=Coupling("logarithm")),
        MixtureGame(dimension=4),
        Taxed(dimension=2),
    ],
)
def test_values_lie_within_their_standard_errors(game):
    points = np.random.default_rng(0).random((12, game.dimension + 1))
    found = [feynman_kac_value(game, p[0], p[1:], paths=4000, seed=1) for p in points]
    misses = [(v - game.value(*p)) / e for (v, e), p in zip(found, points, strict=True)]
    assert np.abs(misses).max() < 4
    assert 0.4 < np.sqrt(np.mean(np.square(misses))) < 1.6
    # Four times the paths, half the error.
    few, many = (feynman_kac_value(game, 0.3, points[0, 1:], paths=n)[1] for n in (4000, 16000))
    assert few == pytest.approx(2 * many, rel=0.15)


@pytest.mark.parametrize(
    ("game", "options", "message"),
    [
        (LinearQuadraticGame(), {}, "boundary='exact'"),
        (CosineGame(), {"paths": 1}, "paths=1"),
        (CosineGame(), {"steps": 0}, "steps=0"),
    ],
)
def test_bad_arguments_are_refused_by_name(game, options, message):
    with pytest.raises(ValueError, match=message):
        feynman_kac_value(game, 0.5, np.array([0.5]), **options)
