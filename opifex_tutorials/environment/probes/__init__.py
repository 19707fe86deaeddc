"""What runs in a fresh process: each module is started with ``python -m`` and emits records."""
