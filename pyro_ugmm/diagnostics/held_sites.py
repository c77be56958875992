"""Sites that a guide holds at a point, which the ratios of posterior and guide cannot see."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .arviz_interface import group_names

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["held_sites"]

_ROUNDING = 8  # in units of the last place
_LEAST_SHARE = 1e-8  # of the prior's standard deviation


def _numbers(draws: Any) -> np.ndarray:
    """Draws of a site as ``(S,)`` and its own dimensions."""
    return draws.values.reshape(-1, *draws.shape[2:])


def _is_constant(draws: np.ndarray) -> np.ndarray:
    """Which numbers of draws ``(S, ...)`` differ by no more than rounding."""
    tolerance = _ROUNDING * np.finfo(draws.dtype).eps * np.abs(draws).max(0)
    return np.ptp(draws, 0) <= tolerance


def _follows(draws: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Which numbers follow from the others of their row: one of a simplex, or of a unit vector.

    Where the others are small it hardly varies, though they do: the largest.
    """
    follows = np.zeros(prior.shape[1:], dtype=bool)
    if prior.ndim < 2 or prior.shape[-1] < 2:
        return follows
    given = np.isclose(prior.sum(-1), 1).all(0) | np.isclose(np.square(prior).sum(-1), 1).all(0)
    largest = np.abs(draws).mean(0).argmax(-1)
    np.put_along_axis(follows, largest[..., None], given[..., None], -1)
    return follows


def held_sites(idata: "InferenceData") -> list[str]:
    """Names the sites of which a number is the same in all draws, though the prior leaves it open.

    Without draws from the prior it is the sites of which no number varies.

    Args:
        idata: draws from a guide, and from the prior.
    """
    held = []
    prior = idata.prior if "prior" in group_names(idata) else {}
    for name, site in idata.posterior.data_vars.items():
        draws = _numbers(site)
        is_held = _is_constant(draws)
        if name in prior:
            open_draws = _numbers(prior[name])
            # Numbers of one sign may be small and vary by factors.
            unit = np.where(open_draws.min(0) < 0, open_draws.std(0), 0)
            is_held |= np.ptp(draws, 0) <= _LEAST_SHARE * unit
            is_held &= ~_is_constant(open_draws) & ~_follows(draws, open_draws)
            is_named = is_held.any()
        else:
            is_named = is_held.all()
        if is_named:
            held.append(str(name))
    return held
