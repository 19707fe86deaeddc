"""Double precision for JAX, which starts in single precision."""

import jax


def enable_float64() -> None:
    """Switch JAX to float64, for the whole process.

    A residual takes second derivatives and Levenberg-Marquardt squares the condition number; in
    float32 neither leaves enough digits for the accuracy this book is after.
    """
    jax.config.update("jax_enable_x64", True)
