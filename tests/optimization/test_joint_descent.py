"""Fits from several starts at once are those of each start alone."""

import copy
from functools import partial

import pyro
import pytest
import torch

from pyro_ugmm.batched_parameters import batched
from pyro_ugmm.guides import full_rank, low_rank, mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMLayer, UGMMNetwork
from pyro_ugmm.nn.dropout import drop_where_inputs_remain
from pyro_ugmm.optimization.descent import Descent
from pyro_ugmm.optimization.iterates import Iterates
from pyro_ugmm.optimization.joint_descent import JointDescent
from pyro_ugmm.optimization.objective import Objective
from pyro_ugmm.optimization.optimizer import Optimizer
from pyro_ugmm.optimization.schedule import Schedule
from pyro_ugmm.optimization.stopping import StoppingRule, Verdict
from pyro_ugmm.sources.tensor_batches import TensorBatches
from pyro_ugmm.status import Status
from pyro_ugmm.training import fit_mle, fit_svi
from tests.optimization.striking import struck

X = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
Y = torch.arange(30) % 3
MISSING = X.clone()
MISSING[::3, 1] = torch.nan
NONE = Priors(means=None, variances=None, weights=None, correlations=None)
QUIET = {"seed": 0, "progress": False}


def network(sizes=(4, 5, 3), **options):
    return UGMMNetwork(sizes, dtype=torch.float64, **options)


def mixture(covariance):
    return lambda: BayesianGaussianMixture(2, 4, covariance, NONE).double()


MODELS = {
    "network": (lambda: UGMMClassifier(network(normalization="layer")), (X, Y)),
    "missing": (lambda: UGMMClassifier(network(missing="omit")), (MISSING, Y)),
    "density": (lambda: UGMMDensity(network((5, 4, 1)), 3), (X, Y)),
    "full": (mixture("full"), (X,)),
    "tied": (mixture("tied"), (X,)),
}


def starts_of(model, count, monkeypatch):
    """Starts, which copies of the model will take, without a random number."""
    torch.manual_seed(1)
    starts = [model.draw_start(*MODELS["network"][1]) for _ in range(count)]
    left = iter(starts)
    monkeypatch.setattr(type(model), "draw_start", lambda self, *rows: next(left))
    return starts


