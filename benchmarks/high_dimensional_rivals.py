"""Methods without a network on mean field games in many dimensions: errors, time, what is left.

``python -m benchmarks.high_dimensional_rivals [WORD ...]`` runs the rows whose names contain one
of the words, such as ``"mixture, d = 5"``.
"""

import sys
import time

import numpy as np

from benchmarks.feynman_kac import feynman_kac_value
from opifex_tutorials.problems.mean_field_games import CosineGame, MixtureGame
from opifex_tutorials.problems.projection import projection_error
from opifex_tutorials.solvers import solve_mfg_grid, solve_mfg_low_rank, solve_mfg_spectral
from opifex_tutorials.training.history import ConvergenceError
from opifex_tutorials.verification import mass_drift, relative_l2

SECOND = {"harmonics": 2}
GAMES = {
    **{f"cosine, d = {d}": CosineGame(dimension=d) for d in (1, 2, 5, 10, 20, 50, 100)},
    **{f"mixture, d = {d}": MixtureGame(dimension=d) for d in (2, 5, 10, 20, 50)},
    **{f"mixture, second harmonics, d = {d}": MixtureGame(dimension=d, **SECOND) for d in (5, 10)},
    **{f"mixture, raw, d = {d}": MixtureGame(dimension=d, amplitudes="raw") for d in (5, 10)},
}


def methods(game):
    """Return what is tried on a game: a name and a function without arguments for each."""
    d, mixed = game.dimension, isinstance(game, MixtureGame)
    degree = getattr(game, "harmonics", 1)
    if d <= 2:
        for n in (20, 40):
            yield f"grid, {n} cells a side", lambda n=n: solve_mfg_grid(game, cells=n, steps=n)
    name = f"tensor, {2 * degree + 1} points a side"
    yield name, lambda: solve_mfg_spectral(game, degree=degree)
    for active in range(1, 4 if mixed else 3):
        options = {"active": active, "degree": 2 * degree if active > 1 else degree}
        yield f"sparse, {active} active", lambda o=options: solve_mfg_spectral(game, **o)
    if d > 1:
        for tolerance in (1e-3, 1e-4, 1e-6):
            options = {"degree": degree, "tolerance": tolerance}
            yield (
                f"low rank, tolerance {tolerance:g}",
                lambda o=options: solve_mfg_low_rank(game, **o),
            )


def errors(solution, count=1000):
    """Return the relative errors of u, ∇u and m at random times and places."""
    game = solution.game
    points = np.random.default_rng(1).random((1 + game.dimension, count))
    exact = -game.kinetic * game.value_gradient(*points)
    return (
        relative_l2(solution.value(*points), game.value(*points)),
        relative_l2(np.reshape(solution.control(*points), exact.shape), exact),
        relative_l2(solution.density(*points), game.density(*points)),
        mass_drift(solution),
    )


def row(method):
    """Return what a method reaches and takes, or why it does not, as text."""
    before = np.array([time.perf_counter(), time.process_time()])
    try:
        solution = method()
    except ValueError as error:
        return f"does not fit: {error}"
    except ConvergenceError as error:
        seconds = time.process_time() - before[1]
        return f"fails after {seconds:.1f} s processor time: {error}"
    wall, processor = np.array([time.perf_counter(), time.process_time()]) - before
    found = " / ".join(f"{error:.1e}" for error in errors(solution))
    return f"{found}, {wall:.1f} s ({processor:.1f} s processor time)"


def feynman_kac(game, count=64, paths=20_000):
    """Return the relative error of the value by random paths, the running cost given away."""
    points = np.random.default_rng(2).random((count, 1 + game.dimension))
    found = [feynman_kac_value(game, p[0], p[1:], paths=paths, steps=1) for p in points]
    return relative_l2([value for value, _ in found], [game.value(*p) for p in points])


def main(words=()):
    """Print u / ∇u / m / mass and time of every method on every game."""
    for name, game in GAMES.items():
        if words and not any(word in name for word in words):
            continue
        print(f"\n{name}: u / grad u / m / mass, seconds")
        for active, sums in ((1, "of one coordinate"), (2, "of pairs")):
            if active < game.dimension <= 20:
                error, spread = projection_error(game, active)
                print(f"  best sum {sums}: u {error:.1e} +- {spread:.0e}", flush=True)
        if game.dimension <= 20:
            print(f"  Feynman-Kac, 20,000 paths, F given away: u {feynman_kac(game):.1e}")
        for method, solve in methods(game):
            print(f"  {method}: {row(solve)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
