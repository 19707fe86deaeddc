r"""A hidden layer of tanh features that is drawn once: what is left to find is linear.

.. math:: \varphi_j(z) = \tanh w_j \cdot (z - c_j)

With weights and centers that are never trained, the network :math:`\sum_j \beta_j \varphi_j` is a
random basis (Huang, Zhu & Siew 2006; for differential equations Dong & Li 2021).
"""

from collections.abc import Sequence

import numpy as np

from opifex_tutorials.validation import FloatArray, require_between, require_integer

Layer = tuple[FloatArray, FloatArray]  # weights, shape (inputs, features), and biases

# Centers beyond the box, which the inputs fill, bend the solution near its edge as well: on Burgers
# centers within 1.0 gave ten times the error.
CENTERS = 1.4


def draw_features(ranges: Sequence[float], count: int, seed: int) -> Layer:
    """Draw a hidden layer for inputs in [-1, 1].

    Args:
        ranges: for each input the largest weight, positive: how quickly features vary along it.
        count: number of features, from 1 to 16,384.
        seed: of weights and centers, which are uniform.
    """
    for largest in ranges:
        require_between("ranges", largest, 1e-6, 1e3)
    require_integer("features", count, 1, 2**14)
    rng = np.random.default_rng(require_integer("seed", seed, 0, 2**31))
    weights, centers = (rng.uniform(-1, 1, (len(ranges), count)) for _ in "wc")
    weights *= np.asarray(ranges)[:, None]
    return weights, -CENTERS * (weights * centers).sum(0)
