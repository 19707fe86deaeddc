"""Do NumPy, PyTorch and JAX understand each other in one environment, in either import order?"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from opifex_tutorials.environment.processes import run_fresh

#: pairs in the order in which a process of their own imports them
PAIRS = (("numpy", "torch"), ("numpy", "jax"), ("torch", "jax"), ("jax", "torch"))


@dataclass(frozen=True)
class Exchange:
    """One check of the exchange of arrays between two libraries.

    Attributes:
        imports: the two libraries in the order in which the process imported them.
        check: what was tried.
        passed: true if it held.
        detail: the evidence, or how it failed.
    """

    imports: str
    check: str
    passed: bool
    detail: str


def check_interoperability() -> tuple[Exchange, ...]:
    """Exchange arrays between each pair of libraries, each pair in a fresh process.

    Round trips have to keep values and dtype; an exchange through DLPack, the protocol by which
    libraries hand each other an array without copying it, has to give the same address in memory;
    PyTorch and JAX, imported in either order, have to give the same second derivative.
    """
    with ThreadPoolExecutor(2) as pool:
        return tuple(row for rows in pool.map(_exchange, PAIRS) for row in rows)


def _exchange(pair: tuple[str, str]) -> list[Exchange]:
    imports = ", then ".join(pair)
    outcome = run_fresh("exchange", *pair)
    rows = [Exchange(imports=imports, **record) for record in outcome.records]
    if outcome.error:
        rows.append(Exchange(imports, "the process ends well", False, outcome.error))
    return rows
