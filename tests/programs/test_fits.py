"""Training of programs of a user's own, against closed forms."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam

from pyro_ugmm.diagnostics import to_inference_data
from pyro_ugmm.guides import full_rank, low_rank, mean_field
from pyro_ugmm.training import fit_mle, fit_svi
from tests.programs.regressions import PROGRAMS, SIGMA, TAU, X, Y, posterior, with_size

QUIET = {"progress": False, "seed": 0}
EXACT = torch.linalg.lstsq(X, Y.unsqueeze(-1)).solution.squeeze(-1)


CASES = [(program, mean_field) for program in PROGRAMS]
CASES += [("without size", make) for make in (low_rank, full_rank)]


@pytest.mark.parametrize(("program", "make"), CASES)
def test_svi_finds_the_posterior(program, make):
    torch.manual_seed(0)
    model = PROGRAMS[program]()
    guide = make(model, start={"w": EXACT - 0.3})
    result = fit_svi(model, guide, X, Y, steps=200, learning_rate=0.05, **QUIET)
    mean, covariance = posterior()
    away = (result.guide.median(X, Y)["w"] - mean) / covariance.diagonal().sqrt()
    assert away.abs().max() < 0.5
    assert not [*pyro.get_param_store().keys()]


def test_minibatches_of_a_program_that_takes_size():
    guide = mean_field(with_size, x=X, y=Y)
    arguments = {"steps": 300, "batch_size": 10, "learning_rate": 0.05}
    result = fit_svi(with_size, guide, X, Y, **arguments, **QUIET)
    mean, covariance = posterior()
    assert ((guide.median()["w"] - mean) / covariance.diagonal().sqrt()).abs().max() < 1
    whole = fit_svi(with_size, mean_field(with_size, x=X, y=Y), X, Y, steps=300, **QUIET)
    assert abs(float(result.losses[-100:].mean() - whole.losses[-100:].mean())) < 5


@pytest.mark.parametrize("num_particles", [1, 5])
def test_particles_of_one_feature_do_not_broadcast(num_particles):
    """Draws of all particles at once times rows ``(n, 1)`` would make another model."""
    x, guide = X[:, :1], mean_field(with_size, start={"w": torch.ones(1)}, x=X[:, :1], y=Y)
    kwargs = {"steps": 150, "learning_rate": 0.05, "num_particles": num_particles}
    fit_svi(with_size, guide, x, Y, **kwargs, **QUIET)
    mean, covariance = posterior(x)
    assert abs(guide.median()["w"] - mean) < 0.5 * covariance.sqrt()


def function(x, y=None):
    w = pyro.param("w", torch.zeros(3))
    scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
    with pyro.plate("rows", len(x)):
        return pyro.sample("y", dist.Normal(x @ w, scale), obs=y)


class Module(PyroModule):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(3))
        self.scale = PyroParam(torch.tensor(1.0), dist.constraints.positive)

    def forward(self, x, y=None, size=None):
        w, scale = self.w, self.scale
        n_rows = len(x) if size is None else size
        with pyro.plate("rows", n_rows, subsample=torch.arange(len(x))):
            return pyro.sample("y", dist.Normal(x @ w, scale), obs=y)


@pytest.mark.parametrize("make", [lambda: function, Module])
def test_maximum_likelihood(make):
    result = fit_mle(make(), X, Y, steps=600, learning_rate=0.05, **QUIET)
    assert result.converged, result.reason
    found = dict(result.model.named_parameters())
    torch.testing.assert_close(found["w"].detach(), EXACT, rtol=1e-2, atol=1e-2)
    log_scale = next(value for name, value in found.items() if name.startswith("scale"))
    exact = (Y - X @ EXACT).square().mean().sqrt()
    torch.testing.assert_close(log_scale.detach().exp(), exact, rtol=1e-2, atol=1e-3)
    least = -torch.distributions.Normal(X @ EXACT, exact).log_prob(Y).sum()
    assert float(result.losses[-1]) == pytest.approx(float(least), abs=0.05)
    assert not [*pyro.get_param_store().keys()]


def test_what_has_no_prior_is_learned_beside_the_guide():
    def model(x, y=None):
        w = pyro.sample("w", dist.Normal(0.0, 2.0).expand([3]).to_event(1))
        scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Normal(x @ w, scale), obs=y)

    guide = mean_field(model, start={"w": EXACT}, x=X, y=Y)
    result = fit_svi(model, guide, X, Y, steps=300, learning_rate=0.05, **QUIET)
    (log_scale,) = [value for _, value in result.model.named_parameters()]
    assert float(log_scale.detach().exp()) == pytest.approx(SIGMA, abs=0.2)
    assert not [*pyro.get_param_store().keys()]


@pytest.mark.parametrize("make", [lambda: function, Module])
def test_a_checkpoint_is_taken_up_again(make, tmp_path):
    kwargs = {"steps": 60, "checkpoint": tmp_path / "run.pt", "checkpoint_every": 20, **QUIET}
    first = fit_mle(make(), X, Y, **kwargs)
    again = fit_mle(make(), X, Y, **kwargs)
    assert torch.equal(first.losses, again.losses)
    with pytest.raises(ValueError, match="checkpoint: "):
        fit_mle(make(), X, Y + 1, **kwargs)
    with pytest.raises(ValueError, match="checkpoint: "):
        fit_mle(lambda x, y: function(x, 2 * y), X, Y, **kwargs)


def test_a_data_set_of_rows():
    data = torch.utils.data.TensorDataset(X, Y)
    guide = mean_field(with_size, start={"w": EXACT - 0.3})  # three standard deviations away
    fit_svi(with_size, guide, data, batch_size=10, steps=150, learning_rate=0.05, **QUIET)
    mean, covariance = posterior()
    assert ((guide.median()["w"] - mean) / covariance.diagonal().sqrt()).abs().max() < 1


def test_rows_as_lists_and_arrays_are_those_of_tensors():
    losses = [
        fit_svi(with_size, mean_field(with_size), *rows, steps=20, **QUIET).losses
        for rows in ((X, Y), (X.tolist(), Y.numpy()))
    ]
    assert torch.equal(*losses)


def with_a_number(sigma, x, prior=None, y=None, size=None):
    """Arguments of which some are no rows."""
    w = pyro.sample("w", dist.Normal(0.0, prior["scale"]).expand([x.shape[1]]).to_event(1))
    n_rows = len(x) if size is None else size
    with pyro.plate("rows", n_rows, subsample=torch.arange(len(x))):
        pyro.sample("y", dist.Normal(x @ w, sigma), obs=y)


@pytest.mark.parametrize("batch_size", [None, 10])
def test_arguments_by_name(batch_size):
    data = {"sigma": SIGMA, "x": X, "prior": {"scale": TAU}, "y": Y.tolist()}
    guide = mean_field(with_a_number, start={"w": EXACT}, x=data)
    kwargs = {"steps": 200, "learning_rate": 0.05, "batch_size": batch_size}
    fit_svi(with_a_number, guide, data, **kwargs, **QUIET)
    mean, covariance = posterior()
    assert ((guide.median()["w"] - mean) / covariance.diagonal().sqrt()).abs().max() < 1


def test_a_plate_that_subsamples():
    """Steps are of subsamples; the start's curvature, of all rows."""

    def model(x, y=None):
        w = pyro.sample("w", dist.Normal(0.0, TAU).expand([x.shape[1]]).to_event(1))
        with pyro.plate("rows", len(x), subsample_size=10) as at:
            pyro.sample("y", dist.Normal(x[at] @ w, SIGMA), obs=y[at])

    guides = [mean_field(one, start={"w": EXACT}, x=X, y=Y) for one in (model, with_size)]
    torch.testing.assert_close(guides[0].scales.w, guides[1].scales.w)
    result = fit_svi(model, guides[0], X, Y, steps=200, learning_rate=0.05, **QUIET)
    mean, covariance = posterior()
    away = (guides[0].median()["w"] - mean) / covariance.diagonal().sqrt()
    assert away.abs().max() < 1.5
    assert result.losses.std() > 1  # they are noisy, as each step sees other rows


