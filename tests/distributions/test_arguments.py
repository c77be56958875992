"""What a multivariate mixture refuses, and how it says so."""

import pyro
import pytest
import torch

from pyro_ugmm.distributions import FullCovariance, GaussianMixture

HALVES, MEANS, EYES = torch.full((2,), 0.5), torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3)
FULL = FullCovariance(EYES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": [0.5, 0.5]}, "weights: expected a torch tensor, got list"),
        ({"weights": torch.tensor([1, 0])}, "weights: expected floating-point"),
        ({"weights": torch.tensor(1.0)}, r"weights: expected shape \(\.\.\., K\), got \(\)"),
        ({"weights": torch.ones(3) / 3}, "weights: expected 2 components"),
        ({"weights": torch.ones(2)}, r"weights: expected weights that sum to one.*got 2\.0"),
        ({"weights": torch.tensor([1.5, -0.5])}, r"weights: expected non-negative.*-0\.5 at.*1"),
        (
            {"weights": torch.full((2,), torch.nan)},
            "weights: expected non-negative values, got nan",
        ),
        ({"weights": HALVES.double()}, "weights: expected torch.float32, as means has"),
        ({"weights": HALVES.to("meta")}, "weights: expected device cpu.*got device meta"),
        ({"weights": HALVES.expand(4, 2), "means": MEANS.expand(5, 2, 3)}, "weights, means.*broad"),
        ({"means": MEANS[0]}, r"means: expected shape \(\.\.\., K, D\), got .*3"),
        ({"means": MEANS[:, :0]}, r"means: expected shape \(\.\.\., K, D\)"),
        ({"means": MEANS.long()}, "means: expected floating-point"),
        ({"means": MEANS + torch.inf}, "means: expected finite values, got inf"),
        ({"means": MEANS[:, :2]}, "covariance: expected 2 features, as means has, got 3"),
        ({"covariance": EYES}, "covariance: expected a Covariance"),
        ({"covariance": FULL.to(torch.float64)}, "covariance: expected torch.float32"),
        ({"covariance": FullCovariance(EYES[:1])}, "covariance: expected 2 components.*got 1"),
        ({"missing": "drop"}, "missing: expected one of 'error', 'marginalize', got 'drop'"),
    ],
)
def test_bad_arguments(arguments, message):
    defaults = {"weights": HALVES, "means": MEANS, "covariance": FULL}
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**(defaults | arguments))


def bad(missing="error", batch=()):
    return GaussianMixture(HALVES.expand(*batch, 2), MEANS, FULL, missing=missing)


@pytest.mark.parametrize(
    ("mixture", "value", "message"),
    [
        (bad(), ["a"] * 3, "value: expected numbers, got <U1"),
        (bad(), torch.ones(3).long(), "value: expected floating-point"),
        (bad(), torch.tensor(1.0), r"value: expected 3 features in the last dimension.*\(\)"),
        (bad(), torch.ones(5, 2), r"value: expected 3 features in the last dimension.*\(5, 2\)"),
        (bad(), torch.ones(3).double(), "value: expected torch.float32, as means has"),
        (bad(), torch.ones(3).to("meta"), "value: expected device cpu"),
        (bad(), torch.tensor([0, torch.nan, 0]), "value: expected finite values.*missing.*nan"),
        (bad(), torch.tensor([0, torch.inf, 0]), "value: expected finite values.*inf"),
        (bad("marginalize"), torch.tensor([0, torch.inf, torch.nan]), "value: expected.*inf"),
        (bad("marginalize"), torch.full((3,), torch.nan), "value: expected.*observed, got nan"),
        (bad(batch=(4,)), torch.ones(5, 3), "value, the batch: expected batch shapes that broad"),
    ],
)
def test_bad_values(mixture, value, message):
    for method in (mixture.log_prob, mixture.responsibilities, mixture.predict):
        with pytest.raises(ValueError, match=message):
            method(value)


@pytest.mark.parametrize("method", ["aic", "bic"])
def test_criteria_are_of_one_mixture_and_rows(method):
    with pytest.raises(ValueError, match=r"mixture: expected a batch of one, got \(4,\)"):
        getattr(bad(batch=(4,)), method)(torch.ones(5, 3))
    with pytest.raises(ValueError, match=r"value: expected rows, shape \(n, D\), got \(3,\)"):
        getattr(bad(), method)(torch.ones(3))


def test_checks_can_be_turned_off():
    mixture = GaussianMixture(torch.ones(2), MEANS, FULL, validate_args=False)
    assert mixture.log_prob(torch.full((3,), torch.nan)).isnan()


def test_pyro_turns_all_checks_off():
    pyro.enable_validation(False)
    try:
        GaussianMixture(torch.ones(2), MEANS, FullCovariance(-EYES))
    finally:
        pyro.enable_validation(True)
    with pytest.raises(ValueError, match="positive definite"):
        FullCovariance(-EYES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.bic([["a"] * 3]), "value: expected numbers, got <U1"),
        (lambda m: m.aic(torch.ones(5, 3).long()), "value: expected floating-point numbers"),
        (lambda m: m.condition([0]), "values: expected a mapping .* got list"),
    ],
)
def test_bad_kinds(call, message):
    with pytest.raises(ValueError, match=message):
        call(bad())
