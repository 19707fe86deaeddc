"""A family of Burgers problems, side by side where you say, each checked by its exact solution.

python many_runs.py                        on the cores of this machine
python many_runs.py dask://10.0.0.1:8786   on the workers of the Dask scheduler at this address
python many_runs.py ray                    on the Ray cluster that this machine belongs to
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from joblib import parallel_config

from opifex_tutorials.parallel import side_by_side
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.solvers import solve_burgers_pinn
from opifex_tutorials.verification import relative_l2


def solve(viscosity):
    """One run: solve, then compare with what no network produced."""
    problem = BurgersProblem(viscosity)
    solution = solve_burgers_pinn(problem, seed=0, hidden=(8, 8), points=512, steps=150)
    t, x = np.linspace(0, 1, 21)[:, None], np.linspace(-1, 1, 201)
    return {"viscosity": viscosity, "error": relative_l2(solution(t, x), problem.exact(t, x))}


def engine(name):
    """Joblib's configuration for the engine of this name."""
    if name.startswith("dask://"):
        from distributed import Client

        return parallel_config("dask", client=Client(name.removeprefix("dask://")))
    if name == "ray":
        import ray
        from ray.util.joblib import register_ray

        ray.init("auto")
        register_ray()
        return parallel_config("ray", ray_remote_args={"max_restarts": -1, "max_task_retries": 3})
    if name == "local":
        return parallel_config("loky")
    sys.exit(f"engine={name}: must be local, dask://ADDRESS or ray")


parser = argparse.ArgumentParser()
parser.add_argument("engine", nargs="?", default="local")
parser.add_argument("--runs", type=int, default=16)
parser.add_argument("--output", type=Path, default="errors.json")
options = parser.parse_args()
try:
    where = engine(options.engine)
except ImportError as error:
    sys.exit(f"{error}: python -m pip install -e '.[{options.engine[:4].strip(':')}]'")
with where:  # the one line that switches engines
    found = side_by_side(solve, np.geomspace(0.02, 0.1, options.runs).tolist())
options.output.write_text(json.dumps(found, indent=2))
print("largest error:", max(run["error"] for run in found))
