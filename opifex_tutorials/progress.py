"""A progress bar for those who watch, silence for everyone else."""

import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


def progress(
    iterable: Iterable[T], description: str, total: int | None = None, gone: int = 0
) -> Iterator[T]:
    """Yield the items of ``iterable``, with a bar on standard error if a person watches.

    A person watches a terminal or a notebook, but neither a build, nor a pipe, nor a worker
    process. ``total`` is the number of items, needed only where ``len(iterable)`` does not exist,
    or is less by those that are ``gone`` already.
    """
    alone = os.environ.get("OPIFEX_LEDGER") or multiprocessing.parent_process() is not None
    watched = not alone and (in_notebook() or sys.stderr.isatty())
    yield from tqdm(iterable, description, total, initial=gone, disable=not watched)


def in_notebook() -> bool:
    """Whether this code runs in a Jupyter kernel (and not in a script or a terminal)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)
