"""All that is asked of ArviZ, in the words of what is needed; no other module calls it.

What differs between its versions is in a class for each: before version 1 draws are
``InferenceData``, from then on an xarray ``DataTree``.
"""

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
    "psis_loo",
    "smoothed_weights",
    "with_draws",
    "with_log_likelihood",
]

Groups = Mapping[str, Mapping[str, np.ndarray]]
Arrays = tuple[Any, Any]


class _Version(ABC):
    """What differs between ArviZ's versions; the functions below say what each method does."""

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
    def smoothed_weights(self, log_ratio: Any) -> Arrays: ...

    @abstractmethod
    def psis_loo(self, idata: Any) -> Arrays: ...

    @abstractmethod
    def elpd_data(self, values: Mapping[str, Any]) -> Any: ...

    @abstractmethod
    def density_estimate(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

    @abstractmethod
    def effective_sizes(self, draws: np.ndarray) -> np.ndarray: ...


class _Version0(_Version):
    """Up to 0.23."""

    def group_names(self, idata: Any) -> list[str]:
        return [*idata.groups()] if hasattr(idata, "groups") else []

    def make(self, groups: Groups, **names: Any) -> Any:
        return self.arviz.from_dict(**groups, **names)

    def data_set(self, idata: Any, group: str) -> Any:
        return idata[group]

    def replace(self, idata: Any, group: str, data_set: Any) -> None:
        setattr(idata, group, data_set)

    def smoothed_weights(self, log_ratio: Any) -> Arrays:
        return self.arviz.psislw(log_ratio)

    def psis_loo(self, idata: Any) -> Arrays:
        found = self.arviz.loo(idata, pointwise=True, scale="log")
        return found.loo_i, found.pareto_k

    def elpd_data(self, values: Mapping[str, Any]) -> Any:
        return self.arviz.stats.stats_utils.ELPDData(dict(values))

    def density_estimate(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.arviz.kde(draws)

    def effective_sizes(self, draws: np.ndarray) -> np.ndarray:
        return np.array([float(self.arviz.ess(one)) for one in draws])


class _Version1(_Version):
    """From 1.0 on."""

    _ELPD_NAMES = {"elpd_loo": "elpd", "p_loo": "p", "loo_i": "elpd_i"}

    def group_names(self, idata: Any) -> list[str]:
        return [*idata.children] if hasattr(idata, "children") else []

    def make(self, groups: Groups, **names: Any) -> Any:
        return self.arviz.from_dict(groups, **names)

    def data_set(self, idata: Any, group: str) -> Any:
        return idata[group].to_dataset()

    def replace(self, idata: Any, group: str, data_set: Any) -> None:
        idata[group] = type(idata)(data_set)

    def smoothed_weights(self, log_ratio: Any) -> Arrays:
        """Smooths where ratios differ, as ArviZ refuses those that do not."""
        from arviz_stats.base import array_stats

        values = np.asarray(log_ratio, dtype=float)
        weights = np.full(values.shape, -math.log(values.shape[-1]))
        k = np.full(values.shape[:-1], -math.inf)
        differ = np.ptp(values, -1) > 0
        if differ.any():
            weights[differ], k[differ] = array_stats.psislw(-values[differ])
        if isinstance(log_ratio, np.ndarray):
            return weights, k
        one = log_ratio.isel({log_ratio.dims[-1]: 0}, drop=True)
        return log_ratio.copy(data=weights), one.copy(data=k)

    def psis_loo(self, idata: Any) -> Arrays:
        found = self.arviz.loo(idata, pointwise=True)
        return found.elpd_i, found.pareto_k

    def elpd_data(self, values: Mapping[str, Any]) -> Any:
        from arviz_stats.utils import ELPDDataLOO

        named = {self._ELPD_NAMES.get(name, name): value for name, value in values.items()}
        return ELPDDataLOO(**named)

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


def with_log_likelihood(idata: "InferenceData", name: str, values: Any) -> "InferenceData":
    """A copy with one log-likelihood in place of all."""
    result = idata.copy()
    _version().replace(result, "log_likelihood", values.to_dataset(name=name))
    return result


def smoothed_weights(log_ratio: Any) -> Arrays:
    """Log weights that sum to one, smoothed by Pareto's distribution, and its shapes k.

    The draws are the last dimension.
    """
    return _version().smoothed_weights(log_ratio)


def psis_loo(idata: "InferenceData") -> Arrays:
    """ArviZ's own LOO of draws from the posterior: log densities of rows, and Pareto k."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of Pareto k, which is returned
        return _version().psis_loo(idata)


def elpd_data(values: Mapping[str, Any]) -> Any:
    """What ``arviz.compare`` takes, by the names of ArviZ's LOO before version 1."""
    return _version().elpd_data(values)


def density_estimate(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A kernel estimate of a density: values, and its heights there."""
    return _version().density_estimate(draws)


def effective_sizes(draws: np.ndarray) -> np.ndarray:
    """How many independent draws chains ``(Q, chain, draw)`` are worth, ``(Q,)``."""
    return _version().effective_sizes(draws)
