"""Settings of the unit tests, made before any of them imports JAX."""

import os

# A test compiles for seconds what then runs for milliseconds: without LLVM's optimizations the
# tests that use JAX take two thirds of the processor time. Chapters are executed as readers do.
_asked = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = f"--xla_backend_optimization_level=0 {_asked}".strip()
