"""Chains that were run apart."""

import numpy as np
import pytest

from pyro_ugmm.diagnostics import concatenate_chains
from tests.diagnostics.arviz_words import draws_of

RNG = np.random.default_rng(0)


def posterior(n_chains, n_draws=20, **more):
    means = RNG.normal(size=(n_chains, n_draws, 3))
    idata = draws_of(
        posterior={"means": means, **more},
        log_likelihood={"y": RNG.normal(size=(n_chains, n_draws, 4))},
        observed_data={"y": np.arange(4.0)},
    )
    idata.posterior.attrs["inference_method"] = f"of {n_chains}"
    return idata


def test_they_are_side_by_side():
    parts = [posterior(1), posterior(2)]
    joined = concatenate_chains(*parts)
    for group, name in (("posterior", "means"), ("log_likelihood", "y")):
        expected = np.concatenate([part[group][name].values for part in parts])
        np.testing.assert_array_equal(joined[group][name], expected)
        np.testing.assert_array_equal(joined[group]["chain"], [0, 1, 2])
    np.testing.assert_array_equal(joined.observed_data["y"], np.arange(4.0))
    assert joined.posterior.attrs["inference_method"] == "of 1"
    assert parts[0].posterior.sizes["chain"] == 1  # as it was


def test_others_are_refused():
    with pytest.raises(ValueError, match="posteriors: expected one or more, got none"):
        concatenate_chains()
    with pytest.raises(ValueError, match=r"posteriors: .*others of \['log_likelihood: y', 'post"):
        concatenate_chains(posterior(1), posterior(1, n_draws=7))
    with pytest.raises(ValueError, match=r"others of \['posterior: scale'\]"):
        concatenate_chains(posterior(1), posterior(1, scale=np.ones((1, 20))))
    with pytest.raises(ValueError, match="idata: expected what to_inference_data made"):
        concatenate_chains(posterior(1), {})
