r"""Tensor trains: arrays of many indices as products of small matrices, and what is done with them.

.. math:: A_{j_1 \dots j_d} = G_1[j_1]\, G_2[j_2] \cdots G_d[j_d]

(Oseledets 2011). ``cross`` finds one from few entries: it keeps the rows and columns that the
largest remaining errors stand in (Oseledets & Tyrtyshnikov 2010).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opifex_tutorials.validation import FloatArray

Train = list[FloatArray]  # of cores, shape (rank, nodes, next rank)
Indices = NDArray[np.intp]  # of nodes, one row for each point
Sampler = Callable[[Indices, Indices], FloatArray]  # indices left and right of two free nodes


def block(train: Train, left: Indices, right: Indices) -> FloatArray:
    """Return entries, shape (left, nodes, nodes, right), between given indices on both sides."""
    k, before, after = left.shape[1], np.ones((len(left), 1)), np.ones((len(right), 1))
    for core, index in zip(train[:k], left.T, strict=True):
        before = np.einsum("pr,rps->ps", before, core[:, index])
    for core, index in zip(train[:k:-1][:-1], right.T[::-1], strict=True):
        after = np.einsum("rps,ps->pr", core[:, index], after)
    first, second = np.tensordot(before, train[k], 1), np.tensordot(train[k + 1], after.T, 1)
    return np.tensordot(first, second, 1)


def pivots(matrix: FloatArray, tolerance: float, most: int) -> tuple[Indices, Indices]:
    """Return rows and columns that span a matrix up to a largest error, by full pivoting."""
    rest, found = matrix.copy(), list[tuple[int, ...]]()
    for _ in range(min(most, *rest.shape)):
        row, column = divmod(int(np.abs(rest).argmax()), rest.shape[1])
        pivot = rest[row, column]
        if found and not abs(pivot) > tolerance:
            break
        found.append((row, column))
        if pivot == 0:
            break
        rest -= np.outer(rest[:, column], rest[row] / pivot)
    rows, columns = np.array(found).T
    return rows, columns


def cross(
    sample: Sampler, nodes: int, right: list[Indices], tolerance: float, most: int
) -> tuple[Train, list[Indices]]:
    """Return a train through the entries that ``sample`` gives, in one sweep to the right.

    And the indices that it stands on, to the right of each bond in a mirror: the next sweep goes
    the other way.
    """
    left, train, last = [np.zeros((1, 0), int)], Train(), np.ones((1, 1))
    for after in right[2:]:
        values = sample(left[-1], after)
        matrix = values.reshape(len(left[-1]) * nodes, -1)
        rows, columns = pivots(matrix, tolerance, most)
        square, tall = matrix[np.ix_(rows, columns)], matrix[:, columns]
        core = np.asarray(np.linalg.lstsq(square.T, tall.T, rcond=None)[0].T, dtype=float)
        train.append(core.reshape(-1, nodes, len(rows)))
        left.append(np.column_stack([left[-1][rows // nodes], rows % nodes]))
        last = matrix[rows]
    train.append(last.reshape(-1, nodes, 1))
    none = left[0]  # to the right of the first bonds stand all indices, which nobody asks for
    return train, [none, *[indices[:, ::-1] for indices in left[::-1]]]


def mirrored(sample: Sampler) -> Sampler:
    """Return the sampler of the coordinates in the opposite order."""
    return lambda left, right: sample(right[:, ::-1], left[:, ::-1]).T


def combine(weights: ArrayLike, trains: Sequence[Train]) -> Train:
    """Return the weighted sum of trains: its ranks are the sums of theirs."""
    first = [w * train[0] for w, train in zip(np.asarray(weights), trains, strict=True)]
    result = [np.concatenate(first, axis=2)]
    for cores in list(zip(*trains, strict=True))[1:-1]:
        starts = np.cumsum([[0, 0], *[core.shape[::2] for core in cores]], axis=0)
        total = np.zeros((starts[-1, 0], cores[0].shape[1], starts[-1, 1]))
        for core, (row, column) in zip(cores, starts[:-1], strict=True):
            total[row : row + core.shape[0], :, column : column + core.shape[2]] = core
        result.append(total)
    return [*result, np.concatenate([train[-1] for train in trains])]


def compress(train: Train, tolerance: float) -> Train:
    """Return a train of smaller ranks, up to a root mean square error."""
    train, nodes = list(train), train[0].shape[1]
    for k in range(len(train) - 1, 0, -1):
        Q, R = np.linalg.qr(train[k].reshape(len(train[k]), -1).T)
        train[k] = Q.T.reshape(-1, nodes, train[k].shape[2])
        train[k - 1] = train[k - 1] @ R.T
    allowed = tolerance * float(nodes) ** (len(train) / 2) / np.sqrt(len(train))
    for k in range(len(train) - 1):
        U, S, V = np.linalg.svd(train[k].reshape(-1, train[k].shape[2]), full_matrices=False)
        left_out = np.sqrt(np.cumsum(S[::-1] ** 2))[::-1]
        rank = max(1, int((left_out > allowed).sum()))
        train[k] = U[:, :rank].reshape(-1, nodes, rank)
        train[k + 1] = np.tensordot(S[:rank, None] * V[:rank], train[k + 1], 1)
    return train


def inner(first: Train, second: Train) -> float:
    """Return the mean product of entries."""
    result = np.ones((1, 1))
    for a, b in zip(first, second, strict=True):
        result = np.tensordot(a, np.tensordot(result, b, 1), ([0, 1], [0, 1])) / a.shape[1]
    return float(result[0, 0])
