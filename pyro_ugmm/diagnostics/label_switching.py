"""Components matched across draws of a mixture's posterior."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..checks import check
from ..distributions import GaussianMixture
from .groups import check_inference_data

if TYPE_CHECKING:
    from arviz import InferenceData

__all__ = ["relabel"]

_MOST_PASSES = 50


def relabel(
    idata: "InferenceData", reference: "InferenceData | GaussianMixture | Tensor | None" = None
) -> "InferenceData":
    r"""Orders the components of each draw so that they are the same ones in all draws.

    A mixture's posterior is the same in every order of the components, so chains, and long chains
    within themselves, switch between orders; means over draws then mean nothing. With
    :math:`\mu_{sk}` the means of draw :math:`s`, in units of their spread over all draws, this
    finds orders :math:`\pi_s` and centers :math:`c` by turns that lower

    .. math:: \sum_s \sum_k \lVert \mu_{s \pi_s(k)} - c_k \rVert^2

    Each order is an assignment, by ``scipy.optimize.linear_sum_assignment``. Components come out
    in the order of their average weights, if these have draws, the heaviest first; or as those of
    a reference do, so that two posteriors can be compared. Source: Stephens (2000), *Dealing with
    label switching in mixture models*, JRSS B 62(4).

    Args:
        idata: what :func:`to_inference_data` made of a
            :class:`~pyro_ugmm.models.BayesianGaussianMixture`.
        reference: another posterior, relabeled; a mixture, such as EM's; or means of shape
            ``(K, D)``. Components come out in its order.

    Returns:
        A copy with the posterior relabeled; what does not depend on labels is as it was.

    Raises:
        ValueError: if the posterior has no site ``means`` with components, or the reference has
            means of another shape.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import relabel, to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import BayesianGaussianMixture, Priors
        >>> x = torch.cat([torch.randn(20, 1) - 3, torch.randn(20, 1) + 3])
        >>> model = BayesianGaussianMixture(2, 1, priors=Priors.from_data(x))
        >>> idata = to_inference_data(model, mean_field(model), x, num_samples=100, seed=0)
        >>> low_first = relabel(idata, reference=torch.tensor([[-3.0], [3.0]]))
        >>> low_first.posterior["means"].mean(("chain", "draw")).diff("component").item() > 0
        True
    """
    means = _means(idata)
    posterior = idata.posterior
    spread = means.reshape(-1, means.shape[-1]).std(0)
    spread = np.where(spread > 0, spread, 1)
    order = _matched(means / spread)
    if reference is not None:
        centers = np.take_along_axis(means, order[..., None], 1).mean(0)
        order = order[:, _nearest(centers / spread, _reference(reference, centers) / spread)]
    elif "weights" in posterior:
        stacked = posterior.stack(__sample__=("chain", "draw"))
        weights = stacked["weights"].transpose("__sample__", "component").values
        order = order[:, np.argsort(-np.take_along_axis(weights, order, 1).mean(0))]
    result = idata.copy()
    by_draw = order.reshape(posterior.sizes["chain"], posterior.sizes["draw"], -1)
    for name, site in posterior.data_vars.items():
        if "component" in site.dims:
            axis = site.get_axis_num("component")
            index = np.moveaxis(by_draw.reshape(*by_draw.shape, *(1,) * (site.ndim - 3)), 2, axis)
            result.posterior[name] = site.copy(data=np.take_along_axis(site.values, index, axis))
    return result


def _means(idata: "InferenceData", name: str = "idata") -> np.ndarray:
    """The means of all draws, ``(S, K, D)``."""
    check_inference_data(idata)
    posterior = idata.posterior
    expected = "a posterior with the site means and its dimension component"
    valid = "means" in posterior and "component" in posterior["means"].dims
    check(valid, name, expected, f"sites {[*posterior.data_vars]}")
    stacked = posterior.stack(__sample__=("chain", "draw"))
    return stacked["means"].transpose("__sample__", "component", "feature").values


def _reference(reference: Any, like: np.ndarray) -> np.ndarray:
    """The means of a reference, ``(K, D)``."""
    if isinstance(reference, GaussianMixture):
        reference = reference.means
    if isinstance(reference, Tensor):
        reference = reference.numpy(force=True)
    if isinstance(reference, np.ndarray):
        found = reference
    else:
        expected = "another posterior, a mixture, or means"
        is_posterior = hasattr(reference, "posterior")
        check(is_posterior, "reference", expected, type(reference).__name__)
        found = _means(reference, "reference").mean(0)
    check(found.shape == like.shape, "reference", f"means of shape {like.shape}", found.shape)
    return found


def _nearest(centers: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The order of centers ``(K, D)`` in which they are closest to a reference."""
    from scipy.optimize import linear_sum_assignment

    # The sum of squares depends on the order by the products alone.
    return linear_sum_assignment(reference @ centers.T, maximize=True)[1]


def _matched(means: np.ndarray) -> np.ndarray:
    """Finds the order of each draw's components, ``(S, K)``, of means ``(S, K, D)``."""
    n_draws, n_components, _ = means.shape
    order = np.tile(np.arange(n_components), (n_draws, 1))
    centers = means[-1]
    for _ in range(_MOST_PASSES):
        found = np.stack([_nearest(one, centers) for one in means])
        if np.array_equal(found, order):
            break
        order = found
        centers = np.take_along_axis(means, order[..., None], 1).mean(0)
    return order
