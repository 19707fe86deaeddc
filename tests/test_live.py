"""The live figures: what their scripts compute agrees with Python, what they show is the figure."""

import json
import re
import subprocess
import tomllib
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from playwright._impl._driver import compute_driver_executable
from scipy.special import roots_hermite

from opifex_tutorials import live
from opifex_tutorials.losses.burgers import LAYER_WIDTHS, burgers_layer
from opifex_tutorials.losses.jax_system import Program
from opifex_tutorials.models.precision import enable_float64
from opifex_tutorials.problems.burgers import NODES, BurgersProblem
from opifex_tutorials.problems.mean_field_games import CosineGame
from opifex_tutorials.training.levenberg_marquardt import (
    LevenbergMarquardtState,
    levenberg_marquardt_step,
)
from opifex_tutorials.training.transfer import DonorLibrary
from opifex_tutorials.verification import exploitability

NODE = compute_driver_executable()[0]  # Playwright brings it along
enable_float64()
agree = partial(np.testing.assert_allclose, rtol=0, atol=1e-12)


def evaluate(script, expression, **data):
    """Evaluate an expression of the data with the functions of a script."""
    values = json.dumps(data, default=np.ndarray.tolist)
    program = f"const {{{', '.join(data)}}} = {values};\nconst result = {expression};\n"
    program += "console.log(JSON.stringify(result));"
    code = f"{live.code(script)}\n{program}"
    done = subprocess.run([NODE, "-"], input=code, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def program():
    return Program(burgers_layer, BurgersProblem(0.01, 0.5), points=64, hidden=(6, 5))


@pytest.fixture(scope="module")
def library(program):
    """Networks that nobody trained: a formula does not care."""
    members = np.array([0.005, 0.012, 0.05])
    return DonorLibrary(members, np.array([program.initial_parameters(s) for s in range(3)]))


VISCOSITIES = [0.005, 0.0061, 0.012, 0.03, 0.05]
T, X = (a.ravel() for a in np.meshgrid([0.0, 0.013, 0.31, 0.5], np.linspace(-1, 1, 33)))


def test_weights_are_interpolated_like_donors(library):
    found = evaluate(
        "burgers",
        "asked.map((nu) => interpolate({ viscosities, donors }, nu))",
        viscosities=library.members,
        donors=library.parameters,
        asked=VISCOSITIES,
    )
    agree(found, [library.interpolate(nu) for nu in VISCOSITIES])


@pytest.mark.parametrize("viscosity", VISCOSITIES)
def test_the_network_of_burgers_is_that_of_the_package(program, viscosity):
    parameters = 3 * program.initial_parameters(0)  # tanh is to saturate here and there
    found = evaluate(
        "burgers",
        "t.map((t, i) => candidate(data, parameters, nu, t, x[i]))",
        data={"widths": program.widths, "finalTime": 0.5, "layerWidth": LAYER_WIDTHS},
        parameters=parameters,
        nu=viscosity,
        t=T,
        x=X,
    )
    agree(found, program.evaluate(BurgersProblem(viscosity, 0.5), parameters, (T, X)))


@pytest.mark.parametrize("viscosity", VISCOSITIES)
def test_the_exact_solution_of_burgers_is_that_of_the_problem(viscosity):
    nodes, weights = roots_hermite(NODES)
    rule = {"nodes": nodes, "weights": weights}
    found = evaluate(
        "burgers", "t.map((t, i) => exact(rule, nu, t, x[i]))", rule=rule, nu=viscosity, t=T, x=X
    )
    agree(found, BurgersProblem(viscosity, 0.5).exact(T, X))


@pytest.mark.parametrize("viscosity", [0.01, 0.1, 0.3])
def test_the_crowd_is_at_its_equilibrium(viscosity):
    game = CosineGame(viscosity, alpha=0.7, beta=0.4, horizon=0.8)
    t, x = 1.5 * T, (X + 1) / 2
    found = evaluate(
        "crowd",
        "t.map((t, i) => Object.values(equilibrium(game, nu, t, x[i])))",
        game={"alpha": 0.7, "beta": 0.4, "horizon": 0.8},
        nu=viscosity,
        t=t,
        x=x,
    )
    agree(np.transpose(found), [game.density(t, x), -game.value_gradient(t, x)[0]])


GAME = CosineGame()


def wavy(t, x, size=0.02, waves=2):
    """Return the velocity of the exact value plus a wave."""
    value_and_wave = jax.vmap(jax.grad(lambda x: size * jnp.sin(2 * jnp.pi * waves * x)))
    wave = np.asarray(value_and_wave(jnp.ravel(x))).reshape(np.shape(x))
    return -GAME.value_gradient(t, x)[0] - wave


def test_the_plan_is_the_slope_of_a_value_with_a_wave():
    x = np.linspace(0, 1, 33)
    velocity = -GAME.value_gradient(1.0, x)[0]
    found = evaluate(
        "exploitability", "x.map((x, i) => plan(velocity[i], 0.02, 2, x))", velocity=velocity, x=x
    )
    agree(found, wavy(1.0, x))


def test_the_gain_grows_with_the_square_of_a_small_wave():
    """The parabola of the figure goes on from the smallest waves to what the package finds."""
    sizes = np.array([0, 0.002, 0.004])
    judge = partial(exploitability, GAME, cells=40)
    gains = [judge(lambda t, x, s=s: wavy(t, x, s)) for s in sizes]
    table = {"sizes": sizes, "gains": [None, gains]}
    found = evaluate("exploitability", "table.sizes.map((s) => square(table, 2, s))", table=table)
    agree(found[:2], gains[:2])
    np.testing.assert_allclose(found[2], gains[2], rtol=2e-3)
    np.testing.assert_allclose(found[2] - found[0], 4 * (found[1] - found[0]), rtol=1e-12)


TIMES = np.linspace(0.0, 2.0, 9)


class Toy:
    """The toy of the Levenberg-Marquardt figure, by JAX."""

    def residuals(self, p):
        def residual(p, t):
            u, u_t = jax.jvp(lambda t: 1 - p[0] * jnp.tanh(p[1] * t), (t,), (1.0,))
            return u_t + u

        return jax.vmap(residual, (None, 0))(jnp.asarray(p), TIMES)

    def linearize(self, p):
        return np.asarray(self.residuals(p)), np.asarray(
            jax.jacobian(self.residuals)(jnp.asarray(p))
        )


@pytest.fixture
def toy():
    return Toy()


STARTS = [(0.3, 2.5), (1.2, 0.7), (2.0, 1.7), (-1.0, 0.4)]


@pytest.mark.parametrize("weights", STARTS)
def test_the_toy_has_the_derivatives_that_jax_finds(toy, weights):
    found = evaluate("levenberg_marquardt", "toy(times, weights)", times=TIMES, weights=weights)
    r, jacobian = toy.linearize(weights)
    hessian = jax.hessian(toy.residuals)(jnp.asarray(weights))
    agree(found["r"], r)
    agree(found["jacobian"], jacobian)
    agree(found["hessian"], hessian[:, 1])
    agree(hessian[:, 0, 0], 0)


@pytest.mark.parametrize("weights", STARTS)
@pytest.mark.parametrize("damping", [1e-3, 0.3, 30.0])
def test_a_proposed_step_is_the_solution_of_both_equations(toy, weights, damping):
    r, jacobian = toy.linearize(weights)
    hessian = np.asarray(jax.hessian(toy.residuals)(jnp.asarray(weights)))
    matrix = jacobian.T @ jacobian + damping * np.eye(2)
    d = -np.linalg.solve(matrix, jacobian.T @ r)
    a = -np.linalg.solve(matrix, jacobian.T @ (hessian @ d @ d))
    propose = "[false, true].map((a) => propose(times, weights, damping, a))"
    found = evaluate("levenberg_marquardt", propose, times=TIMES, weights=weights, damping=damping)
    agree(found, [weights + d, weights + d + a / 2])


def test_an_accepted_step_is_that_of_the_package(toy):
    weights, damping = np.array([1.2, 0.7]), 0.3
    accepted = levenberg_marquardt_step(
        toy, LevenbergMarquardtState(weights, damping), geodesic=False
    )
    path = "path(times, weights, damping, 1, false)"
    found = evaluate("levenberg_marquardt", path, times=TIMES, weights=weights, damping=damping)
    agree(found, [weights, accepted.parameters])


def test_the_damping_grows_until_a_step_helps_and_shrinks_then(toy):
    theta, damping, path = np.array([0.1, 0.1]), 1e-6, [[0.1, 0.1]]

    def loss(p):
        return np.mean(np.square(toy.residuals(p)))

    for _ in range(20):
        r, jacobian = toy.linearize(theta)
        trial = theta - np.linalg.solve(jacobian.T @ jacobian + damping * np.eye(2), jacobian.T @ r)
        better = loss(trial) < loss(theta)
        theta, damping = (trial, damping / 2) if better else (theta, damping * 4)
        path += [theta] if better else []
    assert 5 < len(path) < 20  # both happened
    call = "path(times, [0.1, 0.1], 1e-6, 20, false)"
    agree(evaluate("levenberg_marquardt", call, times=TIMES), path)


def page(**data):
    figure, axes = plt.subplots(layout="constrained")
    (line,) = axes.plot([0, 0.5, 1], [0.1, 0.2, 0.8], "o-")
    axes.set(xlim=(0, 1), ylim=(0.01, 1), yscale="log")
    html = live.to_page("crowd", figure, {"wave": line}, "a wave", data)
    plt.close(figure)
    return html


def test_curves_move_to_where_matplotlib_draws_them():
    html = page()
    drawn = re.search(r'live-wave">\s*<path d="([^"]+)"', html)[1]
    frames = json.loads(re.search(r"start\(.*?, (.*)\);\n\}\)\(\)", html)[1])["frames"]
    points = [(0, 0.1), (0.5, 0.2), (1, 0.8)]
    call = "points.map(([x, y]) => [place(wave.x, x), place(wave.y, y)])"
    found = evaluate("crowd", call, points=points, wave=frames["wave"])
    numbers = np.array(re.findall(r"-?\d+\.?\d*", drawn), dtype=float)
    np.testing.assert_allclose(np.ravel(found), numbers, atol=1e-5)
    back = evaluate("crowd", "[0, 0.3].map((x) => valueAt(f.x, place(f.x, x)))", f=frames["wave"])
    agree(back, [0, 0.3])


def test_a_value_off_a_logarithmic_axis_is_drawn_at_its_end():
    axis = {"at": [100, 0], "ends": [1e-8, 1], "scale": "log"}
    agree(
        evaluate("crowd", "[0, 1e-9, 1e-8, 1e-4].map((y) => place(axis, y))", axis=axis),
        [100, 100, 100, 50],
    )


def test_a_page_asks_for_nothing_outside_and_no_text_ends_the_script():
    html = page(word="</script><p>")
    assert html.count("</script>") == 1
    assert not re.search(r'(src|href)="(?!#)', html)


def test_an_unknown_script_is_refused():
    with pytest.raises(ValueError, match="script='crowds': allowed are 'burgers', 'crowd'"):
        live.live("crowds", plt.figure(), {}, alt="a wave")
    plt.close()


def test_every_script_is_listed():
    folder = live.files("opifex_tutorials.live")
    found = {file.name for file in folder.iterdir() if file.name.endswith(".js")}
    assert found == {f"{name}.js" for name in ("figure", *live.SCRIPTS)}


def test_a_wheel_contains_every_script():
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    package = root / "opifex_tutorials"
    packed = {
        file
        for pattern in project["tool"]["setuptools"]["package-data"]["opifex_tutorials"]
        for file in package.glob(pattern)
    }
    assert packed == {f for f in package.rglob("*.*") if f.suffix not in (".py", ".pyc")}
