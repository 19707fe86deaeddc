"""Print the table of every benchmark: ``python -m benchmarks``, or ``make benchmark``."""

from benchmarks import burgers, mean_field_games, meta_learning

burgers.main()
mean_field_games.main()
meta_learning.main()
