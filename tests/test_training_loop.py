"""The training loop on its own: an optimizer that counts, and points that tell when they came."""

import re
from dataclasses import dataclass, field

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from opifex_tutorials.training.history import ConvergenceError, History, Stopwatch
from opifex_tutorials.training.levenberg_marquardt import (
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)
from opifex_tutorials.training.loop import (
    HELD_OUT,
    Advance,
    Schedule,
    TrainingInterrupted,
    levenberg_marquardt,
    train,
)


@dataclass(frozen=True)
class Guess:
    """A solution; its one parameter is the number of steps that made it."""

    parameters: np.ndarray
    history: History = field(default_factory=History)


class Rehearsal:
    """A training that follows a script.

    Args:
        takes: steps that each block takes; by default as many as asked for.
        held_out: residual on held-out points. On points drawn after k steps the residuals are k
            and the parameter.
        options: of the schedule.
    """

    def __init__(self, takes=None, held_out=1.0, **options):
        plain = {"seed": 0, "optimizer": "levenberg_marquardt", "steps": 60, "record_every": 10}
        plain |= {"resample_every": None, "tolerance": 1.0}
        self.schedule = Schedule(**{**plain, **options})
        self.takes = takes or [self.schedule.record_every] * 100
        self.held_out = held_out
        self.drawn, self.blocks, self.done, self.now = [], [], 0, 0.0

    def sample(self, done):
        self.drawn.append(done)
        return Points(self, done)

    def advance(self, points):
        count = self.takes[len(self.blocks)]
        self.blocks.append(points.drawn_after)
        self.done, self.now = self.done + count, self.now + 1.0
        return np.array([float(self.done)]), count

    def run(self, monitor=None, **options):
        start, options = Guess(np.zeros(1)), {"clock": Stopwatch(), "monitor": monitor, **options}
        advance = Advance(lambda points, state: (state, *self.advance(points)), None)
        return train(self.schedule, start, advance, self.sample, **options)


@dataclass(frozen=True)
class Points:
    rehearsal: Rehearsal
    drawn_after: int

    def residuals(self, parameters):
        self.rehearsal.now += 10.0
        if self.drawn_after == HELD_OUT:
            held_out = self.rehearsal.held_out
            return np.array([held_out(parameters[0]) if callable(held_out) else held_out])
        return np.array([float(self.drawn_after), parameters[0]])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"resample_every": 20}, [0, 0, 20, 20, 40, 40]),
        ({"resample_every": 10}, [0, 10, 20, 30, 40, 50]),
        ({"resample_every": None}, [0] * 6),
        ({"resample_every": 20, "optimizer": "adam"}, [0, 0, 20, 20, 40, 40]),
        ({"resample_every": 20, "optimizer": "l_bfgs"}, [0] * 6),
    ],
)
def test_points_are_drawn_anew_as_often_as_asked(options, expected):
    rehearsal = Rehearsal(**options)
    rehearsal.run()
    assert rehearsal.blocks == expected
    assert sorted(rehearsal.drawn) == [*sorted(set(expected)), HELD_OUT]


def test_the_history_tells_the_losses_on_the_points_and_on_held_out_ones():
    history = Rehearsal(resample_every=30, held_out=0.5).run().history
    assert history.steps == [10, 20, 30, 40, 50, 60]
    drawn = [0, 0, 0, 30, 30, 30]
    assert history.losses == [k**2 + n**2 for k, n in zip(drawn, history.steps, strict=True)]
    assert history.held_out_losses == [0.25] * 6
    assert history.errors == []


@pytest.mark.parametrize("held_out", [0.01, -4.0])
def test_the_tolerance_is_for_the_held_out_residual(held_out):
    """Not for its square, and not for the loss on the points: here the latter is 60²."""
    size = abs(held_out)
    assert Rehearsal(held_out=held_out, tolerance=1.01 * size).run().parameters == 60
    message = f"residual {size:.1e} after 60 steps of levenberg_marquardt: tolerance={size / 2:g}"
    with pytest.raises(ConvergenceError, match=re.escape(message)) as caught:
        Rehearsal(held_out=held_out, tolerance=size / 2).run()
    assert caught.value.history.steps == [10, 20, 30, 40, 50, 60]


def test_no_tolerance_is_large_enough_for_nan():
    with pytest.raises(ConvergenceError, match="residual nan after 60 steps"):
        Rehearsal(held_out=np.nan, tolerance=np.inf).run()


def test_only_training_is_on_the_clock(monkeypatch):
    rehearsal = Rehearsal()
    monkeypatch.setattr("time.perf_counter", lambda: rehearsal.now)

    def monitor(solution):
        rehearsal.now += 100.0
        return 0.0

    # A block takes a second, the evaluation of each loss ten and the monitor a hundred.
    assert rehearsal.run(monitor).history.seconds == [1, 2, 3, 4, 5, 6]


