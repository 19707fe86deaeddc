#!/bin/bash
# Many runs on a Ray cluster. On every machine, with the same Python and packages:
#
#   bash ray.sh head                    on one of them; it stays, and Ctrl-C ends it
#   bash ray.sh worker 10.0.0.1:6379    on each of the others; the address is the head's
#   bash ray.sh run [arguments]         on any of them, from the folder of many_runs.py
#
# What follows the address goes to `ray start`, --num-cpus=8 for example.
set -euo pipefail
export RAY_USAGE_STATS_ENABLED=0  # tells nobody

what="${1:-}"
shift || true
case "$what" in
  head) exec ray start --block --head --include-dashboard=false "$@" ;;
  worker) exec ray start --block --address="$@" ;;
  run) exec python many_runs.py ray "$@" ;;
  *) echo "usage: bash ray.sh head | worker ADDRESS | run" >&2; exit 2 ;;
esac
