"""Variational Bayes against scikit-learn, closed forms and brute force."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from sklearn.mixture import BayesianGaussianMixture

from pyro_ugmm.distributions import GaussianMixture, SphericalCovariance
from pyro_ugmm.em import VariationalEM, VariationalPriors, initialize
from pyro_ugmm.status import Status

STRUCTURES = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}
WEIGHT_PRIORS = ["dirichlet_process", "dirichlet_distribution"]


def overlapping_rows(n_rows=90, n_features=3):
    rng = np.random.default_rng(0)
    n_each = n_rows // 3
    parts = [
        rng.normal(size=(n_each, n_features)) @ rng.normal(size=(n_features, n_features)) + 1.5 * i
        for i in range(3)
    ]
    return torch.from_numpy(np.concatenate(parts))


def covariance_prior(covariance, n_features, scale=2.0):
    """Of the structure's shape, and as a matrix."""
    noise = np.random.default_rng(1).normal(size=(n_features, n_features))
    matrix = scale * (np.eye(n_features) + noise @ noise.T / n_features)
    if covariance in ("full", "tied"):
        return matrix, matrix
    if covariance == "diagonal":
        return matrix.diagonal(), np.diag(matrix.diagonal())
    return scale, scale * np.eye(n_features)


# -- scikit-learn -------------------------------------------------------------------------------


class FromResponsibilities(BayesianGaussianMixture):
    """scikit-learn's, from responsibilities that are set by hand."""

    def _initialize_parameters(self, x, random_state, xp=None):
        self._initialize(x, self.given)


def left_out_by_sklearn(n_rows, n_components, concentration, degrees, precision, scatter, weights):
    """The terms of the lower bound that do not change."""
    n_features = len(scatter)
    halves = (degrees - np.arange(n_features)) / 2
    volume = n_features * math.log(2) - np.linalg.slogdet(scatter)[1]
    wishart = degrees / 2 * volume + special.gammaln(halves).sum()
    of_components = n_features / 2 * math.log(precision) - wishart
    if weights == "dirichlet_process":
        of_weights = -n_components * special.betaln(1, concentration)
    else:
        of_weights = special.gammaln(n_components * concentration)
        of_weights -= n_components * special.gammaln(concentration)
    of_rows = -n_rows * n_features / 2 * math.log(2 * math.pi)
    return n_components * of_components + of_weights + of_rows


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weight_prior", WEIGHT_PRIORS)
@pytest.mark.parametrize("covariance", STRUCTURES)
def test_every_iteration_is_sklearns(covariance, weight_prior):
    x, n_components = overlapping_rows(), 4
    n_rows, n_features = x.shape
    given, matrix = covariance_prior(covariance, n_features)
    priors = {
        "weight_concentration_prior": 0.3,
        "mean_precision_prior": 0.5,
        "mean_prior": np.array([0.5, 1.0, 2.0]),
        "degrees_of_freedom_prior": 4.5,
        "covariance_prior": given,
    }
    start = initialize(x, n_components, covariance, seed=0)
    other = FromResponsibilities(
        n_components=n_components,
        covariance_type=STRUCTURES[covariance],
        weight_concentration_prior_type=weight_prior,
        reg_covar=0,
        tol=0,
        max_iter=20,
        **priors,
    )
    other.given = start.responsibilities(x).numpy()
    other.fit(x.numpy())
    fitter = VariationalEM(
        weight_prior=weight_prior,
        priors=VariationalPriors(**priors),
        tol=0,
        max_iter=20,
        normalizer="scikit-learn",
    )
    vb = fitter.fit(x, start)
    constant = left_out_by_sklearn(n_rows, n_components, 0.3, 4.5, 0.5, matrix, weight_prior)
    bounds = np.ravel(other.lower_bounds_) + constant
    np.testing.assert_allclose(vb.lower_bound, bounds, rtol=1e-10)
    components = vb.posterior.components
    np.testing.assert_allclose(vb.mixture.weights, other.weights_, rtol=1e-8)
    np.testing.assert_allclose(components.means, other.means_, rtol=1e-8)
    np.testing.assert_allclose(components.mean_precision, other.mean_precision_, rtol=1e-8)
    degrees = np.broadcast_to(other.degrees_of_freedom_, n_components)
    np.testing.assert_allclose(components.degrees_of_freedom, degrees, rtol=1e-8)
    (values,) = vb.mixture.covariance.tensors().values()
    np.testing.assert_allclose(values, other.covariances_, rtol=1e-8)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("weight_prior", WEIGHT_PRIORS)
