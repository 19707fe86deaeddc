r"""How far a game's solution is from sums of functions of one coordinate, or of pairs.

The best sum of functions of at most q coordinates (each of them of time, too) is the truncated
analysis of variance of u. Freezing all but few coordinates at a point X gives another such sum,

.. math::

    g_X(x) = \sum_{|S| \le q} (-1)^{q - |S|} \binom{d - |S| - 1}{q - |S|}\, u(x_S, X_{-S}),

whose mean over X is the best one (Kuo, Sloan, Wasilkowski & Wozniakowski 2010). With the means over
two independent samples of X, the mean of :math:`(u - g_1)(u - g_2)` is its square error without a
bias.
"""

from itertools import combinations
from math import comb

import numpy as np

from opifex_tutorials.problems.game import MeanFieldGame
from opifex_tutorials.validation import require_choice, require_integer


def projection_error(
    game: MeanFieldGame,
    active: int,
    *,
    quantity: str = "value",
    points: int = 512,
    anchors: int = 16,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the relative L2 error of the best sum of functions of few coordinates, over (t, x).

    Args:
        game: with a closed form.
        active: q, the number of coordinates of each function: 0, 1 or 2.
        quantity: ``"value"`` or ``"density"``.
        points: at which the error is sampled.
        anchors: X, in each of the two samples.
        seed: of both.

    Returns:
        The error, and its standard error. The estimate of the squared error has no bias, and so
        can come out negative; then the error is zero, to within the standard error.

    Raises:
        ValueError: for a bad argument.
    """
    d = game.dimension
    require_integer("active", active, 0, min(2, d - 1))
    require_choice("quantity", quantity, ("value", "density"))
    require_integer("points", points, 8, 10**6)
    require_integer("anchors", anchors, 8, 10**6)
    function, rng = getattr(game, quantity), np.random.default_rng(seed)
    low, high = list(game.bounds.values())[1]
    t = game.horizon * (np.arange(points) + rng.random(points)) / points  # one in each stratum
    x, frozen = (rng.uniform(low, high, (d, points, n)) for n in (1, 2 * anchors))
    exact = function(t, *x[..., 0])
    total = np.zeros((2, points))  # the mean of g over each half of the anchors
    for size in range(active + 1):
        factor = (-1) ** (active - size) * comb(d - size - 1, active - size)
        for free in combinations(range(d), size):
            mixed = frozen.copy()
            mixed[list(free)] = x[list(free)]
            values = function(t[:, None], *mixed)
            total += factor * values.reshape(points, 2, anchors).mean(axis=2).T
    squares, scale = np.prod(exact - total, axis=0), np.mean(exact**2)
    error = np.sqrt(max(0.0, squares.mean() / scale))
    spread = np.std((squares - error**2 * exact**2) / scale) / np.sqrt(points)
    return float(error), float(spread / (2 * error) if error > 0 else np.sqrt(spread))
