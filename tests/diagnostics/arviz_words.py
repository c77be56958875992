"""What ArviZ calls otherwise before version 1 and from then on, in words of one's own."""

import arviz as az
import numpy as np

from pyro_ugmm.diagnostics.arviz_interface import make_inference_data

IS_BEFORE_1 = az.__version__.startswith("0.")
TOTAL, PARAMETERS, BY_ROW = (
    ("elpd_loo", "p_loo", "loo_i") if IS_BEFORE_1 else ("elpd", "p", "elpd_i")
)


def draws_of(dims=None, **groups):
    """InferenceData of arrays ``(chain, draw, ...)`` by group and name."""
    return make_inference_data(groups, dims=dims)


def posterior_of(idata, *names):
    """InferenceData of some sites of a posterior alone."""
    return draws_of(posterior={name: idata.posterior[name].values for name in names})


def plot_predictions(idata, group="posterior"):
    if IS_BEFORE_1:
        return az.plot_ppc(idata, group=group, num_pp_samples=5)
    return az.plot_ppc_dist(idata, group=f"{group}_predictive", num_samples=5)


def plot_probability_transforms(idata, name):
    return az.plot_loo_pit(idata, **{"y" if IS_BEFORE_1 else "var_names": name})


def plot_pair(idata, name):
    shown = {"divergences": True} if IS_BEFORE_1 else {"visuals": {"divergence": True}}
    return az.plot_pair(idata, var_names=[name], **shown)


def energy_fractions(idata):
    """The Bayesian fraction of missing information of each chain."""
    fractions = az.bfmi(idata)
    return fractions if IS_BEFORE_1 else np.asarray(fractions["energy"])
