import hypothesis.strategies as st
import numpy as np
import pyro
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from pyro.distributions.testing.gof import auto_goodness_of_fit
from scipy import stats

from pyro_ugmm.distributions import GaussianMixture
from pyro_ugmm.distributions.blocks import BlockEvaluator
from pyro_ugmm.distributions.components import Components
from tests.distributions.mixtures import (
    by_count,
    by_structure,
    close,
    known,
    parameters,
    random_matrices,
    random_mixture,
    rebuilt,
    rows,
)

by_dtype = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 3e-5)]
)


def with_gradient(*tensors):
    return [t.detach().clone().requires_grad_() for t in tensors]


# -- densities ------------------------------------------------------------------------------


@by_structure
@by_count
@by_dtype
def test_densities_match_scipy(structure, n_components, dtype, tolerance, device):
    mixture, truth = random_mixture(structure, n_components, 3, dtype=dtype, device=device)
    x = rows(100, 3, dtype=dtype, device=device)
    y = x.cpu().numpy()
    close(mixture.log_prob(x), truth.log_prob(y), tolerance)
    close(mixture.responsibilities(x), truth.responsibilities(y), tolerance)
    best = np.sort(truth.log_joint(y))
    clear = best[:, -1] - best[:, -2] > 1e-3
    assert clear.mean() > 0.9
    found = mixture.predict(x).cpu().numpy()
    assert (found == truth.log_joint(y).argmax(-1))[clear].all()


@by_structure
@by_count
@by_dtype
def test_gradients_do_not_change_the_values(structure, n_components, dtype, tolerance):
    """With gradients, log densities come from deviations; without, from blocks of rows."""
    mixture, _ = random_mixture(structure, n_components, dtype=dtype)
    x = rows(20_000, 2, dtype=dtype)  # several blocks, the last of another size
    for function in (mixture.log_prob, mixture.responsibilities):
        (direct,) = (function(value) for value in with_gradient(x))
        blocks = function(x)
        assert direct.requires_grad and not blocks.requires_grad
        close(blocks, direct.detach(), tolerance)


@by_structure
@pytest.mark.parametrize("n_features", [1, 2, 5, 6])
def test_any_number_of_features(structure, n_features):
    mixture, truth = random_mixture(structure, 11, n_features)
    x = rows(20, n_features)
    close(mixture.log_prob(x), truth.log_prob(x))


@by_structure
@by_count
def test_zero_weights(structure, n_components):
    weights = np.append([0, 0], np.full(n_components - 2, 1 / (n_components - 2)))
    rng = np.random.default_rng(0)
    means, matrices = rng.normal(size=(n_components, 2)), random_matrices(rng, n_components, 2)
    mixture, truth = known(weights, means, matrices, structure)
    x = rows(20, 2)
    close(mixture.log_prob(x), truth.log_prob(x))
    assert (mixture.responsibilities(x)[:, :2] == 0).all()
    *tensors, x = with_gradient(*parameters(mixture), x)
    mixture = rebuilt(structure, *tensors)
    value = mixture.log_prob(x).sum() + mixture.responsibilities(x)[:, 2].sum()
    for gradient in torch.autograd.grad(value, (*tensors, x)):
        assert gradient.isfinite().all()


def test_rows_far_from_everything_belong_somewhere(device):
    mixture, _ = random_mixture("full", 12, dtype=torch.float32, device=device)
    x = torch.tensor([[1e6, -1e6], [1e15, 0.0]], device=device)
    assert mixture.log_prob(x).isfinite().all()
    torch.testing.assert_close(mixture.responsibilities(x).sum(-1), torch.ones(2, device=device))


def test_no_rows():
    mixture, _ = random_mixture()
    x = torch.zeros(0, 2, dtype=torch.float64)
    assert mixture.log_prob(x).shape == mixture.predict(x).shape == (0,)
    assert mixture.responsibilities(x).shape == (0, 3)


# -- gradients ------------------------------------------------------------------------------


@by_structure
@pytest.mark.parametrize("batches", [((), (), ()), ((2,), (2, 1), (2,))])
def test_gradcheck(structure, batches):
    mixture, _ = random_mixture(structure, 3, 2, batches)
    weights = mixture.weights[(0,) * (len(mixture.batch_shape) - len(batches[0]))]
    _, *others = mixture.tensors().values()
    inputs = with_gradient(weights, *others, rows(2, 2))

    def log_prob(*tensors):
        return rebuilt(structure, *tensors[:-1], validate_args=False).log_prob(tensors[-1])

    assert torch.autograd.gradcheck(log_prob, inputs)


