"""Rows that leave a covariance singular but for rounding, and what has to come of a fit to them."""

import math

import torch

from pyro_ugmm.distributions.covariance import STRUCTURES
from pyro_ugmm.em import ConjugatePrior, EMFitter

from .cases import initialized, parameters


def few_distinct(noise, n_features):
    return noise(5, n_features)[torch.randint(5, (20,))]


def collinear(noise, n_features):
    return noise(20, 1) @ noise(1, n_features) + 1e-6 * noise(20, n_features)


def half_copies(noise, n_features):
    return torch.cat([torch.zeros(10, n_features), noise(10, n_features)])


def of_many_scales(noise, n_features):
    return noise(20, n_features) * 10.0 ** torch.linspace(-4, 4, n_features)


def far_away(noise, n_features):
    return noise(20, n_features) + 1e6


ROWS = [few_distinct, collinear, half_copies, of_many_scales, far_away]
SETTINGS = {
    "plain": {},
    "no floor": {"reg_covar": 0.0},
    "tiny floor": {"reg_covar": 1e-300},
    "restarts": {"n_init": 3},
    "missing": {"missing": "marginalize"},
    "weights": {"weight": torch.linspace(1e-3, 1e3, 20)},
    "prior": {"prior": {"covariance_strength": 4.0}},
    "prior of the means": {"reg_covar": 0.0, "prior": {"mean_strength": 0.1}},
}


def assert_ends_well(x, structure, seed, n_init=1, weight=None, prior=None, **options):
    weight = None if weight is None else weight.to(x)
    reg_covar, missing = options.get("reg_covar", 1e-6), options.get("missing", "error")
    if missing == "marginalize":
        holes = torch.rand(x.shape) < 0.2
        holes[:2] = False
        holes[:, 0] = False
        x = torch.where(holes, torch.nan, x)
    n_components = 2 + seed % 5
    start = initialized(
        x,
        n_components,
        structure,
        n_init=n_init,
        seed=seed,
        sample_weight=weight,
        reg_covar=reg_covar,
        missing=missing,
    )
    if prior is not None:
        scale = x.nan_to_num().square().mean() + 1e-30
        n_features = x.shape[1]
        prior = ConjugatePrior(x.nanmean(0), scale * torch.eye(n_features).to(x), **prior)
    fitter = EMFitter(max_iter=30, reg_covar=reg_covar, prior=prior, progress=False)
    result = fitter.fit(x, start, weight)
    assert result.report and result.history.isfinite().all()
    assert math.isfinite(result.log_likelihood) and result.restarts.isfinite().all()
    assert all(tensor.isfinite().all() for tensor in parameters(result.mixture))
    # The matrices alone can be factored anew.
    STRUCTURES[structure](*parameters(result.mixture)[2:], validate_args=True)
    assert result.mixture.log_prob(x).isfinite().all()
