"""Components are matched by all that differs, and said to be alike where nothing does."""

import warnings

import numpy as np
import pytest
import torch

from pyro_ugmm.diagnostics import relabel
from pyro_ugmm.distributions import (
    DiagonalCovariance,
    FullCovariance,
    GaussianMixture,
    SphericalCovariance,
)
from pyro_ugmm.models import BayesianGaussianMixture
from tests.diagnostics.arviz_words import draws_of

S = 300
APART = {  # of two components in two dimensions: what differs
    "means": {"means": [[0.0, 0.0], [0.0, 3.0]]},
    "variances": {"variances": [[1.0, 1.0], [4.0, 4.0]]},
    "one variance": {"variances": [[1.0, 1.0], [1.0, 9.0]]},
    "small variances": {"variances": [[1e-8, 1e-8], [4e-8, 4e-8]]},
    "correlations": {"correlations": [0.8, -0.8]},
    "weights": {"weights": [0.9, 0.1]},
}
ALIKE = {"weights": [0.5, 0.5], "means": np.zeros((2, 2)), "variances": np.ones((2, 2))}


def posterior(structure="full", noise=0.05, seed=0, **truth):
    """Draws around a truth, and the same with the components of each draw in a random order."""
    rng = np.random.default_rng(seed)
    truth = ALIKE | {"correlations": [0.0, 0.0]} | truth
    variances = np.asarray(truth["variances"])
    scale = np.sqrt(variances.min())
    values = {
        "weights": np.asarray(truth["weights"]) + noise / 2 * rng.normal(size=(S, 1)) * [1, -1],
        "means": truth["means"] + scale * noise * rng.normal(size=(S, 2, 2)),
        "variances": variances * np.exp(noise * rng.normal(size=(S, 2, 2))),
    }
    if structure == "spherical":
        values["variances"] = values["variances"][..., 0]
    if structure == "full":
        r = np.clip(
            np.asarray(truth["correlations"]) + noise * rng.normal(size=(S, 2)), -0.99, 0.99
        )
        rows = np.stack([np.ones_like(r), 0 * r, r, np.sqrt(1 - r**2)], -1)
        values["correlations"] = rows.reshape(S, 2, 2, 2)
    order = rng.permuted(np.tile([0, 1], (S, 1)), axis=1)
    switched = {
        name: np.take_along_axis(value, order.reshape(S, 2, *(1,) * (value.ndim - 2)), 1)
        for name, value in values.items()
    }
    dims = BayesianGaussianMixture(2, 2, structure).dims()
    return values, draws_of(
        posterior={name: value[None] for name, value in switched.items()}, dims=dims
    )


def as_mixture(values, structure="full"):
    means = {name: torch.as_tensor(value.mean(0)) for name, value in values.items()}
    kind = SphericalCovariance if structure == "spherical" else DiagonalCovariance
    covariance = kind(means["variances"]) if structure != "full" else None
    if structure == "full":
        factor = means["variances"].sqrt().unsqueeze(-1) * means["correlations"]
        covariance = FullCovariance(factor @ factor.mT)
    weights = means["weights"] / means["weights"].sum()
    return GaussianMixture(weights, means["means"], covariance)


ONLY = {"correlations": ["full"], "one variance": ["full", "diagonal"]}
CASES = [(s, w) for w in APART for s in ONLY.get(w, ["full", "diagonal", "spherical"])]


@pytest.mark.parametrize(("structure", "what"), CASES)
def test_by_whatever_differs(structure, what):
    values, switched = posterior(structure, **APART[what])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = relabel(switched)
    assert found.posterior.attrs["relabeled"] == "all components are told apart"
    matches = [
        np.array_equal(found.posterior["means"].values[0], values["means"][:, order])
        for order in ([0, 1], [1, 0])
    ]
    assert any(matches)
    turn = {name: value[:, ::-1] for name, value in values.items()}
    references = [as_mixture(turn, structure)]
    if structure == "diagonal":  # matrices stand for the variances that they hold
        matrix = torch.diag_embed(references[0].covariance.values)
        full = FullCovariance(matrix)
        references.append(GaussianMixture(references[0].weights, references[0].means, full))
    own = draws_of(
        posterior={name: value[None] for name, value in turn.items()},
        dims=BayesianGaussianMixture(2, 2, structure).dims(),
    )
    for reference in (*references, own):
        again = relabel(switched, reference)
        for name, value in turn.items():
            np.testing.assert_array_equal(again.posterior[name].values[0], value)


