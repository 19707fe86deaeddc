"""Benchmarks: our solvers and the classical ones side by side, in one run, as ratios."""
