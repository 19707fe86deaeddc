"""Import one module and say what that costs. Usage: ``imports MODULE``."""

import importlib
import sys
import time

from opifex_tutorials.environment.processes import emit


def main(module: str) -> None:
    """Emit the seconds that the import takes and the peak memory of the process, in MB."""
    start = time.perf_counter()
    importlib.import_module(module)
    emit(seconds=time.perf_counter() - start)
    from opifex_tutorials.results import peak_memory  # late: it must not pay for the import above

    emit(memory=peak_memory())


if __name__ == "__main__":
    main(sys.argv[1])
