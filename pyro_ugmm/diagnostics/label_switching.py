"""Components matched across draws of a mixture's posterior."""

import itertools
import warnings
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ..distributions import GaussianMixture
from .component_features import Features, features_of, reference_features, units_of

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["relabel"]

_MOST_PASSES = 50
_LEAST_DISTANCE = 2  # in standard deviations
_MOST_SAID = 3


def relabel(
    idata: "InferenceData", reference: "InferenceData | GaussianMixture | Tensor | None" = None
) -> "InferenceData":
    r"""Orders the components of each draw so that they are the same ones in all draws.

    A mixture's posterior is the same in every order of the components, so chains, and long chains
    within themselves, switch between orders; means over draws then mean nothing. A
    component of draw :math:`s` is a point :math:`z_{sk}`, of its mean in units of the components'
    typical standard deviation, of the logarithm of its covariance in these units over
    :math:`\sqrt 2`, and of its weight as :math:`2 \sqrt{K w}`, as far as these have draws: so that
    squared distances are information about rows (Fisher and Rao). This finds orders :math:`\pi_s`
    and centers :math:`c` by turns that lower

    .. math:: \sum_s \sum_k \lVert z_{s \pi_s(k)} - c_k \rVert^2

    Each order is an assignment, by ``scipy.optimize.linear_sum_assignment``. Components come out
    in the order of their average weights, if these have draws, the heaviest first; or as those of
    a reference do, so that two posteriors can be compared. What labels name keeps its place
    (``given="labels"``): there is nothing to switch. Source: Stephens (2000), *Dealing with
    label switching in mixture models*, JRSS B 62(4).

    Args:
        idata: what :func:`to_inference_data` made of a
            :class:`~pyro_ugmm.models.BayesianGaussianMixture`.
        reference: another posterior, relabeled; a mixture, such as EM's; or means of shape
            ``(K, D)``. Components come out in its order.

    Returns:
        A copy with the posterior relabeled; what does not depend on labels is as it was. The
        posterior's ``attrs`` say by ``relabeled`` which components cannot be told apart, and so
        does a warning if there are any.

    Raises:
        ValueError: if the posterior has no site ``means`` with components, or the reference has
            means of another shape.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import relabel, to_inference_data
        >>> from pyro_ugmm.em import EMFitter, initialize
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.cat([torch.randn(20, 1) - 3, torch.randn(20, 1) + 3])
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> em = EMFitter().fit(x, initialize(x, n_components=2, seed=0))
        >>> guide = mean_field(model, start=em.mixture, x=x)
        >>> idata = to_inference_data(model, guide, x, num_samples=100, seed=0)
        >>> low_first = relabel(idata, reference=torch.tensor([[-3.0], [3.0]]))
        >>> low_first.posterior["means"].mean(("chain", "draw")).diff("component").item() > 0
        True
    """
    units = units_of(idata)
    features, posterior = features_of(idata, units), idata.posterior
    points = np.concatenate([*features.values()], -1)
    free = _without_labels(idata, points.shape[1])
    order = _matched(points, free)
    n_components = order.shape[1]
    if reference is not None:
        wanted = reference_features(reference, units, n_components)
        order = order[:, _nearest(*_averages(features, order, wanted), free)]
    elif "weights" in features:
        heaviest_first = np.argsort(-_ordered(features["weights"], order).mean((0, 2))[free])
        order[:, free] = order[:, free[heaviest_first]]
    result = idata.copy()
    by_draw = order.reshape(posterior.sizes["chain"], posterior.sizes["draw"], -1)
    for name, site in posterior.data_vars.items():
        if "component" in site.dims:
            axis = site.get_axis_num("component")
            index = np.moveaxis(by_draw.reshape(*by_draw.shape, *(1,) * (site.ndim - 3)), 2, axis)
            result.posterior[name] = site.copy(data=np.take_along_axis(site.values, index, axis))
    note = _said_of(_alike(_ordered(points, order)))
    if note:
        warnings.warn(note, stacklevel=2)
    result.posterior.attrs["relabeled"] = note or "all components are told apart"
    return result


def _ordered(points: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Points ``(S, K, F)`` of each draw in its order ``(S, K)``."""
    return np.take_along_axis(points, order[..., None], 1)


def _averages(
    features: Features, order: np.ndarray, wanted: Features
) -> tuple[np.ndarray, np.ndarray]:
    """The components' averages, and a reference's, in what they share."""
    own, others = [], []
    for name in [name for name in wanted if name in features]:
        a, b = _ordered(features[name], order).mean(0), wanted[name].mean(0)
        size = max(a.shape[-1], b.shape[-1])
        own.append(_of_size(a, size))
        others.append(_of_size(b, size))
    return np.concatenate(own, -1), np.concatenate(others, -1)


def _of_size(points: np.ndarray, size: int) -> np.ndarray:
    """Points ``(K, F)``, those of variances as those of matrices if matrices stand against them."""
    if points.shape[-1] == size:
        return points
    return (points[..., None] * np.eye(points.shape[-1])).reshape(-1, size)


def _without_labels(idata: "InferenceData", n_components: int) -> np.ndarray:
    """The components that no row is known to be of, which alone have no names of their own."""
    constants = getattr(idata, "constant_data", {})
    named = np.unique(constants["labels"].values) if "labels" in constants else ()
    return np.setdiff1d(np.arange(n_components), named)


def _nearest(points: np.ndarray, centers: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The order of points ``(K, F)`` in which those that are free are closest to centers."""
    from scipy.optimize import linear_sum_assignment

    order = np.arange(len(points))
    # The sum of squares depends on the order by the products alone.
    order[free] = free[linear_sum_assignment(centers[free] @ points[free].T, maximize=True)[1]]
    return order


def _matched(points: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Finds the order of each draw's components, ``(S, K)``, of points ``(S, K, F)``."""
    n_draws, n_components, _ = points.shape
    order = np.tile(np.arange(n_components), (n_draws, 1))
    centers = points[-1]
    for _ in range(_MOST_PASSES):
        nearest = np.stack([_nearest(one, centers, free) for one in points])
        if np.array_equal(nearest, order):
            break
        order = nearest
        centers = _ordered(points, order).mean(0)
    return order


def _alike(points: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of components whose labels are by chance in some draws.

    Their difference, along its average, is near zero there: less than two of its standard
    deviations from it on average. If the two are alike, and ordered by chance, it is 1.3 of them.
    """
    centers, alike = points.mean(0), []
    for first, second in itertools.combinations(range(len(centers)), 2):
        along = (points[:, first] - points[:, second]) @ (centers[first] - centers[second])
        if not along.mean() > _LEAST_DISTANCE * along.std():
            alike.append((first, second))
    return alike


def _said_of(alike: list[tuple[int, int]]) -> str:
    """Says in words which components cannot be told apart."""
    if not alike:
        return ""
    pairs = ", ".join(f"{first} and {second}" for first, second in alike[:_MOST_SAID])
    more = f" and {len(alike) - _MOST_SAID} pairs more" if len(alike) > _MOST_SAID else ""
    return (
        f"components {pairs}{more} cannot be told apart in some draws, where their order is by "
        "chance: what is averaged over draws of one of them is of both"
    )
