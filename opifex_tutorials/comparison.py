"""Methods against each other: the same seeds for each, side by side; medians, ranges, a table."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from opifex_tutorials.parallel import side_by_side
from opifex_tutorials.plotting import COLORS, LINE_STYLES
from opifex_tutorials.tables import Table
from opifex_tutorials.validation import FloatArray

#: Fewer than five runs say little about a method that chance takes part in.
SEEDS = range(5)


@dataclass(frozen=True)
class Comparison:
    """What each method gave for each seed.

    Attributes:
        runs: for each method, by name, its results in the order of the seeds.
    """

    runs: Mapping[str, Sequence[Any]]

    def measure(self, quantity: Callable[[Any], Any]) -> dict[str, FloatArray]:
        """Return a quantity of every run: for each method an array, its first axis the seeds."""
        found = {name: [quantity(run) for run in runs] for name, runs in self.runs.items()}
        return {name: np.array(values, dtype=float) for name, values in found.items()}

    def median(self, quantity: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the median over the seeds for each method."""
        return {name: np.median(v, axis=0) for name, v in self.measure(quantity).items()}

    def worst(self, quantity: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the largest value over the seeds for each method."""
        return {name: v.max(axis=0) for name, v in self.measure(quantity).items()}

    def table(self, caption: str, **quantities: Callable[[Any], float]) -> Table:
        """Return a row for each method: the median of each quantity and, behind it, its range."""
        every = [(title, self.measure(quantity)) for title, quantity in quantities.items()]
        rows = [{"method": m} | {title: spread(of[m]) for title, of in every} for m in self.runs]
        return Table(caption, rows, " ".join(["method", *quantities]))

    def draw(
        self,
        axes: Axes,
        against: str = "seconds",
        quantity: str = "errors",
        styles: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Draw an entry of the runs' histories: the median as a line, the range as a band.

        Args:
            axes: where to draw.
            against: entry of the histories for the abscissa, ``"seconds"`` or ``"steps"``; of
                each recorded step the median over the seeds.
            quantity: entry for the ordinate.
            styles: color, line style and label of a method, where the book's order will not do.
        """
        for index, (name, runs) in enumerate(self.runs.items()):
            histories = [run.history for run in runs]
            # A run that ended early is shown as far as all runs of the method went.
            length = min(len(history.steps) for history in histories)
            x = np.array([getattr(history, against)[:length] for history in histories])
            y = np.array([getattr(history, quantity)[:length] for history in histories])
            style: dict[str, Any] = {"color": COLORS[index % 5], "ls": LINE_STYLES[index % 5]}
            style |= {"label": name, **(styles or {}).get(name, {})}
            x, band = np.median(x, axis=0), (y.min(axis=0), y.max(axis=0))
            axes.plot(x, np.median(y, axis=0), **style)
            axes.fill_between(x, *band, color=style["color"], alpha=0.15, lw=0)


def compare(
    solve: Callable[[Any, int], Any],
    cases: Mapping[str, Any] | Iterable[str],
    seeds: Sequence[int] = SEEDS,
    *,
    one_process: bool = False,
    before: Callable[[], None] | None = None,
) -> Comparison:
    """Run every case with every seed, one process per core.

    Args:
        solve: (case, seed) -> a result, which comes back by pickling.
        cases: what each method's name stands for; names alone stand for themselves.
        seeds: the same for each case, so that runs can be compared in pairs.
        one_process: run all seeds of a case in one process, so that they share what is compiled.
        before: called once in each process of a case, before its first seed;
            ``forget_compiled`` makes that seed pay for its compilation.
    """
    named = cases if isinstance(cases, Mapping) else {name: name for name in cases}
    together = [tuple(seeds)] if one_process else [(seed,) for seed in seeds]
    groups = [(case, group) for case in named.values() for group in together]

    def run(task: tuple[Any, tuple[int, ...]]) -> list[Any]:
        case, group = task
        if before is not None:
            before()
        return [solve(case, seed) for seed in group]

    found = [result for group in side_by_side(run, groups, "runs") for result in group]
    count = len(seeds)
    return Comparison({name: found[i * count : (i + 1) * count] for i, name in enumerate(named)})


def spread(values: Any) -> str:
    """Return the median of some numbers and, in brackets, their range, as text."""
    middle, least, most = np.median(values), np.min(values), np.max(values)
    return f"{middle:.2g} [{least:.2g}, {most:.2g}]"
