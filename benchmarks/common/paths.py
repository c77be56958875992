"""Where the checkout is, and the results in it."""

from pathlib import Path

__all__ = ["RESULTS", "ROOT"]

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
