"""The two networks are one network: same weights, same output; and both start as promised."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from opifex_tutorials.models import flax_mlp, torch_mlp

jax.config.update("jax_enable_x64", True)

WIDTHS = (2, 20, 20, 1)
POINTS = np.random.default_rng(0).uniform(-1, 1, (50, 2))


def same_weights(source: torch_mlp.MLP, target: flax_mlp.MLP) -> None:
    for torch_layer, flax_layer in zip(source.layers, target.layers, strict=True):
        flax_layer.kernel[...] = jnp.asarray(torch_layer.weight.detach().numpy().T)
        flax_layer.bias[...] = jnp.asarray(torch_layer.bias.detach().numpy())


def test_same_weights_same_output() -> None:
    torch_network = torch_mlp.MLP(WIDTHS, seed=3)
    with torch.no_grad():
        for layer in torch_network.layers:
            layer.bias += 0.1
    flax_network = flax_mlp.MLP(WIDTHS, rngs=nnx.Rngs(0))
    same_weights(torch_network, flax_network)
    torch_output = torch_network(torch.from_numpy(POINTS)).detach().numpy()
    flax_output = np.asarray(flax_network(jnp.asarray(POINTS)))
    assert torch_output.shape == flax_output.shape == (50, 1)
    assert torch_output.dtype == flax_output.dtype == np.float64
    assert np.max(np.abs(torch_output)) > 0.1
    np.testing.assert_allclose(flax_output, torch_output, rtol=0, atol=1e-14)


def test_output_is_tanh_between_and_linear_last() -> None:
    network = torch_mlp.MLP((1, 3, 1), seed=0)
    first, last = network.layers
    weights, outer = first.weight.detach().numpy(), last.weight.detach().numpy()
    x = np.array([[0.3], [-2.0]])
    expected = np.tanh(x @ weights.T) @ outer.T
    np.testing.assert_allclose(
        network(torch.from_numpy(x)).detach().numpy(), expected, rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("framework", ["flax", "torch"])
def test_initial_weights_are_glorot_normal_and_biases_zero(framework: str) -> None:
    inputs, outputs = 300, 500
    if framework == "flax":
        layer = flax_mlp.MLP((inputs, outputs), rngs=nnx.Rngs(1)).layers[0]
        weights, biases = np.asarray(layer.kernel[...]), np.asarray(layer.bias[...])
    else:
        layer = torch_mlp.MLP((inputs, outputs), seed=1).layers[0]
        weights, biases = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    assert np.all(biases == 0)
    # 150,000 samples: the variance is known to about 0.4 %, the mean to 0.3 % of the deviation
    assert np.var(weights) == pytest.approx(2 / (inputs + outputs), rel=0.02)
    # a uniform distribution of this variance ends at 1.73 deviations; JAX cuts its normal at 2.27
    expected = {"flax": 0.0347, "torch": 0.0455}[framework]
    assert np.mean(np.abs(weights) > 2 * np.std(weights)) == pytest.approx(expected, rel=0.1)
    assert abs(np.mean(weights)) < 0.015 * np.std(weights)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_of_weights_and_output(dtype: str) -> None:
    flax_network = flax_mlp.MLP(WIDTHS, rngs=nnx.Rngs(0), dtype=jnp.dtype(dtype))
    torch_network = torch_mlp.MLP(WIDTHS, seed=0, dtype=getattr(torch, dtype))
    points = POINTS.astype(dtype)
    assert flax_network(jnp.asarray(points)).dtype == jnp.dtype(dtype)
    assert torch_network(torch.from_numpy(points)).dtype == getattr(torch, dtype)


def test_seed_decides_and_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (torch_mlp.MLP(WIDTHS, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.layers[0].weight, again.layers[0].weight)
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)


@pytest.mark.parametrize("widths", [(), (2,), (2, 0, 1), (2, -3, 1), (2, 20.0, 1), (True, 1), 7])
def test_impossible_widths(widths: object) -> None:
    for build in (  # the types say so too: that is what is refused here
        lambda: flax_mlp.MLP(widths, rngs=nnx.Rngs(0)),  # type: ignore[arg-type]
        lambda: torch_mlp.MLP(widths, seed=0),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=r"widths=.*at least two positive integers"):
            build()


def test_impossible_dtypes() -> None:
    with pytest.raises(ValueError, match=r"dtype=.*float32 and float64"):
        flax_mlp.MLP(WIDTHS, rngs=nnx.Rngs(0), dtype=jnp.float16)
    with pytest.raises(ValueError, match=r"dtype=.*torch.float32 and torch.float64"):
        torch_mlp.MLP(WIDTHS, seed=0, dtype=torch.float16)


def test_float64_must_be_switched_on_in_jax() -> None:
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"dtype=.*jax_enable_x64"):
        flax_mlp.MLP(WIDTHS, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("opifex_tutorials.models", {"jax", "torch"}),
        ("opifex_tutorials.models.flax_mlp", {"torch"}),
        ("opifex_tutorials.models.torch_mlp", {"jax"}),
    ],
)
def test_a_chapter_loads_one_framework(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print({absent!r} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


def test_jax_is_switched_to_float64_by_a_program_not_by_an_import() -> None:
    code = """if True:
        import jax.numpy as jnp
        from opifex_tutorials.losses import burgers, linear
        from opifex_tutorials.models import flax_jets, flax_mlp
        from opifex_tutorials.problems.burgers import BurgersProblem
        from opifex_tutorials.solvers import burgers_pinn, linear_pinn
        from opifex_tutorials.training import gradient, meta_learning
        from opifex_tutorials.losses.jax_system import Program
        print(jnp.ones(1).dtype)
        Program(burgers.burgers_hard, BurgersProblem(0.1), 8, (2,))
        print(jnp.ones(1).dtype)
        """
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["float32", "float64"]
