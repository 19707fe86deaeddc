"""The best sums of functions of few coordinates, against quadrature."""

import numpy as np
import pytest

from opifex_tutorials.problems.mean_field_games import (
    CosineGame,
    MixtureGame,
    TravellingGaussianGame,
)
from opifex_tutorials.problems.projection import projection_error


@pytest.mark.parametrize("game", [MixtureGame(dimension=2), CosineGame(dimension=2, alpha=0.95)])
@pytest.mark.parametrize("quantity", ["value", "density"])
def test_the_best_sum_by_quadrature(game, quantity):
    """On a grid, the best sum is that of the means along each axis; time is a parameter."""
    t, x = (np.arange(n) + 0.5 for n in (100, 24))
    u = getattr(game, quantity)(t[:, None, None] / 100, x[:, None] / 24, x / 24)
    mean, rows, columns = (u.mean(axis, keepdims=True) for axis in ((1, 2), 1, 2))
    for active, best in ((0, mean), (1, rows + columns - mean)):
        exact = np.sqrt(np.mean((u - best) ** 2) / np.mean(u**2))
        error, spread = projection_error(game, active, quantity=quantity, points=512, anchors=64)
        assert abs(error - exact) < 4 * spread
        assert spread < 0.2 * exact


def test_what_is_a_sum_has_no_error():
    game = TravellingGaussianGame(dimension=4)  # its value is a sum, its density a product
    assert projection_error(game, 1, points=16, anchors=8)[0] < 1e-12
    assert projection_error(game, 1, quantity="density", points=16, anchors=8)[0] > 0.1
    pairs = projection_error(MixtureGame(dimension=4), 2, points=64)[0]
    assert 1e-4 < pairs < 0.5 * projection_error(MixtureGame(dimension=4), 1, points=64)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"active": 3}, "active=3"),
        ({"active": 1, "quantity": "gradient"}, "quantity='gradient'"),
        ({"active": 1, "points": 1}, "points=1"),
        ({"active": 1, "anchors": 0}, "anchors=0"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        projection_error(CosineGame(dimension=5), **options)
