"""Networks of many coordinates against automatic differentiation; broken on purpose."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from opifex_tutorials.models import torch_axes, torch_jets
from opifex_tutorials.models.torch_axes import Features, count, network

N, D = 7, 3
RNG = np.random.default_rng(4)
T, *X = torch.from_numpy(RNG.uniform(-1, 1, (1 + D, N)))
WIDTHS = {
    "dense": (2 + 2 * D, 6, 5, 2),
    "symmetric": ((3, 5, 3), (5, 6, 2)),
    "shallow": (2 + 2 * D, 4),
}
every = pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS.keys())


def shared_functions(t, x):
    return [t**2, t * x[0] * torch.sin(x[2])]


def own_functions(t, z):
    """Of one coordinate, and time."""
    return [torch.cos(2 * z) * torch.exp(t), z**3]


def derivatives(f, t, x):
    """The jet of f(t, x) at all points, by nested differentiation."""
    t, x = t.clone().requires_grad_(), [z.clone().requires_grad_() for z in x]
    value = f(t, x)
    first = torch.autograd.grad(value.sum(), [t, *x], create_graph=True, materialize_grads=True)
    second = sum(
        torch.autograd.grad(g.sum(), z, retain_graph=True, materialize_grads=True)[0]
        if g.requires_grad
        else 0 * z
        for g, z in zip(first[1:], x, strict=True)
    )
    return torch.stack([value, *first, second]).detach()


def features():
    shared = [derivatives(lambda t, x, i=i: shared_functions(t, x)[i], T, X) for i in range(2)]
    own = [
        torch.stack([derivatives(lambda t, x, i=i: own_functions(t, x[0])[i], T, [z]) for z in X])
        for i in range(2)
    ]
    return Features(torch.stack(shared, -1), torch.stack(own, -1).transpose(0, 1))


def plain(parameters, widths, t, x):
    """Values of the network, written down once more, shape (N, outputs)."""

    def dense(parameters, widths, h):
        at = 0
        for layer, (n_in, n_out) in enumerate(pairwise(widths)):
            h = torch.tanh(h) if layer else h
            weights = parameters[at : at + n_in * n_out].view(n_out, n_in)
            h = h @ weights.T + parameters[at + n_in * n_out :][:n_out]
            at += (n_in + 1) * n_out
        return h

    common, each = shared_functions(t, x), [own_functions(t, z) for z in x]
    if not isinstance(widths[0], tuple):
        return dense(
            parameters, widths, torch.stack([*common, *(f for own in each for f in own)], -1)
        )
    size = sum((a + 1) * b for a, b in pairwise(widths[0]))
    inner = partial(dense, parameters[:size], widths[0])
    total = sum(inner(torch.stack([common[0], *own], -1)) for own in each) / D**0.5
    return dense(parameters[size:], widths[1], torch.cat([torch.stack(common, -1), total], -1))


def weights_of(widths):
    size = count(widths if isinstance(widths[0], tuple) else [widths])
    return torch.from_numpy(RNG.normal(size=size) / 2)


def largest_error(widths):
    parameters, outputs = weights_of(widths), widths[-1] if widths[0] != (3, 5, 3) else 2
    found = network(parameters, widths, features())
    for i in range(outputs):
        expected = derivatives(lambda t, x, i=i: plain(parameters, widths, t, x)[:, i], T, X)
        worst = float((found[..., i] - expected).abs().max() / expected.abs().max())
    return worst


@every
def test_jets_agree_with_nested_differentiation(widths):
    assert largest_error(widths) < 1e-13


@every
def test_gradients_agree_with_automatic_differentiation(widths):
    parameters, given = weights_of(widths), features()

    def residuals(parameters, tape=None):
        z = network(parameters, widths, given, tape)[..., -1]
        return z[1] * (z[2:-1] ** 2).sum(0) + z[-1] * z[0]

    tape = []
    found = torch_jets.pull_back(residuals(parameters, tape), tape)
    expected = torch.func.jacrev(residuals)(parameters)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", ["dense", "symmetric"])
def test_a_coordinate_missing_in_the_laplacian_is_noticed(monkeypatch, name):
    class Forgetful(Features):
        def __init__(self, shared, own):
            super().__init__(shared, own)
            self.summed[2, :, -2:] = 0.0  # of the last coordinate
            self.own = own.clone()
            self.own[3, -1] = 0.0

    monkeypatch.setitem(globals(), "Features", Forgetful)
    assert largest_error(WIDTHS[name]) > 1e-3


def test_the_slopes_of_the_hidden_layers_reach_the_laplacian(monkeypatch):
    right = torch_jets.compose

    def wrong(value, slope, bend, z):
        return right(value, slope, bend, torch.cat([z[:-2], 0 * z[-2:-1], z[-1:]]))

    monkeypatch.setattr(torch_jets, "compose", wrong)
    assert largest_error(WIDTHS["dense"]) > 1e-3


def test_the_symmetric_network_does_not_see_the_order_of_the_coordinates():
    parameters, order = weights_of(WIDTHS["symmetric"]), torch.tensor([2, 0, 1])
    given = features()
    given.shared[..., 1] = 0.0  # the one that is no function of time alone
    other = Features(given.shared, given.own[:, order])
    first, second = (network(parameters, WIDTHS["symmetric"], f) for f in (given, other))
    np.testing.assert_allclose(second[[0, 1, -1]], first[[0, 1, -1]], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(second[2:-1], first[2:-1][order], rtol=1e-12, atol=1e-13)


def test_no_array_grows_with_the_square_of_the_dimension():
    """The tape holds all that a step keeps; its largest entries are jets of one layer."""
    sizes = []
    for d in (50, 100):
        shared, own = torch.zeros(d + 3, 4, 1), torch.ones(4, d, 4, 1)
        given, tape = Features(shared, own), []
        network(torch.zeros(count([(1 + d, 3, 2)])), (1 + d, 3, 2), given, tape)
        held = [given.shared, given.own, given.summed, *(z for _, z in tape), tape[1][0]]
        sizes.append(sum(tensor.numel() for tensor in held))
    assert sizes[1] < 2.0 * sizes[0]


def test_numbers_of_parameters():
    assert count([(2, 3)]) == 9
    assert torch_axes.count([(2, 8, 4), (5, 12, 12, 12, 2)]) == 470
