r"""The value of a mean field game at single points, by Monte Carlo, if the crowd is known.

.. math::

    u(t, x) = -\tfrac{2\nu}{\lambda} \log E\, e^{-\frac{\lambda}{2\nu}
    \bigl(g(X_T) + \int_t^T F(s, X_s, m)\, ds\bigr)}, \qquad dX = \sqrt{2\nu}\, dB, \quad X_t = x.
"""

import numpy as np

from opifex_tutorials.problems.game import MeanFieldGame
from opifex_tutorials.validation import FloatArray, require_integer


def feynman_kac_value(
    game: MeanFieldGame,
    t: float,
    x: FloatArray,
    *,
    paths: int = 10_000,
    steps: int = 16,
    seed: int = 0,
) -> tuple[float, float]:
    """Return u(t, x) and its standard error, with the exact density given away.

    Args:
        game: with a closed form; on a ring, or between walls that mirror.
        t: the time.
        x: the point, shape (d,).
        paths: from it.
        steps: of the trapezoidal rule for the running cost.
        seed: of the paths.

    Raises:
        ValueError: for a bad argument.
    """
    game.require_box()
    require_integer("paths", paths, 2, 10**8)
    require_integer("steps", steps, 1, 10_000)
    times, rng = np.linspace(t, game.horizon, steps + 1), np.random.default_rng(seed)
    low, high = list(game.bounds.values())[1]
    X, cost = np.tile(np.reshape(x, (-1, 1)), paths), np.zeros(paths)
    width, deviation = high - low, np.sqrt(2 * game.viscosity * (times[1] - times[0]))
    for n, time in enumerate(times):
        if n > 0:
            X = X + deviation * rng.standard_normal(X.shape)
        inside = (X - low) % (width if game.boundary == "periodic" else 2 * width)
        inside = low + np.minimum(inside, np.abs(2 * width - inside))  # mirrored, between walls
        weight = (times[1] - times[0]) * (0.5 if n in (0, steps) else 1.0)
        cost += weight * game.running_cost(time, *inside, m=game.density(time, *inside))
    ratio = game.kinetic / (2 * game.viscosity)
    samples = np.exp(-ratio * (game.terminal_cost(*inside) + cost))
    mean, error = samples.mean(), samples.std(ddof=1) / np.sqrt(paths)
    return float(-np.log(mean) / ratio), float(error / (ratio * mean))
