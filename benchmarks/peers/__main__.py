"""Other libraries with a minute each and three seeds: ``python -m benchmarks.peers [WORD ...]``.

Words pick rows, by problem or by library: those whose names contain one of them. All of it takes
three quarters of an hour on two cores.
"""

import math
import sys

from benchmarks.peers import PEERS, run
from benchmarks.peers.jinns_adapter import SOFT
from opifex_tutorials.comparison import compare
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.problems.linear import HeatProblem, PoissonProblem, WaveProblem
from opifex_tutorials.problems.mean_field_games import CosineGame

SECONDS, SEEDS = 60, range(3)
PROBLEMS = {
    "Burgers, 0.01/pi": BurgersProblem(viscosity=0.01 / math.pi),
    "Burgers, 0.01": BurgersProblem(viscosity=0.01),
    "heat": HeatProblem(),
    "wave": WaveProblem(),
    "Poisson": PoissonProblem(),
    "Poisson in two dimensions": PoissonProblem(dimension=2),
    "cosine game": CosineGame(),
}
#: What does better than the usual recipe when there is a minute.
LONGER = {
    ("jinns", "Burgers, 0.01/pi"): {"recipe": SOFT},
    ("DeepXDE", "Burgers, 0.01/pi"): {"points": 4095},
    ("PINA", "Burgers, 0.01/pi"): {"points": 4096},
    ("DeepXDE", "Burgers, 0.01"): {"points": 4095},
    ("PINA", "Burgers, 0.01"): {"points": 4096},
}


def after(race, seconds):
    """Return the last error reported within so many seconds."""
    return next((e for s, e in reversed(race.history) if s <= seconds), math.inf)


def solve(case, seed):
    """Let a library solve a problem."""
    peer, name = case
    return run(peer, PROBLEMS[name], SECONDS, seed, **LONGER.get(case, {}))


def main(words=()):
    """Print a table for each problem: median and range of the error after some seconds."""
    for name in PROBLEMS:
        picked = [p for p in PEERS if not words or any(w in f"{p} {name}" for w in words)]
        if picked:
            found = compare(solve, {peer: (peer, name) for peer in picked}, SEEDS)
            columns = {f"after_{s}_s": lambda race, s=s: after(race, s) for s in (10, 30, SECONDS)}
            print(found.table(f"{name}: error, median [range]", **columns), "\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