@pytest.mark.parametrize("covariance", ["full", "tied"])
def test_defaults_are_sklearns(covariance, weight_prior):
    """Of tied covariances, all but a constant of the bound is scikit-learn's."""
    x = overlapping_rows()
    start = initialize(x, 5, covariance, seed=0)
    settings = {"covariance_type": covariance, "weight_concentration_prior_type": weight_prior}
    other = FromResponsibilities(n_components=5, reg_covar=0, max_iter=500, **settings)
    other.given = start.responsibilities(x).numpy()
    other.fit(x.numpy())
    vb = VariationalEM(weight_prior=weight_prior, max_iter=500).fit(x, start)
    assert vb.converged and vb.n_iter == other.n_iter_
    np.testing.assert_allclose(vb.mixture.weights, other.weights_, rtol=1e-6)
    np.testing.assert_allclose(vb.mixture.means, other.means_, rtol=1e-6)


# -- evidence -----------------------------------------------------------------------------------


class Student:
    """The evidence of rows that are assigned to components, a product of predictive densities."""

    def __init__(self, covariance, n_components, degrees, precision, mean, scatter):
        self.covariance, self.n_shared = covariance, n_components if covariance == "tied" else 1
        self.degrees, self.precision = self.n_shared * degrees, precision
        self.mean, self.scatter = np.array(mean), self.n_shared * np.array(scatter)

    def log_evidence(self, rows, assignments):
        total, n_components = 0.0, max(assignments) + 1
        means, precisions = [self.mean] * n_components, [self.precision] * n_components
        degrees, scatters = [self.degrees] * n_components, [self.scatter] * n_components
        for x, k in zip(rows, assignments, strict=True):
            at = 0 if self.covariance == "tied" else k
            mean, precision = means[k], precisions[k]
            total += self.log_predictive(x, degrees[at], precision, mean, scatters[at])
            gap = np.outer(x - mean, x - mean) * precision / (precision + 1)
            scatters[at] = scatters[at] + self.kept(gap)
            means[k] = mean + (x - mean) / (precision + 1)
            degrees[at], precisions[k] = degrees[at] + 1, precision + 1
        return total

    def log_predictive(self, x, degrees, precision, mean, scatter):
        n_features, widening = len(x), (precision + 1) / precision
        if self.covariance == "diagonal":
            scales = np.sqrt(widening * scatter.diagonal() / degrees)
            return stats.t.logpdf(x, degrees, mean, scales).sum()
        if self.covariance == "spherical":
            shape = widening * scatter / degrees
            return stats.multivariate_t.logpdf(x, mean, shape, n_features * degrees)
        left = degrees - n_features + 1
        return stats.multivariate_t.logpdf(x, mean, widening * scatter / left, left)

    def kept(self, matrix):
        n_features = len(matrix)
        if self.covariance == "diagonal":
            return np.diag(matrix.diagonal())
        if self.covariance == "spherical":
            return np.eye(n_features) * np.trace(matrix) / n_features
        return matrix


def with_priors(covariance, n_components, n_features, weight_prior):
    given, matrix = covariance_prior(covariance, n_features)
    mean = np.linspace(-1.0, 1.0, n_features)
    priors = VariationalPriors(
        weight_concentration_prior=0.7,
        mean_precision_prior=0.4,
        mean_prior=mean,
        degrees_of_freedom_prior=n_features + 0.5,
        covariance_prior=given,
    )
    fitter = VariationalEM(weight_prior=weight_prior, priors=priors, tol=1e-9, max_iter=1000)
    return fitter, Student(covariance, n_components, n_features + 0.5, 0.4, mean, matrix)


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_the_bound_of_one_component_is_the_evidence(covariance):
    x = overlapping_rows(12)
    fitter, student = with_priors(covariance, 1, 3, "dirichlet_distribution")
    vb = fitter.fit(x, initialize(x, 1, covariance))
    evidence = student.log_evidence(x.numpy(), [0] * len(x))
    assert vb.lower_bound[-1].item() == pytest.approx(evidence, rel=1e-10)


def log_prior_of_assignments(assignments, n_components, weight_prior):
    counts = np.bincount(assignments, minlength=n_components)
    if weight_prior == "dirichlet_process":
        beyond = counts[::-1].cumsum()[::-1] - counts
        return (special.betaln(1 + counts, 0.7 + beyond) - special.betaln(1, 0.7)).sum()
    n_rows = len(assignments)
    of_counts = special.gammaln(0.7 + counts) - special.gammaln(0.7)
    return (
        of_counts.sum()
        + special.gammaln(n_components * 0.7)
        - special.gammaln(n_components * 0.7 + n_rows)
    )


