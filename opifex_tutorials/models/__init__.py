"""Networks, and the transforms that build conditions into them.

Nothing is imported here, so that a JAX chapter never loads PyTorch and the other way round:
import :mod:`opifex_tutorials.models.flax_mlp` or :mod:`opifex_tutorials.models.torch_mlp`.
"""