@pytest.mark.parametrize("structure", ["full", "diagonal", "spherical"])
def test_what_cannot_be_told_apart_is_said(structure):
    _, switched = posterior(structure)
    with pytest.warns(UserWarning, match="components 0 and 1 cannot be told apart"):
        found = relabel(switched)
    assert "0 and 1 cannot be told apart" in found.posterior.attrs["relabeled"]


def test_by_loadings_whatever_the_signs_and_rotations_of_factors():
    values, switched = posterior("diagonal")
    rng = np.random.default_rng(1)
    first = switched.posterior["weights"].values[0, :, 0] == values["weights"][:, 0]
    loadings = np.zeros((S, 2, 2, 2))
    loadings[:, 0, :, 0], loadings[:, 1, :, 0] = [2.0, 2.0], [2.0, -2.0]
    q, _ = np.linalg.qr(rng.normal(size=(S, 2, 2, 2)))
    turned = np.where(first[:, None, None, None], loadings, loadings[:, ::-1]) @ q
    draws = {name: part.values for name, part in switched.posterior.data_vars.items()}
    dims = BayesianGaussianMixture(2, 2, "low_rank", rank=2).dims()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = relabel(draws_of(posterior=draws | {"loadings": turned[None]}, dims=dims))
    assert found.posterior.attrs["relabeled"] == "all components are told apart"
    ordered = found.posterior["loadings"].values[0]
    products = (ordered[:, :, 0] * ordered[:, :, 1]).sum(-1)  # of the rows of two features
    assert (products.std(0) < 1e-9).all() and sorted(products[0].round()) == [-4, 4]


def test_variances_that_are_one_for_all():
    values, switched = posterior(**APART["means"])
    one_for_all = values["variances"][:, 0]
    tied = {"means": switched.posterior["means"].values[0], "variances": one_for_all}
    names = BayesianGaussianMixture(2, 2, "tied").dims()
    found = relabel(draws_of(posterior={k: v[None] for k, v in tied.items()}, dims=names))
    orders = [values["means"], values["means"][:, ::-1]]
    assert any(np.array_equal(found.posterior["means"].values[0], means) for means in orders)
    np.testing.assert_array_equal(found.posterior["variances"].values[0], one_for_all)


def test_one_component_is_itself():
    values, _ = posterior("diagonal")
    one = {name: values[name][None, :, :1] for name in ("means", "variances")}
    idata = draws_of(posterior=one, dims=BayesianGaussianMixture(1, 2, "diagonal").dims())
    np.testing.assert_array_equal(relabel(idata).posterior["means"], one["means"])


def test_what_labels_name_keeps_its_place():
    """Of three components the first has rows that are known to be its, and alone stays."""
    rng = np.random.default_rng(0)
    means = np.array([5.0, 0.0, -5.0]) + 0.1 * rng.normal(size=(S, 3))
    weights = np.array([0.1, 0.3, 0.6]) + 0.01 * rng.normal(size=(S, 3))
    order = np.stack([np.array([0, *rng.permutation([1, 2])]) for _ in range(S)])
    drawn = {
        name: np.take_along_axis(value, order, 1)[None]
        for name, value in {"weights": weights, "means": means}.items()
    }
    drawn["means"] = drawn["means"][..., None]
    switched = draws_of(
        posterior=drawn,
        constant_data={"labels": np.array([-1, 0, 0, -1])},
        dims=BayesianGaussianMixture(3, 1, given="labels").dims(),
    )
    for reference, expected in (
        (None, [0, 2, 1]),
        (torch.tensor([[9.0], [0.0], [-5.0]]), [0, 1, 2]),
    ):
        found = relabel(switched, reference).posterior["means"].values[0, :, :, 0]
        np.testing.assert_array_equal(found, means[:, expected])
    alone = draws_of(posterior=drawn, dims=BayesianGaussianMixture(3, 1).dims())
    found = relabel(alone).posterior["means"].values[0, :, :, 0]
    np.testing.assert_array_equal(found, means[:, [2, 1, 0]])