@pytest.mark.parametrize("weight_prior", WEIGHT_PRIORS)
@pytest.mark.parametrize("covariance", STRUCTURES)
def test_the_bound_is_below_the_evidence(covariance, weight_prior):
    """Which is the sum over all assignments of seven rows."""
    x = torch.cat([overlapping_rows(12, 2)[:4] * 0.3 - 8, overlapping_rows(12, 2)[9:] * 0.3 + 8])
    fitter, student = with_priors(covariance, 2, 2, weight_prior)
    vb = fitter.fit(x, initialize(x, 2, covariance, seed=0))
    rows, terms = x.numpy(), []
    for each in itertools.product(range(2), repeat=len(rows)):
        assignments = np.array(each)
        of_rows = student.log_evidence(rows, assignments)
        terms.append(log_prior_of_assignments(assignments, 2, weight_prior) + of_rows)
    evidence, bound = special.logsumexp(terms), vb.lower_bound[-1].item()
    # The other order of the components is not in it, nor are assignments that hardly count.
    assert evidence - 1.5 < bound < evidence


@pytest.mark.parametrize("weight_prior", WEIGHT_PRIORS)
@pytest.mark.parametrize("missing", ["error", "marginalize"])
@pytest.mark.parametrize("covariance", STRUCTURES)
def test_the_bound_never_falls(covariance, missing, weight_prior):
    x = overlapping_rows()
    if missing == "marginalize":
        holes = np.random.default_rng(2).random(x.shape) < 0.2
        holes[:, 0] &= ~holes[:, 1:].all(1)
        x[torch.from_numpy(holes)] = torch.nan
    start = initialize(x, 6, covariance, method="random_from_data", seed=0, missing=missing)
    vb = VariationalEM(weight_prior=weight_prior, tol=0, max_iter=60).fit(x, start)
    steps = vb.lower_bound.diff()
    assert (steps > -1e-9 * vb.lower_bound[1:].abs()).all()
    assert steps[0] > 1e-3


def test_missing_entries_are_closed_form_for_one_diagonal_component():
    """A missing entry is as wide as a row, and about the mean: a linear equation in the scatter."""
    x = overlapping_rows(15)
    x[1:5, 0], x[3:6, 2] = torch.nan, torch.nan
    fitter, student = with_priors("diagonal", 1, 3, "dirichlet_distribution")
    vb = fitter.fit(x, initialize(x, 1, "diagonal", missing="marginalize"))
    rows, n_rows = x.numpy(), len(x)
    n_seen = (~np.isnan(rows)).sum(0)
    mean = (0.4 * student.mean + np.nansum(rows, 0)) / (0.4 + n_seen)
    squares = np.nansum((rows - mean) ** 2, 0) + 0.4 * (mean - student.mean) ** 2
    scatter = student.scatter.diagonal() + squares
    variances = scatter / (3.5 + n_seen)
    np.testing.assert_allclose(vb.mixture.means[0], mean, rtol=1e-5)
    (values,) = vb.mixture.covariance.tensors().values()
    np.testing.assert_allclose(values[0], variances, rtol=1e-5)
    assert vb.posterior.components.degrees_of_freedom.item() == 3.5 + n_rows


# -- inputs and outcomes ------------------------------------------------------------------------


@pytest.mark.parametrize("weight_prior", WEIGHT_PRIORS)
def test_components_that_are_not_needed_leave(weight_prior):
    """From most starts all but two."""
    fitter, fits = VariationalEM(weight_prior=weight_prior, max_iter=2000), []
    for seed in range(3):
        x = torch.randn(400, 2, dtype=torch.float64)
        x[:150] += 9
        fits.append(fitter.fit(x, initialize(x, 8, seed=seed)))
    vb = sorted(fits, key=lambda fit: fit.n_used)[1]
    assert vb.converged and vb.n_used == int(vb.used.sum()) == 2
    assert sorted(vb.n_rows[vb.used].round().tolist()) == [150, 250]
    assert "2 of 8 components are used: " in vb.report


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_rows_in_all_forms(covariance, device):
    x = overlapping_rows().to(device)
    weight = torch.arange(len(x), device=device) % 3
    repeated = x.repeat_interleave(weight, 0)
    start = initialize(x, 3, covariance, seed=0)
    fitter = VariationalEM(max_iter=10, tol=0)
    expected = fitter.fit(repeated, start)
    blocks = list(zip(x.split(25), weight.split(25), strict=True))
    for vb in (fitter.fit(x, start, weight), fitter.fit(blocks, start)):
        assert vb.lower_bound.tolist() == pytest.approx(expected.lower_bound.tolist(), rel=1e-9)
        torch.testing.assert_close(vb.mixture.means, expected.mixture.means)
        assert vb.mixture.means.device == x.device


