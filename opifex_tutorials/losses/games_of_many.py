r"""Mean field games in more than one dimension for a network, at a cost linear in the dimension.

The residuals are those of :mod:`opifex_tutorials.losses.games`. What differs is what the network
sees, one feature of one coordinate at a time, and where the residuals are asked for: on a box at
random points, in all of space where the crowd goes, which the network itself tells.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from opifex_tutorials.losses.games import REACH, Fields, fokker_planck_residual, hjb_residual
from opifex_tutorials.losses.torch_system import Condition, Formulation, Sampler
from opifex_tutorials.models import torch_jets as jets
from opifex_tutorials.models.torch_axes import Features, Widths, network
from opifex_tutorials.problems.game import MeanFieldGame, is_even
from opifex_tutorials.validation import FloatArray, require_integer

# The crowd is drawn wider than it is, since its rim is where the network would have to guess.
WIDENING = 1.25
EULER_STEPS = 4
HJB_WEIGHT = 3.0  # of the lifted formulation
Slope = Callable[[Tensor, Tensor], Tensor]  # (t, x) -> ∇u, shape (d, N)


class ManyTrial:
    r"""Fields that satisfy the data of the game for any weights, in d dimensions.

    .. math:: u = g + \tfrac{2\nu}{\lambda}(T - t)\,c\,N_1, \qquad \log m = \log m_0 + t\,c\,N_2

    with c = 1 on a box and :math:`\sqrt d` in all of space, where both fields are sums of about d
    terms. On a box the network sees :math:`\cos nkx_i`, and :math:`\sin nkx_i` if the box is
    periodic and the data are not even; in all of space the powers of :math:`x_i` in units of the
    crowd at the start.

    *Lifted*, for data that diffuse, with the decay :math:`e = e^{\nu k^2 (t - T)}` of their
    slowest wave, :math:`h = e^{-\nu k^2 t}` and :math:`\ell = \lambda / 2\nu`,

    .. math::

        u = e g + \tfrac{1}{\ell}(T - t) N_1, \qquad
        \log m = h \log m_0 - (e - e(0) h)\,\ell g + t N_2,

    which is right to first order in the amplitude of the data if F = 0, and the network sees
    g and :math:`\log m_0` with and without these factors, and its n-th waves with the n-th power
    of either, as the logarithm of a decaying wave has them.
    """

    def __init__(self, setting: "Setting", t: Tensor, x: Tensor) -> None:
        game, horizon, one = setting.game, setting.game.horizon, torch.ones_like(t)
        unit, scale = 2 * game.viscosity / game.kinetic, setting.scale
        terminal, initial = data_jets(game, x)
        clock = torch.zeros_like(terminal)
        clock[0], clock[1] = 2 * REACH * t / horizon - REACH, 2 * REACH / horizon
        shared, decays = [clock], [(one, 0 * one)]
        self.base = Fields(terminal, initial)
        if setting.lifted:
            rate = game.viscosity * setting.wave**2
            e, h = torch.exp(rate * (t - horizon)), torch.exp(-rate * t)
            decays = [(e, rate * e), (h, -rate * h)]
            g, log_m0 = terminal / unit, initial
            eg, hg, hm = times(e, rate * e, g), times(h, -rate * h, g), times(h, -rate * h, log_m0)
            shared += [g, log_m0, eg, hm]
            start = float(np.exp(-rate * horizon))
            self.base = Fields(unit * eg, hm - eg + start * hg)
        self.features = Features(torch.stack(shared, -1), setting.own(x, decays), scale)
        remaining = unit * scale * (horizon - t), -unit * scale * one
        self._factors = remaining, (scale * t, scale * one)

    def __call__(self, outputs: Tensor) -> Fields:
        """Return the fields from the jets of the outputs, shape (d + 3, N, 2)."""
        (a, b), (value, log_density) = self._factors, self.base
        return Fields(value + times(*a, outputs[..., 0]), log_density + times(*b, outputs[..., 1]))


class Setting:
    """What all points of a game have in common.

    Args:
        game: in d > 1 dimensions.
        harmonics: how many waves, or powers, of each coordinate the network sees.
        lifted: see :class:`ManyTrial`.

    Attributes:
        chances: how many random numbers a point takes.
    """

    def __init__(self, game: MeanFieldGame, harmonics: int, lifted: bool) -> None:
        self.game, self.harmonics, self.lifted = game, harmonics, lifted
        require_integer("harmonics", harmonics, 1, 8)
        self.in_space = game.boundary == "exact"
        if lifted:
            game.require_box("formulation='lifted' with boundary")
        self.chances = 1 + (2 if self.in_space else 1) * game.dimension
        self.low, self.high = list(game.bounds.values())[1]
        self.scale = game.dimension**0.5 if self.in_space else 1.0
        self.even = not self.in_space and (game.boundary == "neumann" or is_even(game))
        # A wall is a mirror: with its image the box is half of a period.
        periods = 1.0 if game.boundary == "periodic" else 0.5
        self.wave = 2 * np.pi * periods / (self.high - self.low)

    def own(self, x: Tensor, decays: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the features of each coordinate, shape (4, d, N, F), times factors of time."""
        found = list[Tensor]()
        for n in range(1, self.harmonics + 1):
            for a, a_t in decays:
                a, a_t = a**n, n * a ** (n - 1) * a_t
                for f, f_x, f_xx in self._of_place(n, x):
                    found.append(torch.stack([a * f, a_t * f, a * f_x, a * f_xx]))
        return torch.stack(found, -1)

    def _of_place(self, n: int, x: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return the n-th waves or powers of each coordinate, with two derivatives."""
        if self.in_space:
            mean, deviation = self.game.initial_moments
            y = (x - mean) / deviation
            bend = n * (n - 1) / deviation**2 * y ** max(n - 2, 0)
            return [(y**n, n / deviation * y ** (n - 1), bend)]
        k = n * self.wave
        cos, sin = (REACH * f(k * (x - self.low)) for f in (torch.cos, torch.sin))
        waves = [(cos, -k * sin, -(k**2) * cos), (sin, k * cos, -(k**2) * sin)]
        return waves[:1] if self.even else waves

    def conditions(self, t: Tensor, x: Tensor) -> list[Condition]:
        """Return both equations at N points, x of shape (d, N)."""
        game, weight = self.game, HJB_WEIGHT if self.lifted else 1.0
        potential = game.potential(t, *x, xp=torch)

        def equations(fields: Fields) -> list[Tensor]:
            hjb = weight * hjb_residual(game, potential, fields)
            return [hjb, fokker_planck_residual(game, fields)]

        return [Condition(ManyTrial(self, t, x), equations)]

    def place(self, cube: FloatArray, slope: Slope) -> list[Tensor]:
        """Return times, shape (N,), and points, shape (d, N), from points of the unit cube.

        In all of space they are particles of the crowd, drawn from the initial density, a little
        wider, and moved to their times by the control -λ∇u and by noise. The noise of a particle
        has one direction, which has the variance of the Brownian one but for the drift.

        Args:
            cube: shape (N, ``self.chances``).
            slope: where the crowd goes.
        """
        game, z = self.game, torch.from_numpy(cube.T.copy())
        t, z = game.horizon * z[0], z[1:]
        if not self.in_space:
            # Even and periodic: one half of the box is the mirror image of the other.
            half = self.even and game.boundary == "periodic"
            return [t, self.low + (self.high - self.low) * (z / 2 if half else z)]
        mean, deviation = game.initial_moments
        start, noise = WIDENING * torch.special.ndtri(z).unflatten(0, (2, -1))
        x, step = mean + deviation * start, t / EULER_STEPS
        kick = (2 * game.viscosity * t).sqrt() / EULER_STEPS * noise
        for n in range(EULER_STEPS):
            x = x - step * game.kinetic * slope(n * step, x) + kick
        return [t, x]

    def slope(self, parameters: FloatArray, widths: Widths, t: Tensor, x: Tensor) -> Tensor:
        """Return the ∇u of a network, shape (d, N)."""
        trial = ManyTrial(self, t, x)
        return trial(network(torch.from_numpy(parameters), widths, trial.features)).value[2:-1]


def of_many(game: MeanFieldGame, *, harmonics: int, lifted: bool) -> Formulation:
    """Return the formulation; its own particles, in all of space, follow the terminal cost."""
    setting = Setting(game, harmonics, lifted)

    def trial(t: Tensor, *x: Tensor) -> ManyTrial:
        return ManyTrial(setting, t, torch.stack(x))

    def conditions(sample: Sampler, counts: tuple[int, int]) -> list[Condition]:
        cube = sample(counts, setting.chances)
        return setting.conditions(*setting.place(cube, lambda t, x: data_jets(game, x)[0][2:-1]))

    return Formulation(trial, conditions)


def times(f: Tensor, f_t: Tensor, jet: Tensor) -> Tensor:
    """Return the jet of a function of time, times another."""
    value, t, rest = (f * jet).split([1, 1, len(jet) - 2])
    return torch.cat([value, t + f_t * jet[:1], rest])


def data_jets(game: MeanFieldGame, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the jets of the terminal cost and of the logarithm of the initial density.

    From the formulas of the game if its data are its closed form at the end and at the start; else
    by automatic differentiation, at a cost that is quadratic in the dimension.
    """
    names = ("_terminal_cost", "_initial_density")
    own = all(getattr(type(game), name) is getattr(MeanFieldGame, name) for name in names)
    if not own or type(game)._laplacians is MeanFieldGame._laplacians:
        terminal = jets.of_space(lambda *x: game.terminal_cost(*x, xp=torch), list(x))
        return terminal, jets.of_space(lambda *x: game.initial_density(*x, xp=torch).log(), list(x))
    end, start = ([torch.full_like(x[0], t), *x] for t in (game.horizon, 0.0))
    u, u_x = game.value(*end, xp=torch), game.value_gradient(*end, xp=torch)
    m, m_x = game.density(*start, xp=torch), game.density_gradient(*start, xp=torch)
    bends = game.laplacians(*end, xp=torch)[0], game.laplacians(*start, xp=torch)[1]
    parts = zip((u, m.log()), (u_x, m_x / m), bends, strict=True)
    terminal, initial = (torch.cat([torch.stack([f, 0 * f]), f_x, b[None]]) for f, f_x, b in parts)
    return terminal, initial
