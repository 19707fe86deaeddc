"""What imports and training cost on this machine, each measured in a fresh process.

Budgets are counted in steps, the first step (where JAX compiles) is timed apart, and every figure
is a median. All processes run one after another on one thread, so that they do not disturb each
other and the two frameworks get the same share of the machine.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from types import MappingProxyType

from opifex_tutorials.environment.devices import FRAMEWORKS
from opifex_tutorials.environment.processes import run_fresh

#: one thread for the linear algebra of NumPy and PyTorch, and for that of JAX
ONE_THREAD = MappingProxyType(
    {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "JAX_PLATFORMS": "cpu",
    }
)

MODULES = ("numpy", "jax", "flax.nnx", "torch")
PRECISIONS = ("float32", "float64")


#: widths of the networks (2, 5 and 8 hidden layers), and steps in one timed block
SIZES: Mapping[str, tuple[tuple[int, ...], int]] = MappingProxyType(
    {
        "small": ((2, 20, 20, 1), 100),
        "medium": ((2, *5 * (40,), 1), 20),
        "large": ((2, *8 * (64,), 1), 5),
    }
)


@dataclass(frozen=True)
class ImportCost:
    """What importing one module in a fresh process costs.

    Attributes:
        module: its name.
        seconds: time of the import statement, median over the repeats.
        memory: peak memory of the process, in MB (10^6 bytes).
        problem: how the import failed, if it did; then the figures are ``None``.
    """

    module: str
    seconds: float | None
    memory: float | None
    problem: str | None = None


@dataclass(frozen=True)
class TrainingCost:
    """What training one PINN for the Burgers equation costs on the CPU.

    Attributes:
        framework: ``"jax"`` or ``"torch"``.
        size: key of ``SIZES``.
        hidden_layers: their number.
        parameters: number of weights and biases.
        precision: ``"float32"`` or ``"float64"``.
        first_step: seconds of the first step; in JAX that is compilation.
        steps_per_second: Adam steps per second afterwards, median over the timed blocks.
        peak_memory: largest resident memory of the process, in MB, framework included.
        problem: how the process failed, if it did; then the figures are ``None``.
    """

    framework: str
    size: str
    hidden_layers: int
    parameters: int
    precision: str
    first_step: float | None
    steps_per_second: float | None
    peak_memory: float | None
    problem: str | None = None


def measure_imports(
    modules: Sequence[str] = MODULES, *, repeats: int = 3
) -> tuple[ImportCost, ...]:
    """Import each module in ``repeats`` fresh processes and return the medians.

    Args:
        modules: what to import; the default is what the chapters import.
        repeats: number of processes for each; three, because the first one may read from a cold
            disk and the median forgets it.

    Raises:
        ValueError: if ``repeats`` is not positive.
    """
    _check_positive("repeats", repeats)
    costs = []
    for module in modules:
        outcomes = [run_fresh("imports", module, variables=ONE_THREAD) for _ in range(repeats)]
        problem = next((outcome.error for outcome in outcomes if outcome.error), None)
        if problem:
            costs.append(ImportCost(module, None, None, problem))
            continue
        seconds = median(outcome.records[0]["seconds"] for outcome in outcomes)
        memory = median(outcome.records[1]["memory"] for outcome in outcomes)
        costs.append(ImportCost(module, seconds, memory))
    return tuple(costs)


def measure_training(
    sizes: Sequence[str] = tuple(SIZES),
    frameworks: Sequence[str] = tuple(FRAMEWORKS),
    precisions: Sequence[str] = PRECISIONS,
    *,
    points: int = 1000,
    repeats: int = 3,
) -> tuple[TrainingCost, ...]:
    """Train a PINN for the Burgers equation in a fresh process for every combination.

    Args:
        sizes: keys of ``SIZES``.
        frameworks: any of ``"jax"`` and ``"torch"``.
        precisions: any of ``"float32"`` and ``"float64"``.
        points: collocation points in each step.
        repeats: timed blocks, of which the median counts; three forgive one interruption.

    Raises:
        ValueError: for an unknown size, framework or precision, or a count that is not positive.
    """
    for argument, values, allowed in (
        ("sizes", sizes, tuple(SIZES)),
        ("frameworks", frameworks, tuple(FRAMEWORKS)),
        ("precisions", precisions, PRECISIONS),
    ):
        if not set(values) <= set(allowed):
            raise ValueError(f"{argument}={values!r}: allowed are {', '.join(allowed)}")
    _check_positive("points", points)
    _check_positive("repeats", repeats)
    return tuple(
        _train(framework, size, precision, points, repeats)
        for size in sizes
        for framework in frameworks
        for precision in precisions
    )


def _train(framework: str, size: str, precision: str, points: int, repeats: int) -> TrainingCost:
    widths, steps = SIZES[size]
    budget = (str(count) for count in (points, steps, repeats))
    arguments = (framework, json.dumps(widths), precision, *budget)
    outcome = run_fresh("training", *arguments, variables=ONE_THREAD)
    parameters = sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))
    case = (framework, size, len(widths) - 2, parameters, precision)
    if outcome.error:
        return TrainingCost(*case, None, None, None, outcome.error)
    (record,) = outcome.records
    speed = steps / median(record["blocks"])
    return TrainingCost(*case, record["first_step"], speed, record["peak_memory"])


def _check_positive(argument: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{argument}={value!r}: allowed are positive integers")
