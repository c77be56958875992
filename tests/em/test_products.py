"""Sums of products from few responsibilities: all that is above rounding, as by one product."""

import functools

import pytest
import torch

from pyro_ugmm.distributions import FullCovariance, GaussianMixture
from pyro_ugmm.distributions.covariance.diagonal import DiagonalCovariance
from pyro_ugmm.em import EMAlgorithm, products
from pyro_ugmm.em.products import DenseProducts, SparseProducts, products_for
from pyro_ugmm.em.products_call import add_products
from pyro_ugmm.native import variants

FULL = FullCovariance.moments


def parted(n_components=40, n_features=5, n_rows=600, dtype=torch.float64, batch=()):
    """Rows about means that are far from each other, and a mixture near them."""
    means = 8 * torch.randn(n_components, n_features, dtype=dtype)
    component = torch.arange(n_rows) % n_components
    x = means[component] + torch.randn(n_rows, n_features, dtype=dtype)
    near = means + 0.3 * torch.randn(*batch, n_components, n_features, dtype=dtype)
    covariance = torch.eye(n_features, dtype=dtype).expand(*near.shape, n_features)
    weights = torch.rand(*batch, n_components, dtype=dtype).softmax(-1)
    return x, GaussianMixture(weights, near, FullCovariance(1.3 * covariance))


def terms_of(y):
    """One, the entries, and their products, in the order of the structure's own."""
    products = y.new_empty(FULL.n_rows(len(y)), y.shape[1])
    FULL.write_products(y, products)
    return torch.cat([torch.ones_like(y[:1]), y, products[: FULL.n_products(len(y))]])


@pytest.mark.parametrize("variant", variants())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("row_weights", [None, "even", "of all sizes"])
def test_both_sum_the_same(dtype, row_weights, variant, monkeypatch):
    adding = functools.partial(add_products, variant=variant)
    monkeypatch.setattr(products, "add_products", adding)
    x, mixture = parted(dtype=dtype)
    weight = {
        None: None,
        "even": torch.full((len(x),), 1e-9, dtype=dtype),
        "of all sizes": 10 ** (16 * torch.rand(len(x), dtype=dtype) - 8),
    }[row_weights]
    shares = mixture.responsibilities(x).T.contiguous()
    if weight is not None:
        shares = shares * weight
    y = (x - x.mean(0)).T
    sparse = SparseProducts(mixture.weights, len(y), FULL)
    dense = DenseProducts(x, len(shares), len(y), FULL)
    for some in torch.arange(len(x)).split(250):
        mine = None if weight is None else weight[some]
        for sums in (sparse, dense):
            sums.add(terms_of(y[:, some].contiguous()), shares[:, some].contiguous(), mine)
    exact = torch.einsum("kn,in,jn->kij", *(t.double() for t in (shares, y, y)))
    eps = torch.finfo(dtype).eps
    for found in (sparse.moments(), dense.moments()):
        scale = exact.diagonal(dim1=-2, dim2=-1).sum(-1).reshape(-1, 1, 1)
        torch.testing.assert_close(found[2].double() / scale, exact / scale, rtol=0, atol=50 * eps)
    for mine, theirs in zip(sparse.moments(), dense.moments(), strict=True):
        size = theirs.abs().flatten(1).amax(1) if theirs.dim() > 1 else theirs
        size = size.reshape(-1, *(1,) * (theirs.dim() - 1))
        torch.testing.assert_close(mine / size, theirs / size, rtol=0, atol=100 * eps)


@pytest.mark.parametrize(
    ("n_components", "spread", "moments", "expected"),
    [
        (40, 8.0, FULL, SparseProducts),
        (40, 0.1, FULL, DenseProducts),  # all share all rows
        (3, 8.0, FULL, DenseProducts),  # a third is much
        (40, 8.0, DiagonalCovariance.moments, DenseProducts),  # whose products are few
    ],
)
def test_which_is_chosen(n_components, spread, moments, expected):
    means = spread * torch.randn(n_components, 4)
    x = means[torch.arange(200) % n_components] + torch.randn(200, 4)
    shares = (-0.5 * torch.cdist(means, x).square()).softmax(0)
    weights = torch.full((n_components,), 1 / n_components)
    assert isinstance(products_for(shares, None, weights, 4, moments), expected)


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_statistics_are_those_of_all_rows(batch, dtype, is_weighted):
    x, mixture = parted(dtype=dtype, batch=batch)
    weight = torch.rand(len(x), dtype=dtype) if is_weighted else None
    found = EMAlgorithm().init(mixture, x, weight).statistics
    shares = mixture.responsibilities(x if not batch else x.unsqueeze(1)).double()
    shares = (
        shares if weight is None else shares * weight.double().reshape(-1, *(1,) * (1 + len(batch)))
    )
    deviations = (
        x.double().reshape(-1, *(1,) * (1 + len(batch)), x.shape[1]) - mixture.means.double()
    )
    first = torch.einsum("n...k,n...ki->...ki", shares, deviations)
    second = torch.einsum("n...k,n...ki,n...kj->...kij", shares, deviations, deviations)
    eps, size = torch.finfo(dtype).eps, 8.0 * 8.0 * 5
    torch.testing.assert_close(found.mass.double(), shares.sum(0), rtol=200 * eps, atol=200 * eps)
    torch.testing.assert_close(found.first.double(), first, rtol=0, atol=500 * eps * size)
    torch.testing.assert_close(found.second.double(), second, rtol=0, atol=5000 * eps * size)


def test_without_the_library_one_product_serves(monkeypatch):
    monkeypatch.setattr(products, "library", lambda: (None, "there is none"))
    shares, weights = torch.eye(40), torch.full((40,), 1 / 40)
    assert isinstance(products_for(shares, None, weights, 4, FULL), DenseProducts)


@pytest.mark.parametrize("n_rows", [0, 1, 3, 4, 5, 8])
def test_any_number_of_rows(n_rows):
    """They are added by fours."""
    rows, shares = torch.randn(n_rows, 6).double(), torch.rand(2, n_rows).double()
    sums = torch.zeros(2, 6, 6).double()
    add_products(rows, shares, None, torch.tensor([[0.0], [0.5]]).double(), sums)
    counted = torch.stack([shares[0], shares[1] * (shares[1] > 0.5)])
    torch.testing.assert_close(sums, torch.einsum("kn,ni,nj->kij", counted, rows, rows))
