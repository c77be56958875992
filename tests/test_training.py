import math

import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal

from pyro_ugmm.guides import mean_field
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.optimization.schedule import Schedule
from pyro_ugmm.training import FitResult, fit_mle, fit_svi
from tests.models.networks import QUIET, accuracy, data, network


def test_maximum_likelihood_equals_svi_without_priors_under_an_empty_guide():
    """Against Pyro's own SVI, with the optimizer and schedule that fit_mle documents."""
    x, y = data()
    ours, theirs = network(), network()
    result = fit_mle(UGMMClassifier(ours, copy=False), x, y, steps=60, learning_rate=0.05, **QUIET)
    scheduler = pyro.optim.PyroLRScheduler(
        torch.optim.lr_scheduler.LambdaLR,
        {
            "optimizer": torch.optim.Adam,
            "optim_args": {"lr": 1.0},
            "lr_lambda": Schedule(60, 0.05).rate,
        },
    )
    svi = SVI(
        UGMMClassifier(theirs, copy=False), lambda *args, **kwargs: None, scheduler, Trace_ELBO()
    )
    losses = []
    for _ in range(60):
        losses.append(svi.step(x, y))
        scheduler.step()
    torch.testing.assert_close(result.losses, torch.tensor(losses), rtol=1e-4, atol=1e-3)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_maximum_likelihood_by_fit_svi_without_priors():
    x, y = data()
    ours, theirs = network(), network()
    a = fit_mle(UGMMClassifier(ours, copy=False), x, y, steps=60, learning_rate=0.05, **QUIET)
    b = fit_svi(
        UGMMClassifier(theirs),
        lambda *args, **kwargs: None,
        x,
        y,
        steps=60,
        learning_rate=0.05,
        **QUIET,
    )
    torch.testing.assert_close(a.losses, b.losses, rtol=1e-4, atol=1e-3)


def test_fit_mle_learns_and_reports():
    x, y = data()
    net = network(dropout=0.2).eval()
    result = fit_mle(UGMMClassifier(net, copy=False), x, y, steps=200, **QUIET)
    assert isinstance(result, FitResult) and result.n_steps == 200
    assert result.losses[0].item() == pytest.approx(40 * math.log(3), rel=0.3)  # nats, all rows
    assert result.losses[-20:].mean() < 0.3 * result.losses[0]
    assert not net.training  # the mode is left as it was
    x_new, y_new = data(60, seed=1)
    assert (net(x_new).argmax(-1) == y_new).float().mean() > 0.9
    assert "converged=" in repr(result) and result.reason in repr(result)


def test_fit_svi_runs_with_no_other_argument_and_learns():
    x, y = data()
    model = UGMMClassifier(network(), Priors())
    guide = mean_field(model)
    result = fit_svi(model, guide, x, y, steps=300, **QUIET)
    assert result.guide is guide
    assert result.losses[-20:].mean() < 0.75 * result.losses[:20].mean()
    assert accuracy(model, guide, *data(60, seed=1)) > 0.9


@pytest.mark.parametrize("fit", ["mle", "svi"])
def test_minibatches_estimate_the_full_loss(fit):
    x, y = data(42)
    if fit == "mle":
        result = fit_mle(
            UGMMClassifier(network()), x, y, steps=3, batch_size=21, learning_rate=1e-9, **QUIET
        )
        full = fit_mle(UGMMClassifier(network()), x, y, steps=1, learning_rate=1e-9, **QUIET)
        assert result.losses[:2].mean().item() == pytest.approx(full.losses[0].item(), rel=1e-4)
    else:
        model = UGMMClassifier(network(), Priors())
        guide = mean_field(model, init_scale=1e-4)
        options = {"num_particles": 200, "learning_rate": 1e-9, **QUIET}
        result = fit_svi(model, guide, x, y, steps=2, batch_size=21, **options)
        full = fit_svi(model, guide, x, y, steps=1, **options)
        # A pass over both halves is the full negative ELBO, but for the noise of the draws: that
        # of log q, the root of half the number of parameters, is ten nats for one of them.
        assert result.losses.mean().item() == pytest.approx(full.losses[0].item(), abs=4)
    uneven = fit_mle(UGMMClassifier(network()), x, y, steps=9, batch_size=10, **QUIET)
    assert uneven.n_steps == 9 and uneven.losses.isfinite().all()


