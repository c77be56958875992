"""All that is asked of ArviZ, in the words of what is needed; no other module calls it.

It is version 0.23; from version 1 on, InferenceData is a DataTree, and other functions take
other arguments.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check

if TYPE_CHECKING:
    from arviz import InferenceData

__all__ = [
    "check_inference_data",
    "density_estimate",
    "elpd_data",
    "group_names",
    "make_inference_data",
    "psis_loo",
    "smoothed_weights",
    "with_draws",
]


def _arviz() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # announces version 1 at every import
        import arviz

    return arviz


def group_names(idata: Any) -> list[str]:
    """The groups of InferenceData; none of anything else."""
    return [*idata.groups()] if hasattr(idata, "groups") else []


def check_inference_data(idata: Any, group: str = "posterior") -> None:
    """Checks that a value is InferenceData with a group."""
    groups = group_names(idata)
    got = f"groups {groups}" if groups else type(idata).__name__
    check(group in groups, "idata", f"what to_inference_data made, with a {group}", got)


def make_inference_data(
    groups: Mapping[str, Mapping[str, np.ndarray]],
    *,
    coords: Mapping[str, Sequence[Any]],
    dims: Mapping[str, Sequence[str]],
) -> "InferenceData":
    """Makes InferenceData of arrays by group and name; draws are ``(chain, draw)`` and more."""
    return _arviz().from_dict(
        **groups, coords={name: [*labels] for name, labels in coords.items()}, dims=dims
    )


def with_draws(
    idata: "InferenceData", groups: Sequence[str], chosen: np.ndarray, *, without: str
) -> "InferenceData":
    """A copy with draws chosen of the groups that are there, numbered anew, and without a name."""
    result, numbers = idata.copy(), np.arange(len(chosen))
    for group in {*groups} & {*group_names(idata)}:
        taken = idata[group].isel(draw=chosen).assign_coords(draw=numbers)
        setattr(result, group, taken.drop_vars(without, errors="ignore"))
    return result


def smoothed_weights(log_ratio: Any) -> tuple[Any, Any]:
    """Log weights that sum to one, smoothed by Pareto's distribution, and its shapes k.

    The draws are the last dimension.
    """
    return _arviz().psislw(log_ratio)


def psis_loo(idata: "InferenceData") -> Any:
    """ArviZ's own LOO, row by row, of draws from the posterior."""
    return _arviz().loo(idata, pointwise=True)


def elpd_data(values: Mapping[str, Any]) -> Any:
    """What ``arviz.compare`` takes, by the names of ArviZ's LOO."""
    return _arviz().stats.stats_utils.ELPDData(dict(values))


def density_estimate(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A kernel estimate of a density: values, and its heights there."""
    return _arviz().kde(draws)
