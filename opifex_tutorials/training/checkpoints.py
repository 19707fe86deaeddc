"""Checkpoints: a training that was killed goes on from where it was last saved.

The same lines, run again, return what they would have returned, to the last bit; only the
``seconds`` of a history differ, which go on counting from what was saved. Nothing is written, and
Orbax and JAX are not imported, outside of :func:`checkpoints`.
"""

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from opifex_tutorials.progress import progress
from opifex_tutorials.validation import require_integer

Asked = Callable[[], Mapping[str, Any]]
State = dict[str, Any]
NOTHING_SAVED = "no training inside of checkpoints(...), which does not reach other processes"


@dataclass
class _Place:
    folder: Path
    every: int
    trainings: int = 0


_PLACE: ContextVar[_Place | None] = ContextVar("where checkpoints go", default=None)


@contextmanager
def checkpoints(folder: str | os.PathLike[str], *, every: int = 50) -> Iterator[None]:
    """Save every training inside of the ``with`` block; run again, it goes on.

    The trainings are numbered as they start, and each has a folder of its own by that number. One
    that has ended is not repeated: its result comes from its last checkpoint. What is no training,
    such as the grid of a hybrid, is computed again. A second process that writes into the same
    folder at the same time would disturb the first.

    Args:
        folder: where to save; made if it does not exist.
        every: distance of checkpoints, in steps. They are written where a history has its entries,
            at the first one that many steps, or more, after a multiple of it.

    Warns:
        RuntimeWarning: if there was no training. Inside of ``side_by_side`` it runs in another
            process: put the ``with`` block, with a folder for each call, into the function that is
            run there.

    Raises:
        ValueError: for a bad argument, a folder that cannot be used, a damaged checkpoint or one
            of another training, which is told by its arguments and by its residuals at the start.
        OSError: if a checkpoint cannot be written; those before stay.

    Example:
        >>> from tempfile import mkdtemp
        >>> from opifex_tutorials.problems.burgers import BurgersProblem
        >>> from opifex_tutorials.solvers import solve_burgers_pinn
        >>> folder = mkdtemp()
        >>> with checkpoints(folder, every=50):
        ...     u = solve_burgers_pinn(BurgersProblem(0.05), seed=0, steps=100)
        >>> sorted(os.listdir(f"{folder}/0"))
        ['100', '50']
    """
    require_integer("every", every, 1, 10**9)
    place = _Place(Path(folder).absolute(), every)
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)
    if not place.trainings:
        warnings.warn(NOTHING_SAVED, RuntimeWarning, stacklevel=3)


def resumable(rounds: range, description: str, asked: Asked, state: State) -> Iterator[int]:
    """Return the rounds of a loop that are left, with a bar, and fill its state accordingly.

    Outside of :func:`checkpoints` all are left.

    Args:
        rounds: numbers of steps done before each round.
        description: of the bar.
        asked: what shapes the training, by name; called only where checkpoints are asked for. Of
            arrays the norm is compared, of all else the ``repr``.
        state: all that one round leaves to the next, kept up to date by the loop: any pytree of
            arrays, numbers, lists of numbers, and of what has a ``state_dict``, such as models and
            optimizers of PyTorch. Its structure stays; arrays and lists may grow, None may become
            an array.

    Example:
        >>> state = {"total": 0}
        >>> for n in resumable(range(4), "sum", dict, state):
        ...     state["total"] += n
        >>> state["total"]
        6
    """
    place = _PLACE.get()
    if place is None:
        return progress(rounds, description)
    from opifex_tutorials.training.store import Store  # imports JAX

    known = {"rounds": rounds, "version": version("opifex-tutorials"), **asked()}
    words = {name: _words(value) for name, value in known.items()}
    store = Store(place.folder / str(place.trainings), words)
    place.trainings += 1
    gone = len(range(rounds.start, store.load(state), rounds.step))

    def left() -> Iterator[int]:
        for before in progress(rounds[gone:], description, len(rounds), gone):
            yield before
            done = before + rounds.step
            if done // place.every > before // place.every or done >= rounds.stop:
                store.save(done, state)

    return left()


def _words(value: Any) -> str:
    """Say what is asked, in words that are the same in every process."""
    if isinstance(value, np.ndarray):
        return f"{np.linalg.norm(value):.9g}"  # the last digits may differ on another processor
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))