def schools(sigma, y=None):
    center = pyro.sample("center", dist.Normal(0.0, 2.0))
    with pyro.plate("schools", len(sigma)):
        effect = pyro.sample("effect", dist.Normal(center, 1.5))
        pyro.sample("y", dist.Normal(effect, sigma), obs=y)


def test_widths_of_sites_in_a_plate_are_those_of_the_curvature():
    sigma = torch.tensor([0.5, 1.0, 2.0])
    start = {"center": 1.0, "effect": torch.ones(3)}
    data = {"sigma": sigma, "y": torch.zeros(3)}
    guide = mean_field(schools, start=start, x=data)
    torch.testing.assert_close(guide.median(**data)["effect"], torch.ones(3))
    expected = (sigma**-2 + 1.5**-2).rsqrt()
    torch.testing.assert_close(guide.scales.effect.detach(), expected.clamp(max=1.0))
    whole = full_rank(schools, start=start, x=data)
    precision = torch.block_diag(torch.tensor([[0.25 + 3 / 2.25]]), (sigma**-2 + 1 / 2.25).diag())
    precision[0, 1:] = precision[1:, 0] = -1 / 2.25
    values = torch.linalg.eigh(precision)
    wide = values.eigenvectors * values.eigenvalues.clamp(min=1.0).rsqrt()
    scale = whole.scale_tril.detach() * whole.scale.detach()[:, None]
    torch.testing.assert_close(scale @ scale.mT, wide @ wide.mT)


def in_parts(sigma, y=None):
    """The same, by two schools at a time."""
    center = pyro.sample("center", dist.Normal(0.0, 2.0))
    with pyro.plate("schools", len(sigma), subsample_size=2) as at:
        effect = pyro.sample("effect", dist.Normal(center, 1.5))
        pyro.sample("y", dist.Normal(effect, sigma[at]), obs=y[at])


def test_sites_in_a_plate_that_subsamples():
    data = {"sigma": torch.tensor([0.5, 1.0, 2.0]), "y": torch.tensor([3.0, 1.0, -2.0])}
    start = {"center": 1.0, "effect": torch.tensor([2.0, 1.0, -1.0])}
    guides = [mean_field(one, start=start, x=data) for one in (in_parts, schools)]
    for name in ("locs", "scales"):
        first, second = (getattr(guide, name).effect for guide in guides)
        torch.testing.assert_close(first, second)
    with pytest.raises(ValueError, match=r"guide: expected mean_field, as .'effect'. are in a"):
        full_rank(in_parts, x=data)
    kwargs = {"steps": 150, "learning_rate": 0.05, "num_particles": 2, **QUIET}
    for one, guide in zip((in_parts, schools), guides, strict=True):
        fit_svi(one, guide, data, **kwargs)
    away = guides[0].locs.effect - guides[1].locs.effect
    assert (away / guides[1].scales.effect).abs().max() < 1
    idata = to_inference_data(in_parts, guides[0], data, num_samples=10, seed=0)
    assert idata.posterior["effect"].dims == ("chain", "draw", "schools")
    assert idata.log_likelihood["y"].shape == (1, 10, 3)
