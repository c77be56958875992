"""A mixture of one dimension has a CDF and quantiles."""

import numpy as np
import pytest
import torch
from scipy import stats

from tests.distributions.mixtures import by_structure, random_mixture


@by_structure
def test_cdf_and_quantiles_in_one_dimension(structure):
    mixture, truth = random_mixture(structure, 3, 1)
    x = torch.linspace(-6, 6, 9).double().unsqueeze(-1)
    scale = np.sqrt(truth.matrices[:, 0, 0])
    expected = (truth.weights * stats.norm.cdf(x.numpy(), truth.means[:, 0], scale)).sum(-1)
    np.testing.assert_allclose(mixture.cdf(x), expected, rtol=1e-12)
    torch.testing.assert_close(mixture.icdf(mixture.cdf(x)), x)
    assert mixture.expand((4, 1)).cdf(x).shape == (4, 9)
    with pytest.raises(ValueError, match=r"value: expected rows .*\(\.\.\., 1\)"):
        mixture.cdf(x[:, 0])
    with pytest.raises(ValueError, match="value: expected a torch tensor, got float"):
        mixture.cdf(0.5)