def assert_same(fit, alone):
    assert fit.reason == alone.reason and fit.status is alone.status
    assert fit.averaged_from == alone.averaged_from
    torch.testing.assert_close(fit.losses, alone.losses, rtol=1e-7, atol=1e-7, equal_nan=True)
    for part in ("model", "guide"):
        pair = [getattr(one, part) for one in (fit, alone)]
        if pair[0] is not None:
            states = [{**one.state_dict()} for one in pair]
            torch.testing.assert_close(*states, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("name", MODELS)
def test_models_are_those_fitted_alone(name, batch_size, monkeypatch):
    """The second start breaks down, in a network."""
    make, data = MODELS[name]
    model = make()
    starts = starts_of(model, 2, monkeypatch)
    if hasattr(model, "network"):
        starts[0].layers[0].loc.data.fill_(1e200)
    options = {"steps": 50, "batch_size": batch_size, "learning_rate": 0.01, **QUIET}
    models = [copy.deepcopy(model) for _ in range(3)]
    for other, start in zip(models[1:], starts, strict=True):
        other.take_start(start)
    alone = [fit_mle(one, *data, **options) for one in models]
    result = fit_mle(model, *data, num_starts=3, **options)
    assert "3 of 3 starts were fitted at once" in result.reason
    for fit, other in zip(result.fits, alone, strict=True):
        assert_same(fit, other)
        assert all(p.untyped_storage().nbytes() == p.nbytes for p in fit.model.parameters())


class Noise:
    """Not random, and the same for each guide: it differs by coordinate and particle alone."""

    def __init__(self, *shape, dtype):
        self.noise = torch.linspace(-1, 1, shape[-1], dtype=dtype).expand(shape).clone()
        if len(shape) > 1:
            self.noise *= torch.arange(1, shape[0] + 1).view(-1, *(1 for _ in shape[1:]))

    @classmethod
    def like(cls, tensor):
        return cls(*tensor.shape, dtype=tensor.dtype).noise

    @classmethod
    def of_shape(cls, shape, dtype, device):
        return cls(*shape, dtype=dtype).noise


@pytest.mark.parametrize("num_particles", [1, 3])
@pytest.mark.parametrize("make_guide", [mean_field, low_rank, full_rank])
@pytest.mark.parametrize("priors", [Priors(weights=1.0), Priors(means=None)])
def test_guides_are_those_fitted_alone(priors, make_guide, num_particles, monkeypatch):
    factors = torch.randn(100, 20, dtype=torch.float64)

    def make(model, start=None):
        guide = make_guide(model, start=start)
        guide(X, Y)
        if make_guide is low_rank:  # whose factor is random
            guide.cov_factor.data = 0.1 * factors[: guide.latent_dim, : guide.rank]
        return guide

    def fit(model, guide, **kwargs):
        options = {"steps": 30, "num_particles": num_particles, "learning_rate": 0.02}
        return fit_svi(model, guide, X, Y, **options, **kwargs, **QUIET)

    model = UGMMClassifier(network(), priors).double()
    starts = starts_of(model, 2, monkeypatch)
    models = [copy.deepcopy(model) for _ in range(3)]
    guides = [make(*pair) for pair in zip(models, [None, *starts], strict=True)]
    monkeypatch.setattr(
        torch.Tensor, "normal_", lambda self, *_, **__: self.copy_(Noise.like(self))
    )
    monkeypatch.setattr(torch, "randn_like", Noise.like)
    low_rank_normal = torch.distributions.lowrank_multivariate_normal
    monkeypatch.setattr(low_rank_normal, "_standard_normal", Noise.of_shape)
    alone = [fit(*pair) for pair in zip(models, guides, strict=True)]
    result = fit(model, make, num_starts=3)
    assert "3 of 3 starts were fitted at once" in result.reason
    for one, other in zip(result.fits, alone, strict=True):
        assert_same(one, other)


def logarithms(start):
    """Minimizes log(p + 1) from a start, towards where it is no number, or a rule ends it."""
    parameter = torch.nn.Parameter(torch.tensor([start]))

    def loss(rows):
        return (parameter + 1).log().sum()

    return Objective(loss, {"p": parameter}, "a logarithm", lambda rows: None)


class Below(StoppingRule):
    """Ends a run whose parameter is small, without being negative; none does after 20 steps."""

    def __init__(self, parameters, schedule):
        (self.parameter,) = parameters
        self.seen = []

    def update(self, n_steps):
        self.seen.append(self.parameter.item())

    def is_met(self, losses):
        return bool((self.parameter.abs() < 0.04).all())

    def verdict(self, losses):
        return Verdict(Status.CONVERGED, f"seen {len(self.seen)}, the last {self.seen[-1]:.3f}")


STARTS = (-0.75, 0.5, 5.0)
"""The first breaks down, the second is ended by its rule, the third takes all steps."""


def descend(stopping=Below):
    objectives = [logarithms(start) for start in STARTS]
    parameters = {"p": torch.nn.Parameter(torch.tensor(STARTS).view(-1, 1, 1))}
    schedule = Schedule(20, lambda step: 0.1, progress=False)
    batches = TensorBatches((torch.zeros(4, 1),), None, None)

    def losses(rows):
        return (parameters["p"] + 1).log().sum((1, 2))

    joint = JointDescent(objectives, losses, parameters, batches, schedule, stopping)
    return objectives, joint, partial(Descent, batches=batches, schedule=schedule)


def test_each_start_ends_as_it_does_alone():
    objectives, joint, descent = descend()
    results = joint.run()
    for objective, result, start in zip(objectives, results, STARTS, strict=True):
        other = logarithms(start)
        alone = descent(other, run={}, stopping=Below).run()
        assert result.reason == alone.reason and result.status is alone.status
        torch.testing.assert_close(result.losses, alone.losses, equal_nan=True)
        torch.testing.assert_close(objective.parameters["p"], other.parameters["p"])
    assert [one.status for one in results] == [Status.BROKEN_DOWN] + 2 * [Status.CONVERGED]
    assert results[0].n_steps < results[1].n_steps < results[2].n_steps == 20


def classifier(priors=None):
    return UGMMClassifier(UGMMNetwork([4, 5, 3]), priors)


def several(svi=False):
    model, x = classifier(Priors(weights=1.0) if svi else None), X.float()
    options = {"steps": 12, "num_starts": 3, "learning_rate": 0.01, **QUIET}
    if svi:
        return model, fit_svi(model, mean_field, x, Y, **options)
    return model, fit_mle(model, x, Y, **options)


@pytest.mark.parametrize("svi", [False, True])
@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [(Optimizer, "step", 5), (TensorBatches, "next", 5), (Iterates, "update", 4)],
)
def test_an_interrupt_ends_all_starts(svi, owner, name, count, monkeypatch):
    original, calls = getattr(owner, name), []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == count:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(owner, name, interrupted)
    _, result = several(svi)
    assert [fit.status for fit in result.fits] == [Status.INTERRUPTED] * 3
    assert result.interrupted and result.weights.sum() > 0.99
    for fit in result.fits:
        assert fit.reason == f"interrupted after {fit.n_steps} of 12 steps" and fit.n_steps
        assert all(p.isfinite().all() for p in fit.model.parameters())


