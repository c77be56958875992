"""Programs that measure; each folder is one, run as ``python -m benchmarks.NAME``."""