def test_a_seed_repeats_a_run_and_leaves_the_generator_alone():
    x, y = data()
    runs = []
    for _ in range(2):
        torch.manual_seed(torch.randint(1000, ()).item())
        state = torch.get_rng_state()
        model = UGMMClassifier(network(5), Priors())
        state = torch.get_rng_state()
        runs.append(fit_svi(model, mean_field(model), x, y, steps=5, batch_size=10, **QUIET).losses)
        assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)
    model = UGMMClassifier(network(5), Priors())
    other = fit_svi(model, mean_field(model), x, y, steps=5, seed=1, progress=False)
    assert not torch.equal(other.losses, runs[0])


def probabilities(model, guide, x):
    draws = Predictive(model, guide=guide, num_samples=20, return_sites=("y",))
    torch.manual_seed(0)
    return draws(x)["y"]


def test_two_fitted_guides_stay_right_under_plain_predictive():
    """Both register the same names in Pyro; each must keep answering from its own parameters."""
    x, y = data()
    model = UGMMClassifier(network(), Priors(weights=1.0))  # nothing is learned beside the guides
    first, second = AutoNormal(model), AutoNormal(model)
    fit_svi(model, first, x, y, steps=100, **QUIET)
    alone = probabilities(model, first, x)
    fit_svi(model, second, x, (y + 1) % 3, steps=100, **QUIET)
    for _ in range(2):
        assert torch.equal(probabilities(model, first, x), alone)
        assert not torch.equal(probabilities(model, second, x), alone)
    assert not list(pyro.get_param_store())
    assert pyro.settings.get("module_local_params") is False


def test_the_parameter_store_is_left_as_it_was_found():
    x, y = data()
    with pyro.get_param_store().scope():
        mine = pyro.param("mine", torch.tensor(3.0), constraint=dist.constraints.positive)
        pyro.param("AutoNormal.locs.layers.0.loc", torch.tensor(7.0))
        model = UGMMClassifier(network(), Priors())
        guide = AutoNormal(model)
        fit_svi(model, guide, x, y, steps=3, **QUIET)
        fit_mle(UGMMClassifier(network()), x, y, steps=3, **QUIET)
        assert dict(pyro.get_param_store().items()) == {
            "mine": mine,
            "AutoNormal.locs.layers.0.loc": torch.tensor(7.0),
        }


def function_guide(x, y=None, size=None):
    for i, shape in enumerate([(6, 2), (3, 6)]):
        for name, make in (("loc", dist.Normal), ("variance", dist.LogNormal)):
            loc = pyro.param(f"{name}{i}.m", lambda shape=shape: torch.randn(shape))
            scale = pyro.param(
                f"{name}{i}.s",
                lambda shape=shape: torch.full(shape, 0.1),
                constraint=dist.constraints.positive,
            )
            pyro.sample(f"layers.{i}.{name}", make(loc, scale).to_event(2))


def test_a_guide_of_ones_own_as_a_function():
    x, y = data()
    model = UGMMClassifier(network(), Priors())
    result = fit_svi(model, function_guide, x, y, steps=500, **QUIET)
    assert result.losses[-20:].mean() < 0.75 * result.losses[:20].mean()
    assert accuracy(model, result.guide, *data(60, seed=1)) > 0.9
    assert not list(pyro.get_param_store())
    again = fit_svi(model, result.guide, x, y, steps=3, **QUIET)  # goes on where it stopped
    assert again.losses[0] < 0.75 * result.losses[0]


