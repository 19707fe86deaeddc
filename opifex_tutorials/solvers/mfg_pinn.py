"""Mean field games by a physics-informed neural network, in PyTorch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from opifex_tutorials import validation
from opifex_tutorials.losses.games import FORMULATIONS, Fields, fokker_planck_residual, hjb_residual
from opifex_tutorials.losses.games_of_many import Setting, of_many
from opifex_tutorials.losses.torch_system import Drawn, Formulate, Formulation, System, gauss, sobol
from opifex_tutorials.models.torch_axes import Features, Widths, network
from opifex_tutorials.models.torch_mlp import MLP
from opifex_tutorials.problems.game import MeanFieldGame, PathTerms
from opifex_tutorials.training.history import History, Stopwatch
from opifex_tutorials.training.loop import HELD_OUT, Advance, Schedule, levenberg_marquardt, train
from opifex_tutorials.validation import FloatArray, require_integer

MANY = ("hard", "lifted")  # the formulations that are others in more than one dimension
ONLY_MANY = f": allowed in more than one dimension, with a formulation among {MANY}"
Sizes = Sequence[Any] | None  # of the hidden layers
HIDDEN: dict[str, Sequence[Any]] = {"dense": (12, 12, 12), "symmetric": ((8, 4), (12, 12, 12))}
# In more than one dimension, sizes of the weights at the start, over those of Glorot's rule. The
# last layer starts near the data. The first one sums features of all coordinates: a network that
# starts almost linear finds the directions that count. On the cosine game with d = 50, one seed of
# two had not found them after 200 steps at full size; at 0.3 it had after 20.
FIRST_LAYER, LAST_LAYER = 0.3, 0.1
# In one dimension, in time and in space. What is lifted is steeper in time.
NODES = {False: (32, 24), True: (40, 16)}
BLOCK = 2**16  # points times entries of a jet that are evaluated at a time: bounds the memory


@dataclass(frozen=True)
class MfgPinnSolution:
    """A trained network as a solution of a game.

    Coordinates broadcast, time first; ``ValueError`` for those that do not or lie outside.

    Attributes:
        game: what was solved.
        formulate: the formulation it was solved in.
        widths: of all layers; of a symmetric network a pair, inner and outer.
        parameters: of the network, shape (P,).
        history: of the training.
    """

    game: MeanFieldGame
    formulate: Formulate
    widths: Widths
    parameters: FloatArray
    history: History = field(default_factory=History)

    def value(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return u(t, x)."""
        return self._evaluate(lambda fields: fields.value[:1], t, *x)[0]

    def density(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return m(t, x)."""
        return self._evaluate(lambda fields: torch.exp(fields.log_density[:1]), t, *x)[0]

    def control(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return -λ∇u, in d > 1 dimensions with a leading axis of length d."""
        found = self._evaluate(lambda fields: -self.game.kinetic * fields.value[2:-1], t, *x)
        return found if self.game.dimension > 1 else found[0]

    def residuals(self, t: ArrayLike, *x: ArrayLike) -> FloatArray:
        """Return the residuals of HJB and Fokker-Planck equation, with a leading axis of length 2.

        In units of the equations themselves, not of the loss.
        """
        game, zero = self.game, torch.zeros(1, dtype=torch.float64)

        def both(fields: Fields) -> Tensor:
            hjb = 2 * game.viscosity / game.kinetic * hjb_residual(game, zero, fields)
            m = torch.exp(fields.log_density[0])
            return torch.stack([hjb, m * fokker_planck_residual(game, fields)])

        found = self._evaluate(both, t, *x)
        found[0] -= game.potential(t, *x)
        return found

    def path_terms(self, t: ArrayLike, *x: ArrayLike) -> PathTerms:
        """Return all that paths through N points gather; outside of the game's box as well."""
        game, zero = self.game, torch.zeros(1, dtype=torch.float64)
        d, points = game.dimension, np.stack(np.broadcast_arrays(t, *x))

        def terms(fields: Fields) -> Tensor:
            u, log_m = fields
            m = torch.exp(log_m[0])
            hjb = 2 * game.viscosity / game.kinetic * hjb_residual(game, zero, fields)
            crowding = m * game.coupling.derivative(m)
            rows = [hjb, fokker_planck_residual(game, fields), crowding, u[0], log_m[0]]
            return torch.cat([-game.kinetic * u[2:-1], log_m[2:-1], torch.stack(rows)])

        control, score, rest = np.split(self._at(terms, points), [d, 2 * d])
        time, *space = torch.from_numpy(points)
        rest[0] -= game.potential(time, *space, xp=torch).numpy()
        rest[3] -= game.terminal_cost(*space, xp=torch).numpy()
        rest[4] -= game.initial_density(*space, xp=torch).log().numpy()
        return PathTerms(control, score, *rest)

    def _evaluate(self, part: Callable[[Fields], Tensor], *coordinates: ArrayLike) -> FloatArray:
        arrays = validation.require_inside(self.game.bounds, *coordinates)
        found = self._at(part, np.stack([a.ravel() for a in arrays]))
        return found.reshape(-1, *arrays[0].shape)

    def _at(self, part: Callable[[Fields], Tensor], points: FloatArray) -> FloatArray:
        """Return a part of the fields at points, shape (1 + d, N), wherever they are."""
        parameters, found = torch.from_numpy(self.parameters), []
        formulation = self.formulate(self.game)
        with torch.no_grad():
            size = max(1, BLOCK // (self.game.dimension + 3))
            for block in torch.from_numpy(points).split(size, 1):
                trial = formulation.trial(*block)
                outputs = network(parameters, self.widths, trial.features)
                found.append(part(trial(outputs)).numpy())
        return np.concatenate(found, 1)


def solve_mfg_pinn(
    game: MeanFieldGame,
    *,
    seed: int,
    formulation: str | Formulate = "hard",
    optimizer: str = "levenberg_marquardt",
    architecture: str = "dense",
    sampling: str | None = None,
    hidden: Sizes = None,
    harmonics: int | None = None,
    points: tuple[int, int] | None = None,
    steps: int | None = None,
    exploring: int | None = None,
    resample_every: int | None = None,
    tolerance: float = 1e-2,
    record_every: int | None = None,
    monitor: Callable[[MfgPinnSolution], float] | None = None,
    start: FloatArray | None = None,
    damping: float | None = None,
) -> MfgPinnSolution:
    """Solve a mean field game by a PINN.

    In more than one dimension the network sees features of single coordinates, the cost of a step
    is linear in the dimension, and the points are random: at first new ones at every step, half as
    many, then some that stay for a while. On a box they fill it; in all of space they follow the
    crowd, as the network itself moves it. What is returned is the recorded step with the least
    residual on held-out points. See :mod:`opifex_tutorials.losses.games_of_many`.

    Args:
        game: the game.
        seed: of the initial weights and of random points.
        formulation: ``"hard"`` (initial and terminal data, periodicity or walls built in),
            ``"soft"`` (all of these in the loss), ``"lifted"`` (on a box: hard, and the data
            diffuse into the fields and are features of the network; with much noise this is what
            they do in thin layers at the start and before the horizon. On a game in more than one
            dimension whose data depend on one hidden coordinate, as in the cosine game, it gives
            this coordinate away), or a function that makes one from the game; see
            :mod:`opifex_tutorials.losses.torch_system`.
        optimizer: ``"levenberg_marquardt"``, ``"adam"`` or ``"l_bfgs"``.
        architecture: ``"dense"``, which assumes nothing of the solution, or ``"symmetric"``, in
            more than one dimension: it assumes that the solution stays the same if coordinates
            change places, and its size does not depend on the dimension.
        sampling: ``"gauss"`` (default in one dimension: fixed Gauss-Legendre nodes, 32 x 24 by
            default, 40 x 16 if lifted, which is steeper in time) or ``"sobol"`` (default in more:
            random points, drawn anew). On the periodic game the errors with random points are as
            small, but scatter more.
        hidden: widths of the hidden layers, by default (12, 12, 12); with the symmetric network
            those of the inner and of the outer network, by default ((8, 4), (12, 12, 12)). In one
            dimension it has about 370 parameters; on the periodic game it was better than (16, 16)
            in the same time.
        harmonics: how many waves of each coordinate (on a box), or powers (in all of space), the
            network sees in more than one dimension. By default one on a box and two in all of
            space, where the logarithm of a normal density is a sum of squares.
        points: numbers of points in time and in space. Keep their product at twice the number of
            parameters, since each point gives two residuals; with fewer the network overfits. In
            more than one dimension only the product matters, and this is the default, to the next
            power of two.
        steps: budget, in steps of the optimizer; by default 400, 800 if lifted, in more than one
            dimension 600.
        exploring: how many of them, in more than one dimension, see points of their own, half as
            many; by default a sixth.
        resample_every: new Sobol points after so many steps, a multiple of ``record_every``; by
            default the least one that is no less than 50, in more than one dimension 10. L-BFGS
            keeps its points.
        tolerance: largest allowed root mean square of the residuals on held-out points.
        record_every: distance of entries of the history, in steps; by default 50, in more than one
            dimension 10.
        monitor: called with the solution at every recorded step; its value goes to
            ``history.errors``, its time is not counted.
        start: parameters to start from, such as those of another solution; by default random.
        damping: of the first step of Levenberg-Marquardt; by default a short one. A start that is
            nearly right can take longer steps.

    Raises:
        ValueError: for a bad argument.
        ConvergenceError: if the residual on held-out points stays above the tolerance.
        TrainingInterrupted: on Ctrl-C, with the solution reached.
    """
    clock, lifted = Stopwatch(), formulation == "lifted"
    many = game.dimension > 1 and formulation in MANY
    if not many:
        validation.refuse(ONLY_MANY, harmonics=harmonics, exploring=exploring)
    usual_steps, usual = (600, 10) if many else (800 if lifted else 400, 50)
    steps = usual_steps if steps is None else steps
    record_every = usual if record_every is None else record_every
    every = _multiple(record_every, usual) if resample_every is None else resample_every
    sampling = _sampling(sampling, game.dimension)
    new_points = None if sampling == "gauss" else every
    schedule = Schedule(seed, optimizer, steps, record_every, new_points, tolerance)
    if many or lifted:
        powers = (2 if game.boundary == "exact" else 1) if harmonics is None else harmonics
        setting = Setting(game, powers, lifted)
        formulation = partial(of_many, harmonics=powers, lifted=lifted)
    formulate = validation.by_name("formulation", formulation, FORMULATIONS)
    widths, drawn = untrained(game, formulate, hidden, seed, architecture)
    start = drawn if start is None else _checked_start(start, drawn.size)
    counts = _counts(points, (2 * start.size, 1) if many else NODES[lifted])
    system: Any = _everywhere(formulate(game), widths, sampling, counts, seed)
    if many:
        new = steps // 6 if exploring is None else require_integer("exploring", exploring, 0, steps)
        system = _where_the_crowd_is(setting, widths, sampling, counts, new, seed)
    advance = levenberg_marquardt(start, record_every, damping=damping)
    if optimizer != "levenberg_marquardt":
        advance = _gradient_method(start, record_every, optimizer, steps)
    options: dict[str, Any] = {"clock": clock, "monitor": monitor, "keep_best": many}
    options |= {"sampling": sampling, "points": counts, "exploring": exploring, "damping": damping}
    solution = MfgPinnSolution(game, formulate, widths, start)
    return train(schedule, solution, advance, system, **options)


def _sampling(asked: str | None, dimension: int) -> str:
    usual = "gauss" if dimension == 1 else "sobol"
    return validation.require_choice("sampling", asked or usual, ("gauss", "sobol"))


def _multiple(record_every: int, least: int) -> int:
    require_integer("record_every", record_every, 1, 10**6)
    return record_every * -(-least // record_every)


def _checked_start(start: FloatArray, size: int) -> FloatArray:
    start = np.array(start, dtype=np.float64)
    if start.shape != (size,) or not np.isfinite(start).all():
        raise ValueError(f"start of shape {start.shape}: allowed are {size} finite numbers")
    return start


def _counts(points: tuple[int, int] | None, otherwise: tuple[int, int]) -> tuple[int, int]:
    if points is None:
        return otherwise
    if not isinstance(points, tuple) or len(points) != 2:
        raise ValueError(f"points={points!r}: allowed are two integers, in time and in space")
    n_time, n_space = (require_integer("points", count, 1, 2**16) for count in points)
    return n_time, n_space


def _everywhere(
    formulation: Formulation, widths: Widths, sampling: str, counts: tuple[int, int], seed: int
) -> Callable[[int], System]:
    """Return number of steps done -> system at points of the whole box."""

    def system(done: int) -> System:
        sample = sobol((seed, done)) if sampling == "sobol" or done == HELD_OUT else gauss
        here = (32, 32) if done == HELD_OUT else counts
        return System(formulation.conditions(sample, here), widths)

    return system


def _where_the_crowd_is(
    setting: Setting, widths: Widths, sampling: str, counts: tuple[int, int], new: int, seed: int
) -> Callable[[int], Any]:
    """Return number of steps done -> system at random points, which may follow the parameters.

    In the first steps, ``new`` of them, the points are half as many and new ones each time.
    """
    n, seeds = counts[0] * counts[1], np.random.SeedSequence((seed, 0))
    fresh = gauss if sampling == "gauss" else sobol(seeds)

    def draw(cube: FloatArray, parameters: FloatArray) -> System:
        points = setting.place(cube, partial(setting.slope, parameters, widths))
        return System(setting.conditions(*points), widths)

    def system(done: int) -> Any:
        if done == HELD_OUT:
            cube = sobol((seed, HELD_OUT))((1024,), setting.chances)
            return SimpleNamespace(residuals=lambda here: draw(cube, here).residuals(here))
        early = done < new
        size = (n // 2 if early else n,)
        return Drawn(lambda here: draw(fresh(size, setting.chances), here), seeds, stay=not early)

    return system


def untrained(
    game: MeanFieldGame, formulate: Formulate, hidden: Sizes, seed: int, architecture: str = "dense"
) -> tuple[Widths, FloatArray]:
    """Return the widths of all layers of a network for the game, and random parameters."""
    validation.require_choice("architecture", architecture, tuple(HIDDEN))
    hidden = HIDDEN[architecture] if hidden is None else hidden
    corner = [torch.tensor([low], dtype=torch.float64) for low, _ in game.bounds.values()]
    features = formulate(game).trial(*corner).features
    symmetric = architecture == "symmetric"
    if symmetric and not isinstance(features, Features):
        raise ValueError("architecture='symmetric': allowed in more than one dimension, not 'soft'")
    if symmetric and not (len(hidden) == 2 and all(isinstance(part, Sequence) for part in hidden)):
        raise ValueError(f"hidden={hidden!r}: allowed are the widths of inner and outer layers")
    groups = hidden if symmetric else [hidden]
    layers = [tuple(require_integer("hidden", n, 1, 1024) for n in group) for group in groups]
    parts = [(features.shape[-1], *layers[-1], 2)]
    if symmetric:
        inner = (1 + features.own.shape[-1], *layers[0])
        parts = [inner, (features.shared.shape[-1] + inner[-1], *layers[1], 2)]
    weights = [w for part in parts for w in MLP(part, seed=seed).parameters()]
    if isinstance(features, Features):
        weights[0].data *= 1.0 if symmetric else FIRST_LAYER
        weights[-2].data *= LAST_LAYER / features.scale
    widths: Widths = tuple(parts) if symmetric else parts[0]
    return widths, torch.nn.utils.parameters_to_vector(weights).detach().numpy()


def _gradient_method(start: FloatArray, block: int, name: str, steps: int) -> Advance:
    """Return blocks of Adam with a cosine decay to zero, or of L-BFGS, as PyTorch has them."""
    weights = torch.nn.ParameterList([torch.from_numpy(start.copy())])
    parameters = weights[0]
    adam = torch.optim.Adam([parameters], lr=5e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    # The line search may try, the budget counts steps, and alone ends the training.
    budget = {"max_iter": block, "max_eval": 25 * block, "history_size": 50}
    never = {"tolerance_grad": 0, "tolerance_change": 0}
    l_bfgs = torch.optim.LBFGS([parameters], line_search_fn="strong_wolfe", **budget, **never)

    def advance(system: System | Drawn, state: Any) -> tuple[Any, FloatArray, int]:
        def loss() -> float:
            parameters.grad = None
            value = system.loss(parameters)
            value.backward()
            return float(value.detach())

        if name == "l_bfgs":
            l_bfgs.step(loss)
        else:
            for _ in range(block):
                adam.step(loss)
                decay.step()
        return state, parameters.detach().numpy().copy(), block

    return Advance(advance, [weights, adam, decay, l_bfgs])
