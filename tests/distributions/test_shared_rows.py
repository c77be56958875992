"""A batch of mixtures at rows that all share: values and gradients, against torch's own."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from pyro_ugmm.distributions import (
    DiagonalCovariance,
    FullCovariance,
    GaussianMixture,
    SphericalCovariance,
    TiedCovariance,
)
from pyro_ugmm.distributions.components import Components
from pyro_ugmm.distributions.shared_rows import log_prob_of_shared_rows

STRUCTURES = {
    "full": lambda factor: FullCovariance.from_factor(factor),
    "tied": lambda factor: TiedCovariance.from_factor(factor[..., 0, :, :]),
    "diagonal": lambda factor: DiagonalCovariance(
        factor.diagonal(dim1=-2, dim2=-1).square(), validate_args=False
    ),
    "spherical": lambda factor: SphericalCovariance(
        factor[..., 0, 0].square(), validate_args=False
    ),
}


def parameters(n_draws, n_components, n_features, dtype, width=1.0):
    shape = (n_draws, 1, n_components)
    weights = torch.randn(shape, dtype=torch.float64).softmax(-1)
    means = torch.randn(*shape, n_features, dtype=torch.float64)
    factor = 0.3 * torch.randn(*shape, n_features, n_features, dtype=torch.float64).tril(-1)
    factor = width * (factor + torch.diag_embed(torch.rand(*shape, n_features) + 0.3))
    return [t.to(dtype).requires_grad_() for t in (weights, means, factor)]


def reference(x, weights, means, factor, structure):
    """The same by torch's own normal distribution, in double precision."""
    covariance = STRUCTURES[structure](factor).dense(*means.shape[-2:])
    rows = MultivariateNormal(means, covariance)
    return (weights.log() + rows.log_prob(x.unsqueeze(-2))).logsumexp(-1)


def evaluated(x, tensors, structure, **options):
    weights, means, factor = tensors
    covariance = STRUCTURES[structure](factor)
    mixture = GaussianMixture(weights, means, covariance, validate_args=False, **options)
    return mixture.log_prob(x)


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(5, 3, 2, 20), (2, 1, 1, 7), (3, 2, 4, 1), (1, 2, 3, 9)])
@pytest.mark.parametrize(("width", "center"), [(1.0, 0.0), (1.0, 300.0), (1e-3, 0.0), (1e-5, 50.0)])
def test_values_and_gradients(structure, dtype, sizes, width, center):
    """Wide and narrow components, in the form that serves or in the other."""
    *of_draws, n_rows = sizes
    tensors = parameters(*of_draws, dtype, width)
    x = torch.randn(n_rows, of_draws[-1], dtype=torch.float64).to(dtype) + center
    with torch.no_grad():
        tensors[1] += center
    wide = [t.detach().double().requires_grad_() for t in tensors]
    expected = reference(x.double(), *wide, structure)
    found = evaluated(x, tensors, structure)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), expected, rtol=200 * eps, atol=200 * eps)
    pairs = zip(
        torch.autograd.grad(found.mean(), tensors),
        torch.autograd.grad(expected.mean(), wide),
        strict=True,
    )
    for mine, theirs in pairs:
        if mine.dim() == tensors[2].dim():  # of a factor, whose upper part nobody reads
            mine, theirs = mine.tril(), theirs.tril()
        scale = float(theirs.abs().max())
        torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=1000 * eps * scale)


def serves(structure="full", width=1.0, rows=(20, 2), dtype=torch.float64, **changes):
    """Whether the form does for such draws, given how they are changed."""
    weights, means, factor = parameters(4, 3, 2, dtype, width)
    components = Components(weights, means, STRUCTURES[structure](factor))
    x = torch.randn(*rows, dtype=dtype, requires_grad=changes.get("differentiates", False))
    if changes.get("is_beside"):
        components = components.expand((4, rows[0]))
    parts = []

    def otherwise(x, few):
        parts.append(few.batch_shape)
        return few.weights.new_zeros(*few.batch_shape[:1], len(x))

    result = log_prob_of_shared_rows(x, components, otherwise)
    return result is not None and not parts


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({}, True),
        ({"structure": "diagonal"}, True),
        ({"structure": "spherical", "dtype": torch.float32}, True),
        ({"structure": "tied"}, False),
        ({"width": 1e-6}, False),  # what cancels would be felt
        ({"rows": (3, 20, 2)}, False),
        ({"differentiates": True}, False),
        ({"is_beside": True}, False),
    ],
)
def test_where_it_serves(case, expected):
    assert serves(**case) == expected


@pytest.mark.parametrize("structure", ["full", "diagonal", "spherical"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_few_narrow_ones_in_a_batch(structure, dtype):
    """Of draws from a prior, some are narrow and far: each as it would be alone."""
    tensors = parameters(6, 2, 2, dtype)
    x = torch.randn(9, 2, dtype=dtype)
    with torch.no_grad():
        tensors[2][[1, 4]] *= 1e-5
        tensors[1][4] += 30
    wide = [t.detach().double().requires_grad_() for t in tensors]
    expected = reference(x.double(), *wide, structure)
    found, eps = evaluated(x, tensors, structure), torch.finfo(dtype).eps
    torch.testing.assert_close(found.double(), expected, rtol=200 * eps, atol=200 * eps)
    share = torch.rand(6, 1, dtype=torch.float64)  # each draw's gradients for itself
    mine = torch.autograd.grad((share.to(dtype) * found).sum(), tensors)
    theirs = torch.autograd.grad((share * expected).sum(), wide)
    for a, b in zip(mine, theirs, strict=True):
        a, b = (t.tril() if t.dim() == tensors[2].dim() else t for t in (a, b))
        scale = b.flatten(1).abs().amax(1).reshape(-1, *(1,) * (b.dim() - 1))
        torch.testing.assert_close(a.double() / scale, b / scale, rtol=0, atol=5000 * eps)


@pytest.mark.parametrize("distance", [1e3, 1e8, 1e30])
def test_far_rows(distance):
    """However far rows are, as one mixture after the other evaluates them."""
    tensors = parameters(4, 3, 2, torch.float32)
    x = torch.tensor([[0.0, 0.1], [distance, -distance]])
    found = evaluated(x, tensors, "full")
    gradients = torch.autograd.grad(found.sum(), tensors)
    alone = torch.stack([evaluated(x, [t[i, 0] for t in tensors], "full") for i in range(4)])
    torch.testing.assert_close(found, alone)
    for mine, theirs in zip(gradients, torch.autograd.grad(alone.sum(), tensors), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


def test_missing_entries():
    tensors = parameters(4, 3, 2, torch.float64)
    x = torch.randn(6, 2, dtype=torch.float64)
    x[2, 1] = torch.nan
    found = evaluated(x, tensors, "full", missing="marginalize")
    alone = [
        evaluated(x, [t[i, 0] for t in tensors], "full", missing="marginalize") for i in range(4)
    ]
    torch.testing.assert_close(found, torch.stack(alone))
