"""Rows of which more is known: their component, or the error of their measurement."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from sklearn.datasets import load_iris
from torch.distributions import MultivariateNormal

from pyro_ugmm.distributions import FullCovariance, GaussianMixture
from pyro_ugmm.em import EMAlgorithm, EMFitter, GaussianMixtureEstimator, initialize

STRUCTURES = ("full", "tied", "diagonal", "spherical")
QUIET = {"progress": False}


def clusters(n_rows=120, n_features=2, dtype=torch.float64):
    """Rows of three clusters that overlap, and whose they are."""
    label = torch.arange(n_rows) % 3
    at = 2.0 * torch.randn(3, n_features, dtype=dtype)
    return at[label] + torch.randn(n_rows, n_features, dtype=dtype), label


def ascends(history):
    return bool((history.diff() > -1e-9).all())


# -- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_all_labels_are_a_fit_in_closed_form(covariance):
    x, label = clusters()
    start = initialize(x, 3, covariance, seed=0)
    result = EMFitter(reg_covar=0.0, **QUIET).fit(x, start, labels=label)
    expected = initialize(x, 3, covariance, labels=label, reg_covar=0.0)
    for name, tensor in expected.tensors().items():
        torch.testing.assert_close(result.mixture.tensors()[name], tensor)
    joint = expected.responsibilities(x).log() + expected.log_prob(x).unsqueeze(-1)
    assert result.log_likelihood == pytest.approx(float(joint[range(len(x)), label].mean()))


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_no_labels_are_plain(covariance):
    x, label = clusters()
    start = initialize(x, 3, covariance, seed=0)
    found = EMFitter(**QUIET).fit(x, start, labels=torch.full_like(label, -1))
    plain = EMFitter(engine="torch", **QUIET).fit(x, start)
    torch.testing.assert_close(found.mixture.means, plain.mixture.means, rtol=0, atol=0)
    assert found.engine == "torch"


@pytest.mark.parametrize("covariance", STRUCTURES)
@pytest.mark.parametrize("is_missing", [False, True])
def test_some_labels(covariance, is_missing):
    """The likelihood of rows, and of labels where they are known, ascends to a maximum."""
    x, label = clusters()
    if is_missing and covariance != "tied":
        x[::7, 0] = torch.nan
    missing = "marginalize" if x.isnan().any() else "error"
    known = torch.where(torch.arange(len(x)) % 2 < 1, label, -1)
    start = initialize(x, 3, covariance, labels=known, missing=missing)
    result = EMFitter(tol=1e-11, max_iter=3000, reg_covar=0.0, **QUIET).fit(x, start, labels=known)
    assert ascends(result.history)
    mixture = result.mixture
    joint = mixture.responsibilities(x).log() + mixture.log_prob(x).unsqueeze(-1)
    of_rows = torch.where(known >= 0, joint[range(len(x)), known.clamp(min=0)], joint.logsumexp(-1))
    assert result.log_likelihood == pytest.approx(float(of_rows.mean()), abs=1e-7)
    if is_missing:
        return
    means = mixture.means.clone().requires_grad_()
    normal = MultivariateNormal(means, mixture.covariance.dense(3, 2))
    joint = mixture.weights.log() + normal.log_prob(x.unsqueeze(1))
    of_rows = torch.where(known >= 0, joint[range(len(x)), known.clamp(min=0)], joint.logsumexp(-1))
    (slope,) = torch.autograd.grad(of_rows.mean(), means)
    assert slope.abs().max() < 1e-4


def test_labels_help():
    """A third of them tells what EM alone takes for one cluster, or cuts elsewhere."""
    gains = []
    for _ in range(20):
        label = torch.arange(90) % 2
        x = torch.randn(90, 2).double() * torch.tensor([1.0, 4.0])
        x[:, 0] += 3.0 * label
        known = torch.where(torch.rand(90) < 1 / 3, label, -1)
        by_labels = EMFitter(**QUIET).fit(x, initialize(x, 2, labels=known), labels=known)
        alone = EMFitter(**QUIET).fit(x, initialize(x, 2, seed=0))
        with_labels, without = (
            float((fit.mixture.predict(x) == label).double().mean()) for fit in (by_labels, alone)
        )
        gains.append(with_labels - max(without, 1 - without))
    assert np.mean(gains) > 0


def test_labels_of_a_third_beat_both_on_iris():
    """The rest of them by EM of all rows, by EM without labels, and by the labelled rows alone."""
    data = load_iris()
    x, label = torch.from_numpy(data.data), torch.from_numpy(data.target)
    right = {"some": [], "none": [], "alone": []}
    for seed in range(20):
        known = torch.where(torch.rand(len(x)) < 1 / 3, label, -1)
        rest = known < 0
        start = initialize(x, 3, labels=known)
        fits = {
            "some": EMFitter(**QUIET).fit(x, start, labels=known).mixture,
            "none": EMFitter(**QUIET).fit(x, initialize(x, 3, n_init=5, seed=seed)).mixture,
            "alone": initialize(x[~rest], 3, labels=known[~rest]),
        }
        order = fits["none"].predict(torch.stack([x[label == k].mean(0) for k in range(3)]))
        for name, mixture in fits.items():
            found = mixture.predict(x)
            if name == "none":
                found = (found.unsqueeze(1) == order).int().argmax(1)
            right[name].append(float((found == label)[rest].double().mean()))
    some, none, alone = (np.mean(right[name]) for name in right)
    assert some > none and some > alone


def test_the_estimator_knows_it_too():
    x, label = clusters()
    known = torch.where(torch.arange(len(x)) % 4 < 2, label, -1).numpy()
    estimator = GaussianMixtureEstimator(3, random_state=0).fit(x.numpy(), labels=known)
    start = initialize(x, 3, labels=known)
    expected = EMFitter(**QUIET).fit(x, start, labels=known).mixture
    torch.testing.assert_close(estimator.mixture_.means, expected.means)
    fixed = x[:3].numpy()
    kept = GaussianMixtureEstimator(3, means_init=fixed, frozen={"means": True})
    assert (kept.fit(x.numpy(), noise=np.full(x.shape, 0.1)).means_ == fixed).all()


# -- noise ------------------------------------------------------------------------------------


def extreme_deconvolution(x, noise, weights, means, matrices, n_steps):
    """Bovy, Hogg and Roweis (2011), equation 16, one row after the other."""
    history = []
    for _ in range(n_steps):
        shares = np.empty((len(x), len(weights)))
        expected, left = [], []
        for i, row in enumerate(x):
            totals = [matrix + noise[i] for matrix in matrices]
            for k, total in enumerate(totals):
                density = stats.multivariate_normal(means[k], total).pdf(row)
                shares[i, k] = weights[k] * density
            gains = [m @ np.linalg.inv(t) for m, t in zip(matrices, totals, strict=True)]
            expected.append([m + g @ (row - m) for m, g in zip(means, gains, strict=True)])
            left.append([v - g @ v for v, g in zip(matrices, gains, strict=True)])
        history.append(np.log(shares.sum(1)).mean())
        shares /= shares.sum(1, keepdims=True)
        expected, left, mass = np.array(expected), np.array(left), shares.sum(0)
        weights = mass / len(x)
        means = np.einsum("nk,nkd->kd", shares, expected) / mass[:, None]
        gap = expected - means
        scatter = np.einsum("nk,nki,nkj->kij", shares, gap, gap)
        matrices = (scatter + np.einsum("nk,nkij->kij", shares, left)) / mass[:, None, None]
    return weights, means, matrices, history


@pytest.mark.parametrize("kind", ["variances", "covariances"])
def test_steps_are_those_of_extreme_deconvolution(kind):
    x, _ = clusters(60)
    noise = torch.rand(60, 2).double()
    if kind == "covariances":
        factor = 0.5 * torch.randn(60, 2, 2).double()
        noise = factor @ factor.mT
    start = initialize(x, 2, seed=0)
    result = EMFitter(tol=0.0, max_iter=6, reg_covar=0.0, **QUIET).fit(x, start, noise=noise)
    matrices = noise.diag_embed() if kind == "variances" else noise
    of_start = start.weights, start.means, start.covariance.values
    arrays = [t.numpy() for t in (x, matrices, *of_start)]
    weights, means, covariances, history = extreme_deconvolution(*arrays, 6)
    assert result.mixture.weights.numpy() == pytest.approx(weights, abs=1e-9)
    assert result.mixture.means.numpy() == pytest.approx(means, abs=1e-9)
    assert result.mixture.covariance.values.numpy() == pytest.approx(covariances, abs=1e-9)
    assert result.history.numpy() == pytest.approx(history, abs=1e-9)


@pytest.mark.parametrize("covariance", STRUCTURES)
@pytest.mark.parametrize("kind", ["variances", "covariances"])
@pytest.mark.parametrize("is_missing", [False, True])
def test_the_likelihood_with_errors_ascends_to_a_maximum(covariance, kind, is_missing):
    x, _ = clusters(300)
    noise = 0.2 * torch.rand(300, 2).double()
    noise = noise.diag_embed() + 0.05 if kind == "covariances" else noise
    if is_missing:
        x[::9, 1] = torch.nan
    options = {"missing": "marginalize"} if is_missing else {}
    start = initialize(x, 2, covariance, seed=0, **options)
    fitter = EMFitter(tol=1e-11, max_iter=8000, reg_covar=0.0, **QUIET)
    result = fitter.fit(x, start, noise=noise)
    assert ascends(result.history)
    mixture = result.mixture
    of_rows = mixture.convolve(noise).log_prob(x)
    assert result.log_likelihood == pytest.approx(float(of_rows.mean()), abs=1e-8)
    means = mixture.means.clone().requires_grad_()
    (tensor,) = mixture.covariance.tensors().values()
    parts = tensor.clone().requires_grad_()
    moved = mixture.with_parameters(mixture.weights, means, type(mixture.covariance)(parts))
    slopes = torch.autograd.grad(moved.convolve(noise).log_prob(x).mean(), (means, parts))
    assert max(float(slope.abs().max()) for slope in slopes) < 3e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_errors_of_zero_are_plain(dtype):
    x, _ = clusters(dtype=dtype)
    start = initialize(x, 3, seed=0)
    options = {"tol": 0.0, "max_iter": 5, **QUIET}
    found = EMFitter(**options).fit(x, start, noise=torch.zeros_like(x))
    plain = EMFitter(engine="torch", **options).fit(x, start)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(found.mixture.means, plain.mixture.means, rtol=0, atol=2000 * eps)


def test_one_component_is_a_fit_in_closed_form():
    """Where all rows have the same error, it is subtracted from what the rows vary by."""
    x = torch.randn(200, 3).double() @ torch.diag(torch.tensor([2.0, 1.5, 3.0])).double()
    error = torch.tensor([0.3, 0.2, 0.5]).double()
    fitter = EMFitter(tol=1e-14, max_iter=5000, reg_covar=0.0, **QUIET)
    result = fitter.fit(x, initialize(x, 1), noise=error.expand_as(x))
    torch.testing.assert_close(result.mixture.means[0], x.mean(0))
    expected = torch.cov(x.T, correction=0) - error.diag()
    torch.testing.assert_close(result.mixture.covariance.values[0], expected, rtol=1e-4, atol=1e-4)


def test_convolutions_by_quadrature():
    mixture = GaussianMixture(
        torch.tensor([0.3, 0.7]).double(),
        torch.tensor([[-1.0], [2.0]]).double(),
        FullCovariance(torch.tensor([[[0.5]], [[1.5]]]).double()),
    )
    x, variance = torch.tensor([[0.0], [1.7]]).double(), torch.tensor([[0.4], [2.0]]).double()
    found = mixture.convolve(variance).log_prob(x).exp()
    for i in range(2):
        error = stats.norm(0, float(variance[i]) ** 0.5)

        def density(v, i=i, error=error):
            at = torch.tensor([[v]]).double()
            return float(mixture.log_prob(at).exp()) * error.pdf(float(x[i]) - v)

        expected, _ = integrate.quad(density, -20, 20, points=[-1, 0, 2])
        assert float(found[i]) == pytest.approx(expected, rel=1e-6)
    assert mixture.convolve(torch.tensor([0.4]).double()).batch_shape == ()
    both = mixture.expand((5, 1)).convolve(variance)
    assert both.batch_shape == (5, 2)


def test_convolutions_move_with_the_errors():
    noise = torch.tensor([0.4, 0.7]).double().requires_grad_()
    matrix = torch.tensor([[0.5, 0.2], [0.2, 0.9]]).double().requires_grad_()
    for errors in (noise, matrix):
        assert torch.autograd.gradcheck(
            lambda e: START.convolve(0.5 * (e + e.mT) if e.dim() == 2 else e).log_prob(X[:3]),
            errors,
        )


@pytest.mark.parametrize("structure", ["diagonal", "spherical"])
def test_variances_of_errors_leave_diagonal_mixtures_diagonal(structure):
    mixture = initialize(X, 3, structure, seed=0)
    noise = torch.rand(5, 2).double()
    found = mixture.convolve(noise)
    assert found.covariance.name == "diagonal" and found.batch_shape == (5,)
    expected = mixture.convolve(noise.diag_embed())
    assert expected.covariance.name == "full"
    torch.testing.assert_close(found.log_prob(X[:5]), expected.log_prob(X[:5]))


def test_what_is_known_is_of_the_checkpoint_too(tmp_path):
    x, label = clusters()
    start = initialize(x, 3, seed=0)
    options = {"checkpoint": tmp_path / "fit"}
    EMFitter(**QUIET).fit(x, start, labels=label, **options)
    again = EMFitter(**QUIET).fit(x, start, labels=label, **options)
    assert again.converged
    with pytest.raises(ValueError, match="checkpoint: expected one of this run"):
        EMFitter(**QUIET).fit(x, start, labels=label.roll(1), **options)


def test_steps_of_ones_own_know_it_too():
    x, label = clusters()
    noise = torch.rand(len(x), 2).double()
    start, em = initialize(x, 3, seed=0), EMAlgorithm()
    state = em.init(start, x, labels=label, noise=noise)
    for _ in range(3):
        state = em.step(state, x, labels=label, noise=noise)
    fit = EMFitter(tol=0.0, max_iter=3, **QUIET).fit(x, start, labels=label, noise=noise)
    torch.testing.assert_close(state.mixture.means, fit.mixture.means, rtol=0, atol=0)
    halves = [
        EMFitter().e_step(x[part], start, labels=label[part], noise=noise[part])
        for part in (slice(0, 50), slice(50, None))
    ]
    whole = EMFitter().e_step(x, start, labels=label, noise=noise)
    torch.testing.assert_close((halves[0] + halves[1]).second, whole.second)


X, LABEL = clusters()
START = initialize(X, 3, seed=0)
WEIGHTLESS = START.with_parameters(
    torch.tensor([0.5, 0.0, 0.5]).double(), START.means, START.covariance
)


def fit(x=X, **known):
    return EMFitter(**QUIET).fit(x, START, **known)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit(labels=LABEL + 1), "labels: expected integers from 0 to 2, and -1 .*got 3"),
        (lambda: fit(labels=LABEL - 2), "labels: expected integers from 0 to 2, .*got -2"),
        (lambda: fit(labels=LABEL[1:]), r"labels: expected shape \(120,\), as x has rows"),
        (lambda: fit(labels=LABEL.double()), "labels: expected integers .*got torch.float64"),
        (lambda: fit([X, X], labels=LABEL), "x: expected rows that are all at hand.*got a stream"),
        (lambda: fit([X, X], noise=X.square()), "x: expected rows that are all at hand"),
        (lambda: fit(noise=X), "noise: expected non-negative variances, got"),
        (lambda: fit(noise=X[1:].square()), r"noise: expected variances of shape \(120, 2\), or"),
        (lambda: fit(noise=X.square().log().log()), "noise: expected finite values"),
        (
            lambda: fit(noise=-torch.eye(2).double().expand(120, 2, 2)),
            "noise: expected positive semi-definite covariances, no eigenvalue, got -1",
        ),
        (
            lambda: fit(noise=torch.eye(2).double().flip(0).triu(1).expand(120, 2, 2)),
            "noise: expected symmetric covariances",
        ),
        (lambda: START.convolve(torch.ones(3).double()), r"noise: expected shape \(..., 2\) or"),
        (lambda: START.convolve(-torch.ones(2).double()), "noise: expected non-negative"),
        (
            lambda: START.to(torch.float32).convolve(torch.full((2,), 1e300, dtype=torch.float64)),
            "noise: expected values that torch.float32 can hold, got 1e.300",
        ),
        (
            lambda: EMFitter(**QUIET).fit(
                X.float(),
                START.to(torch.float32),
                noise=torch.full((120, 2), 1e300, dtype=torch.float64),
            ),
            "noise: expected values that torch.float32 can hold, got 1e.300",
        ),
        (
            lambda: EMFitter(frozen={"weights": [1]}, **QUIET).fit(X, WEIGHTLESS, labels=LABEL),
            "labels: expected components of positive weight, as start has them, got 1",
        ),
        (
            lambda: EMFitter(engine="native", **QUIET).fit(X, START, labels=LABEL),
            "engine: expected 'native' to be available, got none: of labels, noise",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_certain_plausibilities_are_labels():
    known = torch.where(torch.arange(len(X)) % 3 == 0, LABEL, -1)
    certain = torch.nn.functional.one_hot(known.clamp(min=0), 3).double()
    certain[known < 0] = 1.0
    options = {"tol": 0.0, "max_iter": 5, **QUIET}
    expected = EMFitter(**options).fit(X, START, labels=known)
    for labels in (certain, certain.numpy(), certain.float(), certain.bool()):
        found = EMFitter(**options).fit(X, START, labels=labels)
        torch.testing.assert_close(found.mixture.means, expected.mixture.means)
        assert found.log_likelihood == pytest.approx(expected.log_likelihood)
        same_start = initialize(X, 3, labels=labels, seed=0)
        torch.testing.assert_close(same_start.means, initialize(X, 3, labels=known, seed=0).means)


def test_plausibilities_multiply_joint_densities():
    plausible = torch.rand(len(X), 3).double()
    fitter = EMFitter(tol=1e-10, max_iter=2000, reg_covar=0.0, **QUIET)
    result = fitter.fit(X, START, labels=plausible)
    assert ascends(result.history)
    mixture = result.mixture
    joint = torch.distributions.MultivariateNormal(mixture.means, mixture.covariance.values)
    log_joint = joint.log_prob(X.unsqueeze(1)) + mixture.weights.log() + plausible.log()
    assert result.log_likelihood == pytest.approx(float(log_joint.logsumexp(-1).mean()))
    shares = log_joint.softmax(-1)
    torch.testing.assert_close(mixture.weights, shares.mean(0), rtol=0, atol=1e-4)
    box = fitter.fit(X, START, labels=plausible, background="box")
    assert not len(box.outliers)  # something is known of each row
    unknown = fitter.fit(X, START, labels=torch.ones_like(plausible), background="box")
    plain = fitter.fit(X, START, background="box")
    assert unknown.log_likelihood == pytest.approx(plain.log_likelihood)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.ones(120, 2), r"labels: expected plausibilities of shape \(120, 3\), got"),
        (2 * torch.ones(120, 3), "labels: expected plausibilities from 0 to 1, got 2"),
        (torch.zeros(120, 3), "labels: expected a component that is plausible for each row"),
        (torch.full((120, 3), torch.nan), "labels: expected plausibilities from 0 to 1, got nan"),
    ],
)
def test_bad_plausibilities(labels, message):
    with pytest.raises(ValueError, match=message):
        fit(labels=labels)