class ModuleGuide(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.names = {"layers.0.loc": (6, 2), "layers.1.loc": (3, 6)}
        self.locs = torch.nn.ParameterList(torch.randn(shape) for shape in self.names.values())

    def forward(self, x, y=None, size=None):
        for name, loc in zip(self.names, self.locs, strict=True):
            pyro.sample(name, dist.Normal(loc, 0.1).to_event(2))


def test_a_guide_of_ones_own_as_a_module():
    x, y = data()
    model = UGMMClassifier(network(), Priors(variances=None))
    guide = ModuleGuide()
    result = fit_svi(model, guide, x, y, steps=300, **QUIET)
    assert result.guide is guide
    assert accuracy(model, guide, *data(60, seed=1)) > 0.9


def test_several_particles_and_other_autoguides():
    x, y = data()
    model = UGMMClassifier(network(), Priors(weights=1.0))
    result = fit_svi(
        model, AutoMultivariateNormal(model), x, y, steps=150, num_particles=4, **QUIET
    )
    assert result.losses[-20:].mean() < 0.75 * result.losses[:20].mean()
    single = fit_svi(model, AutoNormal(model), x, y, steps=30, learning_rate=1e-9, **QUIET)
    several = fit_svi(
        model, AutoNormal(model), x, y, steps=30, learning_rate=1e-9, num_particles=16, **QUIET
    )
    assert several.losses.std() < 0.5 * single.losses.std()
    assert abs(several.losses.mean() - single.losses.mean()) < single.losses.std()


def test_what_has_no_prior_is_learned_with_the_guide():
    x, y = data()
    model = UGMMClassifier(network(), Priors(weights=None))
    net = model.network
    before = net.layers[0].logits.clone()
    fit_svi(model, mean_field(model), x, y, steps=20, **QUIET)
    assert (net.layers[0].logits != before).any()
    locs = network().layers[0].loc
    torch.testing.assert_close(net.layers[0].loc, locs)  # these had a prior


def test_a_weight_of_zero_stays_one():
    net = network()
    logits = net.layers[0].logits.detach().clone()
    logits[0, 0] = -math.inf
    net.layers[0].logits = logits
    result = fit_mle(
        UGMMClassifier(net, copy=False), *data(), steps=300, learning_rate=1e-4, **QUIET
    )
    assert result.n_steps == 300 and net.layers[0].logits[0, 0] == -math.inf
    assert net(data()[0]).isfinite().all()


def test_trains_where_gradients_are_off():
    x, y = data()
    with torch.no_grad():
        fit_mle(UGMMClassifier(network()), x, y, steps=2, **QUIET)
        model = UGMMClassifier(network(), Priors())
        assert fit_svi(model, mean_field(model), x, y, steps=2, **QUIET).n_steps == 2
        assert not torch.is_grad_enabled()


def test_a_function_may_do_without_size():
    x = torch.randn(20, 1)
    model = BayesianGaussianMixture(1, 1, "diagonal", Priors(means=None, variances=None))
    assert fit_svi(model, lambda x: None, x, steps=2, **QUIET).n_steps == 2


def test_an_interrupted_run_returns_what_there_is(monkeypatch):
    x, y = data()
    model = UGMMClassifier(network())
    original, calls = model.row_terms, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(model, "row_terms", interrupted)
    result = fit_mle(model, x, y, steps=100, **QUIET)
    assert result.n_steps == 3 and not result.converged
    assert result.reason == "interrupted after 3 of 100 steps"


@pytest.mark.parametrize(("steps", "learning_rate"), [(150, 0.02), (600, 0.005)])
def test_says_when_svi_did_not_settle(steps, learning_rate):
    x, y = data()
    model = UGMMClassifier(network(), Priors())
    guide = mean_field(model)
    result = fit_svi(model, guide, x, y, steps=steps, learning_rate=learning_rate, **QUIET)
    assert not result.converged
    assert "give more steps" in result.reason


def test_says_when_svi_settled():
    """One normal distribution, whose posterior is nearly the guide's own family."""
    x = data()[0]
    model = BayesianGaussianMixture(1, 2, "diagonal", Priors.from_data(x))
    result = fit_svi(model, mean_field(model), x, steps=800, num_particles=10, **QUIET)
    assert result.converged, result.reason
    assert "the loss settled" in result.reason


def test_says_when_there_were_too_few_steps():
    result = fit_mle(UGMMClassifier(network()), *data(), steps=3, **QUIET)
    assert not result.converged and "too few" in result.reason


def test_mean_field_starts_where_the_network_stands():
    x, y = data()
    net = network()
    model = UGMMClassifier(net, Priors(weights=1.0), copy=False)
    fit_mle(UGMMClassifier(net, copy=False), x, y, steps=100, **QUIET)
    guide = mean_field(model)
    guide(x)
    median = guide.median()
    for i, layer in enumerate(net.layers):
        torch.testing.assert_close(median[f"layers.{i}.loc"], layer.loc)
        torch.testing.assert_close(
            median[f"layers.{i}.variance"], layer.scale**2, rtol=1e-4, atol=0
        )
        torch.testing.assert_close(
            median[f"layers.{i}.weights"], layer.logits.softmax(-1), rtol=1e-3, atol=1e-4
        )
    draws = Predictive(model, guide=guide, num_samples=2, parallel=True)(x)
    assert draws["y"].shape[0] == 2


def test_a_start_reaches_what_has_no_prior():
    x, y = data()
    trained = network()
    fit_mle(UGMMClassifier(trained, copy=False), x, y, steps=200, **QUIET)
    expected = trained(x).argmax(-1)
    own = network(1)
    model = UGMMClassifier(own, Priors(), copy=False)
    guide = mean_field(model, start=trained, init_scale=1e-4)
    with torch.no_grad():
        scores = model.scores(x, guide(x))
        torch.testing.assert_close(scores, trained(x), rtol=0.01, atol=0.05)
    assert (scores.argmax(-1) == expected).all()
    torch.testing.assert_close(own.layers[0].logits, trained.layers[0].logits)
    torch.testing.assert_close(own.layers[0].loc, network(1).layers[0].loc)  # it has a prior
    frozen = network(1).requires_grad_(False)
    mean_field(UGMMClassifier(frozen, Priors(variances=None), copy=False), start=trained)
    torch.testing.assert_close(frozen.layers[0].logits, network(1).layers[0].logits)
    torch.testing.assert_close(frozen.layers[0].scale, network(1).layers[0].scale)


def test_on_the_device_it_is_given(device):
    x, y = (tensor.to(device) for tensor in data())
    net = network().to(device)
    model = UGMMClassifier(net, Priors()).to(device)
    assert fit_mle(UGMMClassifier(net), x, y, steps=3, **QUIET).losses.device.type == "cpu"
    result = fit_svi(model, mean_field(model), x, y, steps=3, **QUIET)
    assert result.losses.isfinite().all()


X, Y = data()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps: expected a positive integer, got 0"),
        ({"batch_size": 0}, "batch_size: expected a positive integer, got 0"),
        ({"learning_rate": -1.0}, r"learning_rate: expected a positive number, got -1\.0"),
        ({"x": X * math.nan}, "x: expected finite values"),
        ({"y": Y + 5}, "y: expected labels from 0 to 2"),
        ({"x": X[:0], "y": Y[:0]}, "x: expected shape"),
        ({"y": None}, "y: expected labels, one for each row, got None"),
        ({"y": Y.expand(2, 40)}, r"y: expected shape \(n,\), got \(2, 40\)"),
        ({"progress": "no"}, "progress: expected True or False, got 'no'"),
        ({"steps": pd.DataFrame(X.numpy())}, "steps: expected a positive integer, got DataFrame$"),
        ({"learning_rate": "fast"}, "learning_rate: expected a positive number, got 'fast'"),
    ],
)
def test_bad_arguments(arguments, message):
    arguments = {"x": X, "y": Y, "progress": False} | arguments
    with pytest.raises(ValueError, match=message):
        fit_mle(UGMMClassifier(network()), **arguments)
    model = UGMMClassifier(network(), Priors())
    with pytest.raises(ValueError, match=message):
        fit_svi(model, mean_field(model), **arguments)


