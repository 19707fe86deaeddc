"""The yardsticks themselves."""

import numpy as np
import pytest

from opifex_tutorials.verification import convergence_order, relative_l2


def test_relative_errors_by_hand():
    assert relative_l2([3.0, 4.0], [0.0, 5.0]) == pytest.approx(np.sqrt(10) / 5)
    assert relative_l2(np.ones((2, 3)), np.ones((2, 3))) == 0


def test_order_of_a_known_rule():
    cells = np.array([10, 20, 40, 80])
    errors = [abs(np.sum((np.arange(n) + 0.5) ** 3) / n**4 - 0.25) for n in cells]  # midpoint rule
    np.testing.assert_allclose(convergence_order(1 / cells, errors), 2, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relative_l2(np.zeros(3), np.ones(4)), r"computed with shape \(3,\)"),
        (lambda: relative_l2([1.0], [0.0]), "reference=0"),
        (lambda: relative_l2([np.nan], [1.0]), "computed with values"),
        (lambda: relative_l2([1.0], [np.inf]), "reference with values"),
        (lambda: convergence_order([0.1, 0.2], [1.0, 1.0]), "step_sizes"),
        (lambda: convergence_order([0.1], [1.0]), "step_sizes"),
        (lambda: convergence_order([0.2, 0.1], [1.0, 0.0]), "errors"),
        (lambda: convergence_order([0.2, 0.1], [1.0]), "errors"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
