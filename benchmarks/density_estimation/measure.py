"""One split of one data set: what each method chose, and how its density fits the rows left out."""

import time
from typing import Any

from torch import Tensor

from .contenders import BASELINE, CONTENDERS, KINDS, OURS
from .data import Split
from .search import Candidate, Search, Settings

__all__ = ["measured", "scored"]

BY_STRUCTURE = (BASELINE, OURS)


def measured(part: Split, settings: Settings, methods: list[str]) -> dict[str, Any]:
    """The methods' results, and those of two libraries for each structure alone."""
    found: dict[str, Any] = {"methods": {}, "structures": {}}
    for method in methods:
        started = time.perf_counter()
        search = CONTENDERS[method](part.train, settings)
        seconds = time.perf_counter() - started
        found["methods"][method] = scored(search, search.best(), part.held_out, settings)
        found["methods"][method]["seconds"] = seconds
        if method in BY_STRUCTURE:
            found["structures"][method] = {
                structure: scored(search, search.best(structure), part.held_out, settings)
                for structure in KINDS
            }
    return found


def scored(
    search: Search, chosen: Candidate | None, held_out: Tensor, settings: Settings
) -> dict[str, Any]:
    """The mean over rows, and what is wrong; there is no mean if a row has none."""
    record: dict[str, Any] = {"failures": search.failures, "mean": None}
    if chosen is None:
        return record
    values = chosen.density.log_prob(held_out)
    n_infinite = int((~values.isfinite()).sum())
    return record | {
        "mean": None if n_infinite else float(values.mean()),
        "median": float(values.median()),
        "lowest": float(values.min()),
        "n_infinite": n_infinite,
        "structure": chosen.structure,
        "n_components": chosen.n_components,
        "converged": bool(chosen.converged),
        "held_up": chosen.least_variance <= 2 * settings.reg_covar,
    }