def test_a_monitor_sees_each_solution_with_its_history_up_to_then():
    seen = []

    def monitor(solution):
        seen.append(solution)
        return 1 / solution.parameters[0]

    solution = Rehearsal().run(monitor)
    assert [guess.parameters[0] for guess in seen] == [10, 20, 30, 40, 50, 60]
    assert solution.history.errors == [1 / n for n in solution.history.steps]
    for count, guess in enumerate(seen):
        assert guess.history.steps == solution.history.steps[: count + 1]
        assert guess.history.losses == solution.history.losses[: count + 1]
        assert guess.history.errors == solution.history.errors[:count]


def test_a_training_that_stalls_ends_early_where_points_never_change():
    rehearsal = Rehearsal(takes=[10, 10, 3])
    solution = rehearsal.run()
    assert solution.parameters == 23
    assert solution.history.steps == [10, 20, 23]
    message = "after 23 steps of levenberg_marquardt, after which none lowers the loss: tolerance="
    with pytest.raises(ConvergenceError, match=message) as caught:
        Rehearsal(takes=[10, 10, 3], tolerance=0.1).run()
    assert caught.value.history.steps == [10, 20, 23]


def test_a_training_that_stalls_goes_on_where_points_change():
    rehearsal = Rehearsal(takes=[10, 3, 10, 10, 10, 10], resample_every=20)
    solution = rehearsal.run()
    assert solution.history.steps == [10, 13, 23, 33, 43, 53]
    assert rehearsal.blocks == [0, 0, 20, 20, 40, 40]


def test_an_interruption_leaves_what_was_reached():
    def monitor(solution):
        if solution.parameters[0] == 30:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(TrainingInterrupted) as caught:
        Rehearsal().run(monitor)
    assert caught.value.solution.parameters == 30
    assert caught.value.solution.history.steps == [10, 20, 30]


def test_a_training_uses_one_thread_of_blas_and_gives_the_others_back():
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    seen = []

    def monitor(solution):
        seen.append(threads())
        return 0.0

    with threadpool_limits(2):
        before = threads()
        Rehearsal(steps=20).run(monitor)
        assert threads() == before
    if before:  # Apple's library has no such number
        assert before == {2}
        assert seen == [{1}, {1}]


class Valley:
    """Rosenbrock's function: its minimum, at (1, 1), is reached to rounding."""

    def residuals(self, p):
        return np.array([10 * (p[1] - p[0] ** 2), 1 - p[0]])

    def linearize(self, p):
        return self.residuals(p), np.array([[-20 * p[0], 10.0], [-1.0, 0.0]])


START = np.array([-1.2, 1.0])


def test_blocks_of_levenberg_marquardt_are_one_iteration():
    state, system = LevenbergMarquardtState(START, 1.0), Valley()
    advance = levenberg_marquardt(START, 4, damping=1.0)
    for _ in range(3):
        parameters, count = advance(system)
        assert count == 4
        for _ in range(4):
            state = levenberg_marquardt_step(system, state)
        np.testing.assert_array_equal(parameters, state.parameters)


def test_levenberg_marquardt_takes_its_options():
    after = [
        levenberg_marquardt(START, 1, **options)(Valley())[0]
        for options in ({}, {"geodesic": False}, {"damping": 1.0})
    ]
    states = [
        levenberg_marquardt_step(Valley(), LevenbergMarquardtState(START, damping), geodesic=g)
        for damping, g in ((None, True), (None, False), (1.0, True))
    ]
    np.testing.assert_array_equal(after, [state.parameters for state in states])
    assert len(np.unique(after, axis=0)) == 3


def test_a_stalled_block_says_how_many_steps_it_took_and_tries_no_further():
    advance, system = levenberg_marquardt(START, 100), Valley()
    parameters, count = advance(system)
    np.testing.assert_allclose(parameters, 1, rtol=1e-12)
    assert 0 < count < 100
    assert advance(system)[1] == 0

    class Other(Valley):
        """Points on which the same parameters are no minimum."""

        def residuals(self, p):
            return super().residuals(p) - [0.5, 0.0]

    assert advance(Other())[1] > 0  # as it does for new points


def test_the_best_of_the_recorded_steps_is_kept_if_asked_for():
    def residual(steps):
        return 0.1 + abs(steps - 30)

    options = {"held_out": residual, "tolerance": 0.2}
    solution = Rehearsal(**options).run(keep_best=True)
    assert solution.parameters == 30
    assert solution.history.steps == [10, 20, 30, 40, 50, 60]
    assert min(solution.history.held_out_losses) == pytest.approx(0.1**2)
    with pytest.raises(ConvergenceError, match=r"held-out residual 3\.0e\+01 after 60 steps"):
        Rehearsal(**options).run()


@pytest.mark.parametrize("keep_best", [False, True])
def test_a_residual_that_is_no_number_is_an_error_in_any_case(keep_best):
    with pytest.raises(ConvergenceError, match="held-out residual nan"):
        Rehearsal(held_out=np.nan).run(keep_best=keep_best)