@by_structure
def test_one_mixture_differentiates_again(structure):
    """What evaluation keeps of the parameters is no part of a graph."""
    mixture, _ = random_mixture(structure)
    values, x = [t.requires_grad_() for t in parameters(mixture)[2:]], rows(5, 2)
    with torch.no_grad():
        mixture.log_prob(x)
    gradients = [torch.autograd.grad(mixture.log_prob(x).sum(), values) for _ in range(2)]
    for one, again in zip(*gradients, strict=True):
        assert torch.equal(one, again) and one.abs().max() > 0


def score(truth, x):
    r"""The gradient of the log density, :math:`\sum_k r_k \Sigma_k^{-1} (\mu_k - x)`."""
    pulls = np.linalg.solve(truth.matrices, (truth.means - x[:, None])[..., None])[..., 0]
    return np.einsum("nk,nkd->nd", truth.responsibilities(x), pulls)


@by_structure
@by_count
def test_function_transforms(structure, n_components):
    mixture, truth = random_mixture(structure, n_components, validate_args=False)
    x = rows(6, 2)
    expected = score(truth, x.numpy())
    for _ in range(2):  # what a transform leaves behind does not disturb the next
        close(torch.func.grad(lambda x: mixture.log_prob(x).sum())(x), expected)
        close(torch.func.vmap(torch.func.grad(mixture.log_prob))(x), expected)
        close(torch.func.vmap(mixture.log_prob)(x), truth.log_prob(x))
        close(torch.func.jacfwd(mixture.log_prob)(x[0]), expected[0])
        close(mixture.log_prob(x), truth.log_prob(x))
        (leaf,) = with_gradient(x)
        close(torch.autograd.grad(mixture.log_prob(leaf).sum(), leaf)[0], expected)


def test_vmap_of_mixtures_that_check_their_arguments():
    """As torch's own distributions allow."""
    mixture, truth = random_mixture()
    x = rows(6, 2)
    close(torch.func.vmap(mixture.log_prob)(x), truth.log_prob(x))


@by_structure
def test_vmap_over_parameters(structure):
    mixture, truth = random_mixture(structure, 3, 2, ((4,), (4,), (4,)))
    x = rows(2)

    def log_prob(*tensors):
        return rebuilt(structure, *tensors, validate_args=False).log_prob(x)

    got = torch.func.vmap(log_prob)(*parameters(mixture))
    close(got, truth.log_prob(x))


# -- shapes ---------------------------------------------------------------------------------


@by_structure
@settings(deadline=None, max_examples=25)
@given(shapes=mutually_broadcastable_shapes(num_shapes=4, max_dims=2, max_side=3), data=st.data())
def test_batches_broadcast(structure, shapes, data):
    """Among weights, means, covariance and value."""
    *batches, of_rows = shapes.input_shapes
    n_components, n_features = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    mixture, truth = random_mixture(structure, n_components, n_features, batches)
    assert mixture.batch_shape == np.broadcast_shapes(*batches)
    assert mixture.event_shape == (n_features,)
    x = rows(*of_rows, n_features)
    for value in (x, *with_gradient(x)):
        assert mixture.log_prob(value).shape == shapes.result_shape
        close(mixture.log_prob(value), truth.log_prob(x))
        assert mixture.responsibilities(value).shape == (*shapes.result_shape, n_components)
        close(mixture.responsibilities(value), truth.responsibilities(x))


def test_expand():
    mixture, truth = random_mixture(batches=((), (3,), ()))
    wide = mixture.expand((2, 3))
    assert type(wide) is GaussianMixture
    assert wide.batch_shape == wide.to(torch.float32).batch_shape == (2, 3)
    assert wide.weights.shape == (2, 3, 3) and wide.means.shape == (2, 3, 3, 2)
    assert wide.mean.shape == wide.variance.shape == wide.sample().shape == (2, 3, 2)
    x = rows(5, 1, 1, 2)
    close(wide.log_prob(x), np.broadcast_to(truth.log_prob(x), (5, 2, 3)))
    assert wide.responsibilities(x).shape == (5, 2, 3, 3)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_batches_do_not_shrink(shape):
    mixture, _ = random_mixture(batches=((3,), (), ()))
    with pytest.raises((ValueError, RuntimeError)):
        mixture.expand(shape)


