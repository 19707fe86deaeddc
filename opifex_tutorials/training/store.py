"""The checkpoints of one training in a folder, kept by Orbax, which imports JAX."""

import base64
import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.tree_util import keystr, tree_flatten_with_path, tree_map_with_path

OPTIONS = ocp.CheckpointManagerOptions(
    # The one before the last is there for the case that the last is damaged.
    preservation_policy=ocp.checkpoint_managers.LatestN(2),
    enable_async_checkpointing=False,  # the next steps change arrays in place
    cleanup_tmp_directories=True,  # of a process that was killed while it wrote
)


class Store:
    """Checkpoints of one training, each a folder named by the number of steps done.

    Orbax writes into a temporary folder and renames it, which is atomic: what has the name of a
    checkpoint was written to its end. In it is a text of JSON with what was asked and the arrays,
    an archive of NumPy, whose checksums tell whether they have changed since. (Orbax's own format
    for arrays has none for their content: a flipped bit went unnoticed. It is for arrays that are
    spread over machines.) Where several processes of JAX train together all of them call, the
    first one writes, all read.

    Args:
        folder: made if it does not exist.
        asked: what the training was asked for, in words.

    Raises:
        ValueError: for a folder that cannot be used.
    """

    def __init__(self, folder: Path, asked: dict[str, str]) -> None:
        self._folder, self._asked = folder, asked
        try:
            self._manager = ocp.CheckpointManager(folder, options=OPTIONS)
        except OSError as error:
            allowed = "allowed are those in which files can be written"
            raise ValueError(f"folder={str(folder)!r}: {allowed} ({error})") from error

    def load(self, state: dict[str, Any]) -> int:
        """Fill a state from the last checkpoint; return its number of steps, 0 without one.

        Raises:
            ValueError: if the checkpoint is damaged, or of another training.
        """
        step = self._manager.latest_step()
        if step is None:
            return 0
        where = f"checkpoint {str(self._folder / str(step))!r}"
        try:
            found = self._manager.restore(step, args=ocp.args.JsonRestore())
            had, archive = found["asked"], base64.b64decode(found["state"], validate=True)
            arrays = dict(np.load(io.BytesIO(archive)))
        except Exception as error:
            advice = "remove this folder to go on from the one before, if there is one"
            raise ValueError(f"{where} is damaged: {advice} ({error})") from error
        now = self._asked
        others = [name for name in now | had if had.get(name) != now.get(name)]
        if others:
            pairs = ", ".join(f"{name}={had.get(name)}, asked {now.get(name)}" for name in others)
            raise ValueError(f"{where} is of another training: {pairs}")

        def fill(path: Any, leaf: Any) -> Any:
            return _filled(leaf, arrays.pop(keystr(path), None))

        state.update(tree_map_with_path(fill, state, is_leaf=_is_leaf))
        if arrays:
            raise ValueError(f"{where} has {', '.join(arrays)}: allowed is what the start has")
        return step

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint; the last two are kept.

        Raises:
            OSError: if it cannot be written; those before stay.
        """
        leaves, archive = tree_flatten_with_path(state, is_leaf=_is_leaf)[0], io.BytesIO()
        arrays = {keystr(path): _array(leaf) for path, leaf in leaves if leaf is not None}
        np.savez(archive, **arrays)  # type: ignore[arg-type]  # it takes them by any name
        content = base64.b64encode(archive.getvalue()).decode()
        both = ocp.args.JsonSave({"asked": self._asked, "state": content})
        try:
            self._manager.save(step, args=both)
        except Exception as error:
            where = f"checkpoint {str(self._folder / str(step))!r}"
            raise OSError(f"{where} could not be written: {error}") from error


def _is_leaf(node: Any) -> bool:
    numbers = isinstance(node, list) and all(isinstance(n, int | float) for n in node)
    return node is None or numbers


def _array(leaf: Any) -> np.ndarray[Any, Any]:
    if hasattr(leaf, "state_dict"):
        import torch

        file = io.BytesIO()
        torch.save(leaf.state_dict(), file)
        return np.frombuffer(file.getvalue(), np.uint8)
    array = np.asarray(leaf)
    if array.dtype.hasobject:
        raise ValueError(f"state with {leaf!r}: allowed are arrays, numbers, and state_dicts")
    return array


def _filled(leaf: Any, array: Any) -> Any:
    """Return what an array makes of a leaf; lists and PyTorch's objects are filled in place."""
    if array is None:
        return None
    if hasattr(leaf, "state_dict"):
        import torch

        leaf.load_state_dict(torch.load(io.BytesIO(array.tobytes()), weights_only=True))
    elif isinstance(leaf, list):
        leaf[:] = array.tolist()
    else:
        array = array if array.ndim else array.item()
        return jnp.asarray(array, leaf.dtype) if isinstance(leaf, jax.Array) else array
    return leaf
