r"""Components of mixtures as points, between which distances are those of their densities.

To first order, the information of a row about a component is, with standard deviations as units,

.. math:: \lVert d\mu \rVert^2 + \tfrac12 \lVert d \log \Sigma \rVert^2 + 4 K \, (d \sqrt{w})^2

(Fisher and Rao), so that means, covariances and weights are told apart as far as data tell them.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ..checks import check
from ..distributions import GaussianMixture
from .arviz_interface import check_inference_data

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["Features", "features_of", "reference_features", "units_of"]

Features = dict[str, np.ndarray]
"""By ``means``, ``covariances`` and ``weights``: shape ``(S, K, F)``, as far as they have draws."""


def _stacked(posterior: Any, site: str, *dims: str) -> np.ndarray:
    """The draws of a site, shape ``(S,)`` and the dimensions named that it has."""
    draws = posterior[site].stack(__sample__=("chain", "draw"))
    return draws.transpose("__sample__", *(dim for dim in dims if dim in draws.dims)).values


def _has(posterior: Any, site: str) -> bool:
    """Whether a site differs between components."""
    return site in posterior and "component" in posterior[site].dims


def _means(idata: "InferenceData", name: str) -> np.ndarray:
    """The means of all draws, ``(S, K, D)``."""
    check_inference_data(idata)
    posterior = idata.posterior
    expected = "a posterior with the site means and its dimension component"
    check(_has(posterior, "means"), name, expected, f"sites {[*posterior.data_vars]}")
    return _stacked(posterior, "means", "component", "feature")


def units_of(idata: "InferenceData") -> np.ndarray:
    """The components' typical standard deviation, ``(D,)``; that of their means without one."""
    means = _means(idata, "idata")
    if "variances" not in idata.posterior:
        spread = means.reshape(-1, means.shape[-1]).std(0)
        return np.where(spread > 0, spread, 1)
    variances = idata.posterior["variances"]
    typical = np.exp(np.log(variances).mean([d for d in variances.dims if d != "feature"]) / 2)
    return np.broadcast_to(typical.values, means.shape[-1:])


def features_of(idata: "InferenceData", units: np.ndarray, name: str = "idata") -> Features:
    """The components of each draw as points, ``(S, K, F)``."""
    means, posterior = _means(idata, name), idata.posterior
    features = {"means": means / units}
    if _has(posterior, "variances"):
        variances = _stacked(posterior, "variances", "component", "feature")
        variances = variances.reshape(*means.shape[:2], -1) / np.square(units)
        scale, correlations = np.sqrt(variances)[..., None], _correlations(posterior)
        if correlations is None:
            features["covariances"] = np.log(variances) / np.sqrt(2)
        else:
            matrices = scale * correlations * scale.swapaxes(-1, -2)
            features["covariances"] = _log_of_matrices(matrices)
    if _has(posterior, "weights"):
        draws = posterior["weights"].stack(__sample__=("chain", "draw"))
        weights = draws.transpose("__sample__", "component", ...).values
        features["weights"] = _of_weights(weights.reshape(*means.shape[:2], -1))
    return features


def _correlations(posterior: Any) -> np.ndarray | None:
    """The correlation matrices of all draws, ``(S, K, D, D)``, if components have their own."""
    if _has(posterior, "correlations"):
        factor = _stacked(posterior, "correlations", "component", "feature", "feature_before")
        return factor @ factor.swapaxes(-1, -2)
    if _has(posterior, "loadings"):
        loadings = _stacked(posterior, "loadings", "component", "feature", "common_factor")
        shared = loadings @ loadings.swapaxes(-1, -2)
        matrices = shared + np.eye(shared.shape[-1])
        scale = np.sqrt(np.diagonal(matrices, axis1=-2, axis2=-1))
        return matrices / (scale[..., :, None] * scale[..., None, :])
    return None


def _of_weights(weights: np.ndarray) -> np.ndarray:
    """Of one mixture or of the rows' share in each of several, ``(S, K, G)``."""
    _, n_components, n_groups = weights.shape
    return 2 * np.sqrt(n_components / n_groups * weights)


def _log_of_matrices(matrices: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrices)
    values = np.log(np.maximum(values, np.finfo(values.dtype).tiny))
    logarithm = (vectors * values[..., None, :]) @ vectors.swapaxes(-1, -2)
    return logarithm.reshape(*logarithm.shape[:-2], -1) / np.sqrt(2)


def _of_mixture(mixture: GaussianMixture, units: np.ndarray) -> Features:
    means = mixture.means.numpy(force=True)
    matrices = mixture.covariance.dense(*means.shape).numpy(force=True)
    return {
        "means": means[None] / units,
        "covariances": _log_of_matrices(matrices / np.outer(units, units))[None],
        "weights": _of_weights(mixture.weights.numpy(force=True)[None, :, None]),
    }


def reference_features(reference: Any, units: np.ndarray, n_components: int) -> Features:
    """The components of a reference as points: of a posterior, a mixture or means ``(K, D)``."""
    if isinstance(reference, Tensor):
        reference = reference.numpy(force=True)
    if isinstance(reference, GaussianMixture):
        shape, batch = tuple(reference.means.shape), tuple(reference.batch_shape)
        check(batch == (), "reference", "a mixture without a batch", f"batch_shape {batch}")
    elif isinstance(reference, np.ndarray):
        shape = reference.shape
    else:
        kinds, got = "another posterior, a mixture, or means", type(reference).__name__
        check(hasattr(reference, "posterior"), "reference", kinds, got)
        shape = _means(reference, "reference").shape[1:]
    expected = (n_components, len(units))
    check(shape == expected, "reference", f"means of shape {expected}", shape)
    if isinstance(reference, GaussianMixture):
        return _of_mixture(reference, units)
    if isinstance(reference, np.ndarray):
        return {"means": reference[None] / units}
    return features_of(reference, units, "reference")
