"""Chains that were run apart, as one posterior."""

from typing import TYPE_CHECKING

from ..checks import check
from .arviz_interface import check_inference_data, group_names, with_chains_of

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["concatenate_chains"]


def concatenate_chains(*posteriors: "InferenceData") -> "InferenceData":
    """Puts the chains of several posteriors of the same data side by side, numbered anew.

    Chains that start where each is told, or run on machines of their own, are compared so.

    Args:
        *posteriors: what :func:`to_inference_data` made of a model, one after the other; what they
            have in common, such as the data and ``attrs``, is taken from the first.

    Raises:
        ValueError: if they differ in groups, sites, or shapes other than the number of chains.

    Example:
        >>> import torch
        >>> from pyro.infer import MCMC, NUTS
        >>> from pyro_ugmm.diagnostics import concatenate_chains, to_inference_data
        >>> from pyro_ugmm.models import BayesianGaussianMixture
        >>> x, model = torch.randn(12, 1), BayesianGaussianMixture(1, 1)
        >>> runs = [MCMC(NUTS(model), 5, 5, disable_progbar=True) for _ in range(2)]
        >>> for run in runs:
        ...     run.run(x)
        >>> chains = concatenate_chains(*(to_inference_data(model, run, x) for run in runs))
        >>> chains.posterior["means"].shape
        (2, 5, 1, 1)
    """
    check(posteriors, "posteriors", "one or more", "none")
    for idata in posteriors:
        check_inference_data(idata)
    first, *others = (
        {
            f"{group}: {name}": values.isel(chain=0).sizes
            for group in group_names(idata)
            for name, values in idata[group].data_vars.items()
            if "chain" in values.dims
        }
        for idata in posteriors
    )
    for layout in others:
        expected = f"chains of the same sites and lengths, {[*map(str, first)]}"
        differ = sorted(name for name in {*first, *layout} if first.get(name) != layout.get(name))
        check(not differ, "posteriors", expected, f"others of {differ}")
    return with_chains_of(posteriors)