@by_structure
def test_to_another_dtype(structure):
    mixture, truth = random_mixture(structure, missing="marginalize", validate_args=False)
    moved = mixture.to(torch.float32)
    assert {t.dtype for t in parameters(moved)} == {torch.float32}
    assert moved.missing == "marginalize" and not moved._validate_args
    x = rows(10, 2, dtype=torch.float32)
    close(moved.log_prob(x), truth.log_prob(x), 1e-4)


def test_repr():
    mixture, _ = random_mixture("diagonal", missing="marginalize", batches=((4,), (), ()))
    assert repr(mixture) == (
        "GaussianMixture(batch_shape=(4,), n_components=3, n_features=2, "
        "covariance='diagonal', missing='marginalize')"
    )


# -- moments and samples --------------------------------------------------------------------


@by_structure
def test_moments(structure):
    mixture, truth = random_mixture(structure, batches=((2,), (), (2,)))
    mean = truth.weights @ truth.means
    second = truth.matrices + np.einsum("kd,ke->kde", truth.means, truth.means)
    covariance = np.einsum("bk,bkde->bde", truth.weights, second)
    covariance -= np.einsum("bd,be->bde", mean, mean)
    close(mixture.mean, mean)
    close(mixture.covariance_matrix, covariance)
    close(mixture.variance, covariance.diagonal(axis1=-2, axis2=-1))


@by_structure
@pytest.mark.parametrize("n_features", [1, 2])
def test_samples_fit_the_density(structure, n_features, device):
    mixture, _ = random_mixture(structure, n_features=n_features, device=device)
    x = mixture.sample((20_000,))
    assert auto_goodness_of_fit(x.cpu(), mixture.log_prob(x).exp().cpu()) > 1e-3


@by_structure
@pytest.mark.parametrize("batches", [((2,), (2,), (2,)), ((), (2,), ()), ((2,), (), (1,))])
def test_samples_come_from_their_component(structure, batches):
    mixture, truth = random_mixture(structure, 3, 3, batches)
    x, component = mixture.sample_with_component((20_000, 1))
    assert x.shape == (20_000, 1, 2, 3) and component.shape == (20_000, 1, 2)
    shapes = (2, 3), (2, 3, 3), (2, 3, 3, 3)
    of_batch = zip((truth.weights, truth.means, truth.matrices), shapes, strict=True)
    weights, means, matrices = (np.broadcast_to(a, shape) for a, shape in of_batch)
    for i, k in np.ndindex(2, 3):
        mine = x[:, 0, i][component[:, 0, i] == k].numpy()
        assert len(mine) / 20_000 == pytest.approx(weights[i, k], abs=0.015)
        white = np.linalg.solve(np.linalg.cholesky(matrices[i, k]), (mine - means[i, k]).T)
        np.testing.assert_allclose(white.mean(1), 0, atol=4.5 / len(mine) ** 0.5)
        np.testing.assert_allclose(np.cov(white), np.eye(3), atol=6.5 / len(mine) ** 0.5)
        assert stats.kstest((white**2).sum(0), stats.chi2(3).cdf).pvalue > 1e-4


def test_samples_repeat_and_carry_no_gradients():
    mixture, _ = random_mixture()
    tensors = with_gradient(*parameters(mixture))
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(rebuilt("full", *tensors).sample((5,)))
    assert torch.equal(*draws) and not draws[0].requires_grad


# -- Pyro -----------------------------------------------------------------------------------


def test_inside_pyro():
    mixture, truth = random_mixture()
    data, mask = rows(6, 2), torch.tensor([True, False] * 3)

    def model(obs=None):
        with pyro.plate("data", 6), pyro.poutine.mask(mask=mask):
            return pyro.sample("x", mixture, obs=obs)

    trace = pyro.poutine.trace(model).get_trace(data)
    expected = truth.log_prob(data.numpy())[mask]
    assert trace.log_prob_sum().item() == pytest.approx(expected.sum())
    assert pyro.poutine.trace(model).get_trace().nodes["x"]["value"].shape == (6, 2)