def test_single_precision_ends_at_its_rounding():
    x = overlapping_rows(3000).float()
    start = initialize(x, 3, seed=0)
    vb = VariationalEM(tol=0, max_iter=500).fit(x, start)
    exact = VariationalEM(max_iter=500).fit(x.double(), start.to(torch.float64))
    assert vb.converged and "rounding" in vb.reason
    assert vb.lower_bound[-1].item() == pytest.approx(exact.lower_bound[-1].item(), rel=1e-5)
    assert vb.mixture.means.dtype == torch.float32


def test_the_best_of_several_starts_comes_back():
    x = overlapping_rows()
    starts = initialize(x, 3, method="random_from_data", n_init=4, seed=0)
    fitter = VariationalEM(max_iter=3, tol=0)
    ends = [fitter.fit(x, starts.reindex(lambda t, i=i: t[i])).final_bound for i in range(4)]
    assert fitter.fit(x, starts).final_bound == pytest.approx(max(ends), rel=1e-9)
    assert max(ends) - min(ends) > 1e-3


def test_all_starts_have_one_prior():
    """Of the rows, whose missing entries each start would complete in its own way."""
    x = overlapping_rows()
    x[::3, 1] = torch.nan
    starts = initialize(x, 3, method="random_from_data", n_init=2, seed=0, missing="marginalize")
    fitter = VariationalEM(max_iter=3, tol=0)
    alone = [fitter.fit(x, starts.reindex(lambda t, i=i: t[i])) for i in range(2)]
    worst = min(range(2), key=lambda i: alone[i].final_bound)
    together = fitter.fit(x, starts.reindex(lambda t: t[[worst, 1 - worst]]))
    scatter = together.prior.components.scatter
    assert torch.equal(scatter, alone[worst].prior.components.scatter)
    assert not torch.equal(scatter, alone[1 - worst].prior.components.scatter)


class InterruptedRows:
    """Blocks that the keyboard interrupts when they are read once too often."""

    def __init__(self, x, readings):
        self.x, self.left = x, readings

    def __iter__(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return iter(self.x.split(30))


def test_an_interrupted_fit_has_what_there_is():
    x = overlapping_rows()
    start = initialize(x, 3, seed=0)
    whole = VariationalEM(max_iter=3, tol=0).fit(x, start)
    vb = VariationalEM(max_iter=9, tol=0).fit(InterruptedRows(x, 4), start)  # one for the start
    assert vb.interrupted and vb.status is Status.INTERRUPTED
    assert vb.lower_bound.tolist() == pytest.approx(whole.lower_bound.tolist())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight_prior": "uniform"}, "weight_prior: expected one of 'dirichlet_process', 'diri"),
        ({"normalizer": "none"}, "normalizer: expected one of"),
        ({"tol": -1}, "tol: expected a finite non-negative number"),
        ({"max_iter": 0}, "max_iter: expected a positive integer"),
        ({"priors": 1.0}, "priors: expected VariationalPriors, got float"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        VariationalEM(**settings)


@pytest.mark.parametrize(
    ("covariance", "prior", "message"),
    [
        ("full", {"weight_concentration_prior": 0}, "expected a finite positive number, got 0"),
        ("full", {"mean_precision_prior": math.inf}, "expected a finite positive number, got inf"),
        ("full", {"mean_precision_prior": None}, "expected a finite positive number, got None"),
        ("full", {"degrees_of_freedom_prior": 2}, "expected more than 2, as x has 3 features"),
        ("full", {"mean_prior": [0.0, 1.0]}, r"expected shape \(3,\), got \(2,\)"),
        ("full", {"mean_prior": [0.0, math.nan, 1.0]}, "expected finite values, got nan"),
        ("full", {"covariance_prior": [1.0, 1.0, 1.0]}, r"expected shape \(3, 3\), got \(3,\)"),
        ("tied", {"covariance_prior": -np.eye(3)}, "expected positive definite matrices"),
        ("diagonal", {"covariance_prior": [1.0, 0.0, 1.0]}, "expected finite positive values"),
        ("spherical", {"covariance_prior": np.eye(3)}, r"expected shape \(\), got \(3, 3\)"),
        ("spherical", {"covariance_prior": torch.ones(())}, "expected torch.float64"),
    ],
)
def test_bad_priors_are_refused(covariance, prior, message):
    x = overlapping_rows()
    (name,) = prior
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        VariationalEM(priors=VariationalPriors(**prior)).fit(x, initialize(x, 2, covariance))


def test_one_row_says_nothing_of_a_covariance():
    covariance = SphericalCovariance(torch.ones(1))
    start = GaussianMixture(torch.ones(1), torch.zeros(1, 2), covariance)
    with pytest.raises(ValueError, match="x: expected more than one row, or a mean_prior and a"):
        VariationalEM().fit(torch.ones(1, 2), start)
