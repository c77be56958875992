"""Which engine takes the steps of EM."""

from ..checks import check, check_choice
from ..distributions import GaussianMixture
from .native_steps import NativeSteps, unavailable
from .torch_steps import TorchSteps

__all__ = ["ENGINES", "WIDEST", "check_engine", "steps_by", "suits"]

ENGINES = ("auto", "torch", "native")

WIDEST = {"full": 400, "tied": 300, "diagonal": 1000, "spherical": 600}
"""Up to how many entries of the means the library is the faster one, by
``python -m benchmarks.em.crossing``.
"""
_MOST_ENTRIES = 1 << 22  # of rows, which the library copies


def check_engine(engine: str) -> str:
    """Checks the name of an engine."""
    return check_choice("engine", engine, ENGINES)


def steps_by(
    engine: str, torch_steps: TorchSteps, starts: GaussianMixture
) -> TorchSteps | NativeSteps:
    """Returns who takes steps from starts ``(S,)``: by default, the library in C for problems
    that are small or narrow, and torch for others.

    Raises:
        ValueError: if the library is asked for and cannot.
    """
    if engine == "torch":
        return torch_steps
    n_rows, prior = torch_steps.rows.n_rows, torch_steps.algorithm.prior
    why = "parts are frozen" if torch_steps.algorithm.frozen else ""
    why = why or ("of labels, noise or a background" if torch_steps.rows.known else "")
    why = why or unavailable(starts, n_rows, torch_steps.stopping, prior)
    check(engine == "auto" or not why, "engine", "'native' to be available", f"none: {why}")
    is_native = n_rows is not None and not why and suits(engine, starts, n_rows)
    return NativeSteps(torch_steps, starts) if is_native else torch_steps


def suits(engine: str, start: GaussianMixture, n_rows: int) -> bool:
    """Whether the library is the one to take, if it can fit so many rows."""
    n_components, n_features = start.means.shape[-2:]
    is_narrow = n_components * n_features <= WIDEST[start.covariance.name]
    return engine == "native" or (is_narrow and n_rows * n_features <= _MOST_ENTRIES)
