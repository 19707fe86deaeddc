#!/bin/bash
# One large run on a SLURM cluster: many_points.py as several processes, its points shared out.
# From the folder of many_points.py:    sbatch cluster/slurm.sh [arguments of many_points.py]
#SBATCH --job-name=many_points
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=00:30:00
#SBATCH --output=many_points-%j.txt
# With GPUs, one task for each (#SBATCH --gpus-per-task=1): JAX gives a process of SLURM one.
set -euo pipefail

# jax.distributed.initialize() asks SLURM who and where it is. Process 0 listens on a port made from
# the number of the job; where that is taken or closed, choose another:
# export JAX_COORDINATOR_PORT=12345

# The processes talk to each other directly: behind a proxy they may never meet.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY

# When a process dies, end the others: they would hold their nodes until they notice.
exec srun --kill-on-bad-exit=1 --unbuffered python many_points.py "$@"
