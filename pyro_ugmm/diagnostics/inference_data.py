"""Posterior draws as ArviZ's InferenceData."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
from torch import Tensor

from ..checks import check
from ..models import UGMMClassifier
from .draws import evaluation, log_density, vectorized_trace

if TYPE_CHECKING:
    from arviz import InferenceData

__all__ = ["pareto_k", "to_inference_data"]

_LEAST_DRAWS = 100


def to_inference_data(
    model: UGMMClassifier,
    guide: Callable,
    x: Tensor,
    y: Tensor | None = None,
    num_samples: int = 500,
    *,
    coords: Mapping[str, Sequence[Any]] | None = None,
    seed: int | None = None,
) -> "InferenceData":
    r"""Draws from a fitted guide and collects them for ArviZ.

    The groups are ``prior``, ``prior_predictive``, ``posterior``, ``posterior_predictive`` and
    ``constant_data`` (the features ``x``); given labels, also ``log_likelihood`` (per row),
    ``observed_data`` and ``sample_stats``, which holds :math:`\log p(y, \theta)` as ``log_p`` and
    :math:`\log q(\theta)` as ``log_q``. The draws are one chain, and independent: R-hat and
    effective sample sizes say nothing about how well the guide fits; :func:`pareto_k` does.

    The dimensions are ``observation``, ``input``, ``class`` and ``neuron_0``, ``neuron_1``, ...
    for the hidden layers.

    Args:
        model: the model.
        guide: its fitted guide.
        x: features, shape ``(n, K)``.
        y: labels, shape ``(n,)``.
        num_samples: the number of draws.
        coords: labels along dimensions, such as ``{"input": feature_names}``.
        seed: for the draws; torch's generator is used, and left alone if given.

    Raises:
        ValueError: if the data do not fit the model, or the model has no priors.

    Example:
        >>> import torch
        >>> from pyro_ugmm.diagnostics import to_inference_data
        >>> from pyro_ugmm.guides import mean_field
        >>> from pyro_ugmm.models import Priors, UGMMClassifier
        >>> from pyro_ugmm.nn import UGMMNetwork
        >>> model = UGMMClassifier(UGMMNetwork([4, 8, 3]), Priors())
        >>> x, y = torch.randn(20, 4), torch.arange(20) % 3
        >>> idata = to_inference_data(model, mean_field(model), x, y, num_samples=100)
        >>> idata.posterior["layers.0.loc"].dims
        ('chain', 'draw', 'neuron_0', 'input')
    """
    from ._arviz import arviz

    model.check_data(x, y)
    dims = model.dims()
    latent = [site for site in dims if site != "y"]
    check(latent, "model", "a model with priors", "priors=None, which leaves nothing to infer")
    names = {name for sites in dims.values() for name in sites}
    unknown = sorted(set(coords or {}) - names)
    check(not unknown, "coords", f"dimensions among {sorted(names)}", unknown)

    def latent_draws(trace: Any) -> dict[str, Any]:
        return {
            site: trace.nodes[site]["value"].squeeze(-3).unsqueeze(0).cpu().numpy()
            for site in latent
        }

    def of_y(trace: Any, key: str) -> dict[str, Any]:
        return {"y": trace.nodes["y"][key].unsqueeze(0).cpu().numpy()}

    with evaluation(model, seed):
        prior = vectorized_trace(model, num_samples, x)
        drawn = vectorized_trace(guide, num_samples, x, y)
        predictive = vectorized_trace(model, num_samples, x, latent=drawn)
        groups = {
            "prior": latent_draws(prior),
            "prior_predictive": of_y(prior, "value"),
            "posterior": latent_draws(predictive),
            "posterior_predictive": of_y(predictive, "value"),
            "constant_data": {"x": x.cpu().numpy()},
        }
        if y is not None:
            conditioned = vectorized_trace(model, num_samples, x, y, latent=drawn)
            log_p, log_q = (log_density(trace, num_samples) for trace in (conditioned, drawn))
            groups |= {
                "log_likelihood": of_y(conditioned, "log_prob"),
                "observed_data": {"y": y.cpu().numpy()},
                "sample_stats": {
                    "log_p": log_p.unsqueeze(0).cpu().numpy(),
                    "log_q": log_q.unsqueeze(0).cpu().numpy(),
                },
            }
    idata = arviz.from_dict(
        **groups, coords=dict(coords or {}), dims=dims | {"x": ["observation", "input"]}
    )
    idata.posterior.attrs |= {
        "inference_library": "pyro-ppl",
        "inference_library_version": pyro.__version__,
        "inference_method": "independent draws from a guide fitted by variational inference",
        "guide": type(guide).__name__,
    }
    return idata


def pareto_k(idata: "InferenceData") -> tuple[float, str]:
    r"""Judges a guide by the tail of the ratios :math:`p(y, \theta) / q(\theta)` of its draws.

    Fits a generalized Pareto distribution to the largest ratios and returns its shape
    :math:`\hat k`, with the verdict in words. Source: Yao, Vehtari, Simpson and Gelman (2018),
    arXiv:1802.02538.

    Args:
        idata: what :func:`to_inference_data` made, given labels.

    Raises:
        ValueError: if the log densities are not there.
    """
    from ._arviz import arviz

    check(
        "sample_stats" in idata.groups(),
        "idata",
        "a group sample_stats with log_p and log_q",
        f"groups {idata.groups()}",
    )
    log_ratio = (idata.sample_stats["log_p"] - idata.sample_stats["log_q"]).values.reshape(-1)
    spans = idata.posterior.max("draw") - idata.posterior.min("draw")
    varies = any(bool((span > 0).any()) for span in spans.values())
    if len(log_ratio) < _LEAST_DRAWS or not varies:
        return math.nan, f"not to be told from fewer than {_LEAST_DRAWS} draws, or draws all alike"
    is_constant = np.ptp(log_ratio) < 1e-6 * max(1.0, float(np.abs(log_ratio).max()))
    k = -math.inf if is_constant else float(arviz.psislw(log_ratio)[1])
    if k < 0.7:
        verdict = "the guide is close to the posterior; importance weights can correct the rest"
    else:
        verdict = (
            "the guide is too narrow, or misses dependence between parameters: trust its "
            "predictions after checking them on held-out rows, not its intervals"
        )
    return k, verdict
