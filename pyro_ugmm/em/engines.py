"""Which engine takes the steps of EM."""

from ..checks import check, check_choice
from ..distributions import GaussianMixture
from .native_steps import NativeSteps, Workload, unavailable
from .torch_steps import TorchSteps

__all__ = ["ENGINES", "check_engine", "steps_by", "suits"]

ENGINES = ("auto", "torch", "native")

_MOST_PRODUCTS = 1e9


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
    why = unavailable(starts, n_rows, torch_steps.stopping, prior)
    check(engine == "auto" or not why, "engine", "'native' to be available", f"none: {why}")
    return (
        torch_steps
        if why or not suits(engine, starts, n_rows)
        else NativeSteps(torch_steps, starts)
    )


def suits(engine: str, starts: GaussianMixture, n_rows: int | None) -> bool:
    """Whether the library is the one to take, if it can."""
    if engine == "native":
        return True
    return n_rows is not None and Workload(starts, n_rows).n_products < _MOST_PRODUCTS
