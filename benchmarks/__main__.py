"""Print the table of every benchmark: ``python -m benchmarks``, or ``make benchmark``."""

from benchmarks.burgers import main

main()