@pytest.mark.parametrize(("svi", "strikes"), [(False, 10), (True, 2)])
def test_an_interrupt_at_any_call_gives_a_result(svi, strikes):
    fit = partial(several, svi)
    calls, _ = struck(JointDescent.run, -1, fit)
    for call in range(1, calls, calls // strikes):
        _, (model, result) = struck(JointDescent.run, call, fit)
        assert len(result.fits) == 3 and result.fits[0].model is model
        assert not pyro.settings.get("module_local_params")
        assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
        assert all(p.isfinite().all() for one in result.fits for p in one.model.parameters())


class Summing(UGMMClassifier):
    """Scores that are off where parameters have more dimensions than their own."""

    def __init__(self, network):
        super().__init__(network)
        self.gain = torch.nn.Parameter(torch.ones(3))

    def scores(self, x, draws=None):
        return super().scores(x, draws) * self.gain.mean()


class Transposing(Summing):
    """Scores that are not there at all then."""

    def scores(self, x, draws=None):
        return super().scores(x, draws) @ torch.diag(self.gain)


@pytest.mark.parametrize("kind", [Summing, Transposing])
def test_a_model_of_one_set_of_parameters_is_fitted_again_and_again(kind):
    torch.manual_seed(0)
    model = kind(UGMMNetwork([4, 3]))
    result = fit_mle(model, X.float(), Y, steps=5, num_starts=2, **QUIET)
    assert "2 of 2 starts were fitted one after the other" in result.reason


def test_gradients_of_each_start_are_cut_by_their_own_norm():
    options = {"steps": 5, "num_starts": 2, "max_gradient_norm": 1.0, **QUIET}
    for priors, fit in ((None, fit_mle), (Priors(), partial(fit_svi, guide=mean_field))):
        result = fit(classifier(priors), x=X.float(), y=Y, **options)
        assert "2 of 2 starts were fitted one after the other" in result.reason


@pytest.mark.parametrize("missing", ["error", "omit"])
def test_each_start_drops_components_of_its_own(missing):
    layer = UGMMLayer(4, 3, dropout=0.5, missing=missing, dtype=torch.float64)
    torch.manual_seed(0)
    scores = batched([layer] * 8)(X if missing == "error" else MISSING)
    assert scores.isfinite().all()
    assert len({tuple(of_one[0].tolist()) for of_one in scores}) > 4


def test_no_start_drops_all_that_a_row_has(monkeypatch):
    """Neurons that would keep all their components where one start drops too many."""
    torch.manual_seed(0)
    x, logits, draws = X[:3].clone(), torch.randn(2, 4), torch.rand(8, 1, 2, 4)
    x[0, :3] = torch.nan

    def dropped(logits, draws):
        monkeypatch.setattr(torch, "rand_like", lambda _: draws)
        return drop_where_inputs_remain(x, logits.double(), 0.5)

    whole = dropped(logits.expand(8, 1, 2, 4), draws)
    assert 0 < int((whole == -torch.inf).any(-1).sum()) < 16
    for of_one, own in zip(whole, draws, strict=True):
        assert torch.equal(of_one[0], dropped(logits, own[0]))
