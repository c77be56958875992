"""All that is asked of ArviZ, in the words of what is needed; no other module calls it.

What differs between its versions is in a class for each: before version 1 draws are
``InferenceData``, from then on an xarray ``DataTree``.
"""

import contextlib
import functools
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check

if TYPE_CHECKING:
    from arviz import InferenceData

__all__ = [
    "check_inference_data",
    "density_estimate",
    "effective_sizes",
    "elpd_data",
    "group_names",
    "make_inference_data",
    "relative_efficiency",
    "smoothed_weights",
    "with_chains_of",
    "with_draws",
    "with_log_likelihood",
]

Groups = Mapping[str, Mapping[str, np.ndarray]]
Arrays = tuple[Any, Any]
_EARLIER_NAMES = {"elpd": "elpd_loo", "p": "p_loo", "elpd_i": "loo_i"}  # of LOO, before 1.0


class _Version(ABC):
    """What differs between ArviZ's versions; the functions below say what each method does."""

    ddof: int  # of the variance over rows, as numpy has it

    def __init__(self, arviz: Any) -> None:
        self.arviz = arviz

    @abstractmethod
    def group_names(self, idata: Any) -> list[str]: ...

    @abstractmethod
    def make(self, groups: Groups, **names: Any) -> Any: ...

    @abstractmethod
    def data_set(self, idata: Any, group: str) -> Any:
        """A group as xarray's ``Dataset``."""

    @abstractmethod
    def replace(self, idata: Any, group: str, data_set: Any) -> None:
        """Puts a ``Dataset`` in the place of a group."""

    @abstractmethod
    def smoothed_weights(self, log_ratio: np.ndarray, efficiency: float) -> Arrays: ...

    @abstractmethod
    def elpd_data(self, values: Mapping[str, Any]) -> Any: ...

    @abstractmethod
    def density_estimate(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    @abstractmethod
    def effective_sizes(self, draws: np.ndarray) -> np.ndarray: ...


class _Version0(_Version):
    """Up to 0.23."""

    ddof = 0

    def group_names(self, idata: Any) -> list[str]:
        return [*idata.groups()] if hasattr(idata, "groups") else []

    def make(self, groups: Groups, **names: Any) -> Any:
        return self.arviz.from_dict(**groups, **names)

    def data_set(self, idata: Any, group: str) -> Any:
        return idata[group]

    def replace(self, idata: Any, group: str, data_set: Any) -> None:
        setattr(idata, group, data_set)

    def smoothed_weights(self, log_ratio: np.ndarray, efficiency: float) -> Arrays:
        return self.arviz.psislw(log_ratio, efficiency)

    def elpd_data(self, values: Mapping[str, Any]) -> Any:
        """By the names of both versions."""
        earlier = {_EARLIER_NAMES.get(name, name): value for name, value in values.items()}
        return self.arviz.stats.stats_utils.ELPDData({**earlier, **values})

    def density_estimate(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.arviz.kde(draws)

    def effective_sizes(self, draws: np.ndarray) -> np.ndarray:
        return np.array([float(self.arviz.ess(one)) for one in draws])


class _Version1(_Version):
    """From 1.0 on."""

    ddof = 1

    def group_names(self, idata: Any) -> list[str]:
        return [*idata.children] if hasattr(idata, "children") else []

    def make(self, groups: Groups, **names: Any) -> Any:
        return self.arviz.from_dict(groups, **names)

    def data_set(self, idata: Any, group: str) -> Any:
        return idata[group].to_dataset()

    def replace(self, idata: Any, group: str, data_set: Any) -> None:
        idata[group] = type(idata)(data_set)

    def smoothed_weights(self, log_ratio: np.ndarray, efficiency: float) -> Arrays:
        """Of tails of fewer than five values, or of one, it refuses what was k = inf before."""
        from arviz_stats.base import array_stats

        weights = log_ratio - np.logaddexp.reduce(log_ratio, -1, keepdims=True)
        k = np.full(log_ratio.shape[:-1], math.inf)
        for at in np.ndindex(k.shape):
            with contextlib.suppress(ValueError):
                weights[at], k[at] = array_stats.psislw(-log_ratio[at], r_eff=efficiency)
        return weights, k

    def elpd_data(self, values: Mapping[str, Any]) -> Any:
        from arviz_stats.utils import ELPDDataLOO

        return ELPDDataLOO(**values)

    def density_estimate(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from arviz_stats.base import array_stats

        return array_stats.kde(draws)[:2]

    def effective_sizes(self, draws: np.ndarray) -> np.ndarray:
        from arviz_stats.base import array_stats

        return np.asarray(array_stats.ess(draws))


@functools.cache
def _version() -> _Version:
    """The one that is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # announces version 1 at every import
        import arviz

    return (_Version0 if arviz.__version__.startswith("0.") else _Version1)(arviz)


def group_names(idata: Any) -> list[str]:
    """The groups of InferenceData; none of anything else."""
    return _version().group_names(idata)


def check_inference_data(idata: Any, group: str = "posterior") -> None:
    """Checks that a value is InferenceData with a group."""
    groups = group_names(idata)
    got = f"groups {groups}" if groups else type(idata).__name__
    check(group in groups, "idata", f"what to_inference_data made, with a {group}", got)


def make_inference_data(
    groups: Groups,
    *,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
) -> "InferenceData":
    """Makes InferenceData of arrays by group and name; draws are ``(chain, draw)`` and more."""
    coords = {name: [*labels] for name, labels in (coords or {}).items()}
    return _version().make(groups, coords=coords, dims=dims)


def with_draws(
    idata: "InferenceData", groups: Sequence[str], chosen: np.ndarray, *, without: str
) -> "InferenceData":
    """A copy with draws chosen of the groups that are there, numbered anew, and without a name."""
    result, numbers, version = idata.copy(), np.arange(len(chosen)), _version()
    for group in {*groups} & {*group_names(idata)}:
        taken = version.data_set(idata, group).isel(draw=chosen).assign_coords(draw=numbers)
        version.replace(result, group, taken.drop_vars(without, errors="ignore"))
    return result


def with_chains_of(idatas: Sequence["InferenceData"]) -> "InferenceData":
    """A copy of the first with the chains of all, numbered anew."""
    import xarray

    result, version = idatas[0].copy(), _version()
    for group in group_names(result):
        parts = [version.data_set(idata, group) for idata in idatas]
        if "chain" in parts[0].dims:
            joined = xarray.concat(parts, "chain", combine_attrs="override")
            numbers = np.arange(joined.sizes["chain"])
            version.replace(result, group, joined.assign_coords(chain=numbers))
    return result


def with_log_likelihood(idata: "InferenceData", name: str, values: Any) -> "InferenceData":
    """A copy with one log-likelihood in place of all."""
    result = idata.copy()
    _version().replace(result, "log_likelihood", values.to_dataset(name=name))
    return result


def smoothed_weights(log_ratio: Any, efficiency: float = 1.0) -> Arrays:
    """Log weights that sum to one, smoothed by Pareto's distribution, and its shapes k.

    The draws are the last dimension; efficiency is what one is worth in independent draws. Where
    all ratios are the same there is nothing to smooth, and k is minus infinity.
    """
    values = np.asarray(log_ratio, dtype=float)
    weights = np.full(values.shape, -math.log(values.shape[-1]))
    k = np.full(values.shape[:-1], -math.inf)
    differ = np.ptp(values, -1) > 0
    if differ.any():
        weights[differ], k[differ] = _version().smoothed_weights(values[differ], efficiency)
    if isinstance(log_ratio, np.ndarray):
        return weights, k
    one = log_ratio.isel({log_ratio.dims[-1]: 0}, drop=True)
    return log_ratio.copy(data=weights), one.copy(data=k)


def relative_efficiency(idata: "InferenceData") -> float:
    """How many independent draws one of the posterior is worth, on average over its values."""
    sizes = idata.posterior.sizes
    if sizes["chain"] == 1:
        return 1.0  # as ArviZ has it
    found = _version().arviz.ess(idata, method="mean")
    effective = np.concatenate([found[name].values.ravel() for name in found.data_vars])
    return float(effective.mean()) / (sizes["chain"] * sizes["draw"])


def elpd_data(values: Mapping[str, Any]) -> Any:
    """What ``arviz.compare`` takes, of values by the names of ArviZ's LOO from version 1 on.

    The total and its standard error are those of the rows, ``elpd_i``.
    """
    rows, version = values["elpd_i"], _version()
    error = float((rows.size * rows.var(ddof=version.ddof)) ** 0.5)
    return version.elpd_data({"elpd": float(rows.sum()), "se": error, **values})


def density_estimate(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A kernel estimate of a density: values, and its heights there."""
    return _version().density_estimate(draws)


def effective_sizes(draws: np.ndarray) -> np.ndarray:
    """How many independent draws chains ``(Q, chain, draw)`` are worth, ``(Q,)``."""
    return _version().effective_sizes(draws)