def test_plates_over_a_batch_of_mixtures_and_their_rows():
    mixture, truth = random_mixture(batches=((3,), (3,), (3,)))
    data = rows(5, 3, 2)

    def model():
        with pyro.plate("mixtures", 3), pyro.plate("rows", 5):
            pyro.sample("x", mixture, obs=data)
        with pyro.plate("once", 4):
            pyro.sample("y", mixture.to_event(1))

    trace = pyro.poutine.trace(model).get_trace()
    trace.compute_log_prob()
    close(trace.nodes["x"]["log_prob"], truth.log_prob(data))
    assert trace.nodes["y"]["value"].shape == (4, 3, 2)


def test_gradients_reach_learned_parameters():
    """The likelihood of a plate, as SVI and NUTS see it, has the score as its gradient."""
    mixture, truth = random_mixture()
    weights, means, values = with_gradient(*parameters(mixture))
    data = rows(6, 2)

    def model():
        with pyro.plate("data", 6):
            pyro.sample("x", rebuilt("full", weights, means, values), obs=data)

    likelihood = pyro.poutine.trace(model).get_trace().log_prob_sum()
    (gradient,) = torch.autograd.grad(likelihood, means)
    deviations = (data.numpy()[:, None] - truth.means)[..., None]
    pulls = np.linalg.solve(truth.matrices, deviations)[..., 0]
    close(gradient, np.einsum("nk,nkd->kd", truth.responsibilities(data), pulls))


# -- what would go wrong silently -----------------------------------------------------------


def test_batches_expand_from_what_they_are():
    mixture, _ = random_mixture()
    for wrong in (mixture.expand((2,)), random_mixture(batches=((2,), (), ()))[0]):
        with pytest.raises(ValueError, match=r"batch_shape: expected .* \(2,\) expands to.*\(3,\)"):
            wrong.expand((3,))


@pytest.mark.parametrize("structure", ["full", "diagonal", "spherical"])
@by_count
@pytest.mark.parametrize("missing", [False, True])
def test_rows_beyond_the_numbers_range_belong_somewhere(structure, n_components, missing):
    """Float64 still holds the squares that float32 does not."""
    options = {"missing": "marginalize"}
    mixture, _ = random_mixture(structure, n_components, 3, dtype=torch.float32, **options)
    exact = mixture.to(torch.float64)
    x = torch.tensor([[1e20, 0, 1], [-1e22, 1e20, 3], [0, 1e25, 1e25], [0.5, 0, 0], [2e20, 2, 2]])
    if missing:
        x[:, 1] = torch.nan
    expected = exact.responsibilities(x.double())
    for value in (x, *with_gradient(x)):
        close(mixture.responsibilities(value).double(), expected, 1e-4)
        assert torch.equal(mixture.predict(value), exact.predict(x.double()))
    assert mixture.log_prob(x)[0] == -torch.inf
    close(mixture.condition({0: x[:, 0]}).weights, exact.condition({0: x[:, 0]}).weights, 1e-4)
    wide = mixture.expand((2, len(x))).responsibilities(x)
    close(wide.double(), expected.expand(2, -1, -1), 1e-4)


def test_of_equal_covariances_the_means_decide_about_rows_beyond_range():
    mixture, truth = random_mixture("tied", 4, dtype=torch.float32)
    u = rows(50, 2, dtype=torch.float32)
    slope = u.numpy() @ np.linalg.solve(truth.matrices[0], truth.means.T)
    for x in (1e25 * u, 1e25 * u.requires_grad_()):
        assert (mixture.predict(x).numpy() == slope.argmax(-1)).all()


@by_structure
def test_a_weight_of_zero_leaves_rows_in_the_natural_form(structure):
    mixture, _ = random_mixture(structure, 12)
    weights = mixture.weights.clone()
    weights[0] = 0
    zero = rebuilt(structure, weights / weights.sum(), *parameters(mixture)[1:])
    components = Components.from_tensors(zero.tensors(), type(zero.covariance))
    assert not BlockEvaluator(components).overflows(rows(50, 2))


@by_structure
@by_count
def test_changes_in_inference_mode_count(structure, n_components):
    with torch.inference_mode():
        mixture, _ = random_mixture(structure, n_components)
        x = rows(20, 2)
        mixture.log_prob(x)
        _, *others = mixture.tensors().values()
        for tensor in others:
            tensor.mul_(2)
        close(mixture.log_prob(x), rebuilt(structure, *parameters(mixture)).log_prob(x))
