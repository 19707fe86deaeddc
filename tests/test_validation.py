"""Checks of arguments: what is let through, what is refused, and what the message says."""

import numpy as np
import pytest

from opifex_tutorials.validation import (
    by_name,
    require_between,
    require_choice,
    require_finite,
    require_inside,
    require_integer,
    require_multiple,
    require_widths,
)

BOUNDS = {"t": (0.0, 2.0), "x": (-1.0, 1.0)}


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: require_between("a", 1.1, 0, 1), "a=1.1: allowed are numbers from 0 to 1"),
        (lambda: require_between("a", -1e-9, 0, 1), "a=-1e-09: allowed are numbers from 0 to 1"),
        (lambda: require_between("a", np.nan, 0, 1), "a=nan: allowed are numbers from 0 to 1"),
        (lambda: require_between("a", "0.5", 0, 1), "a='0.5': allowed are numbers from 0 to 1"),
        (lambda: require_between("a", None, 0, 1), "a=None: allowed are numbers from 0 to 1"),
        (lambda: require_between("a", [1, 0], 0, 1), r"a=\[1, 0\]: allowed are numbers"),
        (lambda: require_finite("a", np.inf), "a=inf: allowed are finite numbers"),
        (lambda: require_finite("a", "many"), "a='many': allowed are finite numbers"),
        (lambda: require_integer("n", 0, 1, 9), "n=0: allowed are integers from 1 to 9"),
        (lambda: require_integer("n", 10, 1, 9), "n=10: allowed are integers from 1 to 9"),
        (lambda: require_integer("n", 2.0, 1, 9), "n=2.0: allowed are integers from 1 to 9"),
        (lambda: require_integer("n", True, 1, 9), "n=True: allowed are integers from 1 to 9"),
        (lambda: require_multiple("n", 5, 2), "n=5: allowed are multiples of 2"),
        (lambda: require_multiple("n", 0, 2), "n=0: allowed are integers from 1 to"),
        (lambda: require_choice("c", "d", ("a", "b")), "c='d': allowed are 'a', 'b'"),
        (lambda: by_name("f", "c", {"a": 1, "b": 2}), "f='c': allowed are 'a', 'b', or a function"),
        (lambda: by_name("f", 7, {"a": 1}), "f=7: allowed are 'a', or a function"),
        (lambda: require_widths((2, 0)), r"widths=\(2, 0\): allowed are at least two"),
        (lambda: require_inside(BOUNDS, 0.5), "1 coordinates: allowed are 2: t, x"),
        (lambda: require_inside(BOUNDS, 0, 0, 0), "3 coordinates: allowed are 2: t, x"),
        (lambda: require_inside(BOUNDS, [1, 2.1], 0), "t=.*2.1.*: allowed are numbers from 0"),
        (lambda: require_inside(BOUNDS, 0, np.nan), "x=.*nan.*: allowed are numbers from -1"),
        (
            lambda: require_inside(BOUNDS, np.zeros(2), np.zeros(3)),
            r"shapes t \(2,\), x \(3,\): allowed are shapes that broadcast",
        ),
    ],
)
def test_what_is_not_allowed_is_named(check, message):
    with pytest.raises(ValueError, match=message):
        check()


def test_what_is_allowed_comes_back():
    for end in (0, 1):
        assert require_between("a", end, 0, 1) == end
    assert isinstance(require_between("a", np.float32(0.5), 0, 1), float)
    assert [require_integer("n", n, 1, 3) for n in (1, np.int64(2), 3)] == [1, 2, 3]
    assert type(require_integer("n", np.int64(2), 1, 3)) is int
    assert require_multiple("n", 6, 3) == 6
    assert require_finite("a", -3) == -3.0
    assert require_choice("c", "b", ("a", "b")) == "b"
    assert by_name("f", "a", {"a": 1}) == 1
    assert by_name("f", abs, {"a": 1}) is abs
    assert require_widths([2, 5, 1]) == (2, 5, 1)


@pytest.mark.parametrize("outside", [(-1e-9, 0), (2 + 1e-9, 0), (0, -1 - 1e-9), (0, 1 + 1e-9)])
def test_the_domain_ends_at_its_bounds(outside):
    with pytest.raises(ValueError, match=r"[tx]=.*: allowed are numbers from"):
        require_inside(BOUNDS, *outside)


def test_rounding_beyond_an_end_is_let_through_and_coordinates_broadcast():
    t, x = require_inside(BOUNDS, [[0], [np.nextafter(2, 3)]], [-1 - 1e-15, 0, 1])
    assert t.shape == x.shape == (2, 3)
    assert t.dtype == x.dtype == np.float64
    t[0, 0] = 1.0  # a copy of its own, not a view of one number
    assert t[0].tolist() == [1, 0, 0]
