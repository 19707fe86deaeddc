"""Time a PINN. Usage: ``training FRAMEWORK WIDTHS PRECISION POINTS STEPS REPEATS``."""

import importlib
import json
import sys
import time

from opifex_tutorials.environment.processes import emit
from opifex_tutorials.results import peak_memory


def main(framework: str, widths: str, precision: str, points: str, *counts: str) -> None:
    """Emit seconds of the first step and of each block of steps, and the peak memory in MB."""
    module = importlib.import_module(f"{__package__}.training_{framework}")
    step = module.training_step(json.loads(widths), precision, int(points))
    steps, repeats = map(int, counts)
    seconds = []
    for count in (1, *repeats * (steps,)):
        start = time.perf_counter()
        for _ in range(count):
            step()
        seconds.append(time.perf_counter() - start)
    emit(first_step=seconds[0], blocks=seconds[1:], peak_memory=peak_memory())


if __name__ == "__main__":
    main(*sys.argv[1:])
