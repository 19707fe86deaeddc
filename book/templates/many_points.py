"""Burgers with many points, shared out among all devices of all processes that run this program.

python many_points.py --points 4096
srun python many_points.py                    # SLURM tells each process who it is
python many_points.py --coordinator host:port --processes 2 --process 0     # and 1, elsewhere
"""

import argparse
import hashlib
import os
import time

import jax
import numpy as np

from opifex_tutorials.losses.sharded import Layout
from opifex_tutorials.problems.burgers import BurgersProblem
from opifex_tutorials.solvers import solve_burgers_pinn
from opifex_tutorials.verification import relative_l2

arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
arguments.add_argument("--points", type=int, default=2**18, help="a power of two")
arguments.add_argument("--steps", type=int, default=100, help="of Levenberg-Marquardt")
arguments.add_argument("--viscosity", type=float, default=0.05)
arguments.add_argument("--block", type=int, default=1024, help="points linearized at a time")
arguments.add_argument("--coordinator", help="address and port of process 0")
arguments.add_argument("--processes", type=int, help="how many there are")
arguments.add_argument("--process", type=int, help="which one this is, from 0")
arguments.add_argument("--patience", type=int, default=300, help="seconds to wait for the others")
arguments.add_argument("--save", help="file for the parameters, .npy")
asked = arguments.parse_args()

# Before anything else touches JAX. Without a coordinator JAX asks SLURM.
if asked.coordinator or int(os.environ.get("SLURM_NTASKS", 1)) > 1:
    print(f"waiting at most {asked.patience} s for all of the processes", flush=True)
    jax.distributed.initialize(
        asked.coordinator,
        asked.processes,
        asked.process,
        initialization_timeout=asked.patience,
        heartbeat_timeout_seconds=min(100, asked.patience),
    )

# The digits do not depend on how many devices share the leaves, if each computes with a single
# thread: XLA_FLAGS=--xla_cpu_multi_thread_eigen=false.
layout = Layout(block=asked.block, leaves=max(16, jax.device_count()))
problem, start = BurgersProblem(asked.viscosity), time.perf_counter()
options = {"points": asked.points, "steps": asked.steps, "record_every": asked.steps}
solution = solve_burgers_pinn(problem, seed=0, resample_every=None, layout=layout, **options)
seconds = time.perf_counter() - start

t, x = np.linspace(0.02, 1, 50)[:, None], np.linspace(-1, 1, 201)[None]
error = relative_l2(solution(t, x), problem.exact(t, x))
if jax.process_index() == 0:
    where = f"{jax.device_count()} devices of {jax.process_count()} processes"
    print(f"{asked.points} points on {where}: {seconds:.0f} s, relative error {error:.2e}")
    if asked.save:
        np.save(asked.save, solution.parameters)
    digest = hashlib.sha256(solution.parameters.tobytes()).hexdigest()
    print(f"parameters {digest[:16]}, loss {solution.history.losses[-1]:.17g}")