def test_other_bad_arguments():
    model = UGMMClassifier(network(), Priors())
    with pytest.raises(ValueError, match="model: expected a model without priors"):
        fit_mle(model, X, Y)
    bare = network()
    for call in (fit_mle, lambda *args: fit_svi(args[0], mean_field(model), *args[1:])):
        with pytest.raises(ValueError, match=r"model: expected a Pyro model, such as UGMMC"):
            call(bare, X, Y)
    with pytest.raises(ValueError, match="model: expected a Pyro model"):
        fit_svi(mean_field(model), model, X, Y)
    with pytest.raises(ValueError, match="guide: expected a Pyro guide, got int"):
        fit_svi(model, 3, X, Y)
    with pytest.raises(ValueError, match="guide: expected a Pyro guide, got the class AutoNormal"):
        fit_svi(model, AutoNormal, X, Y)
    wider = UGMMClassifier(UGMMNetwork([2, 5, 3]), Priors())
    for guide, reason in (
        (mean_field, "mean_field: "),
        (lambda: None, "<lambda>: .* positional"),
        (mean_field(wider), r"AutoNormal: it draws layers.0.loc of shape \(5, 2\), the model "),
    ):
        for num_particles in (1, 3):
            with pytest.raises(ValueError, match=f"guide: expected one of this model.*{reason}"):
                fit_svi(model, guide, X, Y, num_particles=num_particles)
    with pytest.raises(ValueError, match="num_particles: expected a positive integer"):
        fit_svi(model, mean_field(model), X, Y, num_particles=0)
    with pytest.raises(ValueError, match="y: expected labels, with x, got None"):
        mean_field(model, x=X)
    with pytest.raises(ValueError, match="x: expected what comes with y, got None"):
        mean_field(model, y=Y)
    with pytest.raises(ValueError, match="model: expected a model with priors"):
        mean_field(UGMMClassifier(network()))
    frozen = UGMMClassifier(network().requires_grad_(False))
    with pytest.raises(ValueError, match="model: expected parameters that require gradients"):
        fit_mle(frozen, X, Y)


