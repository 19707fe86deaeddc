"""Equations in a basis: their Jacobian by the coefficients, for a library that solves for these."""

import torch
from fastlsq import block_concat


def linearize(solver, names, x, residuals):
    """Return the Jacobian of residuals by all coefficients, and the residuals with a minus."""
    cache, table = solver.basis.cache(x), {}

    def d(by, i=0):
        if (by, i) not in table:
            design = solver.basis.derivative(x, tuple(map(by.count, names)), cache=cache)
            table[by, i] = design, (design @ solver.beta[:, i : i + 1]).requires_grad_()
        return table[by, i][1]

    found, blocks = residuals([d("", i) for i in range(solver.beta.shape[1])], d), []
    for residual in found:
        values = [value for _, value in table.values()]
        options = {"retain_graph": True, "materialize_grads": True}
        slopes = zip(table, torch.autograd.grad(residual.sum(), values, **options), strict=True)
        row = [torch.zeros(len(x), solver.n_features) for _ in solver.beta.T]
        for (by, i), slope in slopes:
            row[i] = row[i] + slope * table[by, i][0]
        blocks.append(row)
    return block_concat(blocks), -torch.cat(found).detach()
