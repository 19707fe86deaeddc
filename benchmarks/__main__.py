"""Print the table of every benchmark: ``python -m benchmarks``, or ``make benchmark``."""

from benchmarks import (
    burgers,
    frozen_features,
    high_dimensional_games,
    mean_field_games,
    meta_learning,
)

burgers.main()
frozen_features.main()
mean_field_games.main()
high_dimensional_games.print_steps()
high_dimensional_games.main()
meta_learning.main()