def test_data_in_any_units():
    x, y = data()
    units = torch.tensor([1e-2, 1e3])
    model = UGMMClassifier(network(), Priors())
    raw = x * units + units
    with pytest.raises(ValueError, match="priors: expected the location and scale of inputs that"):
        UGMMClassifier(network(), Priors.from_data(raw))
    net = network()
    net.reset_parameters(raw)
    model = UGMMClassifier(net, Priors.from_data(raw))
    guide = mean_field(model)
    fit_svi(model, guide, raw, y, **QUIET)
    x_new, y_new = data(60, seed=1)
    assert accuracy(model, guide, x_new * units + units, y_new) > 0.9


def test_a_fit_notes_the_scale_of_scores_for_priors():
    x, y = data()
    net = network()
    before = [layer.input_spread.clone() for layer in net.layers]
    fit_mle(UGMMClassifier(net, copy=False), x, y, steps=50, **QUIET)
    assert torch.equal(net.layers[0].input_spread, before[0])  # the features' is the user's
    scores = net.layers[0](x).detach()
    scores = torch.nn.functional.layer_norm(scores, scores.shape[-1:])
    torch.testing.assert_close(net.layers[1].input_spread, scores.std(0))
    torch.testing.assert_close(net.layers[1].input_center, scores.mean(0))
    prior = UGMMClassifier(net, Priors()).site_distributions()["layers.1.loc"].base_dist
    torch.testing.assert_close(prior.scale[0], scores.std(0))
