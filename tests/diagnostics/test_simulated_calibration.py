"""Inferences whose posteriors are known: what is right passes, what is wrong is told in words."""

import contextlib
import signal

import matplotlib
import matplotlib.pyplot as plt
import pyro
import pytest
import torch
from pyro import poutine
from pyro.distributions import ImproperUniform, Normal, constraints
from pyro.infer import MCMC, NUTS

from pyro_ugmm.diagnostics import SimulatedCalibration, simulate_calibration
from pyro_ugmm.models import BayesianGaussianMixture, Priors, UGMMClassifier, UGMMDensity
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.plots import plot_calibration
from pyro_ugmm.sampling import sample_posterior
from tests.diagnostics.normals import X, line, model, posterior, posterior_of_line, prior

matplotlib.use("Agg")
FEW = {"num_simulations": 10, "num_draws": 9, "progress": False}
MANY = {"num_simulations": 100, "num_draws": 9, "progress": False}
MEAN = {"mean": lambda draws, x, y: draws["mean"]}


def kinds_of(simulated):
    """What is said of each quantity."""
    parts = simulated.verdict.removeprefix("not calibrated: ").split(";")
    return dict(part.strip().split(" is ", 1) for part in parts if " is " in part)


@pytest.mark.parametrize("seed", range(2))
def test_the_posterior_is_calibrated(seed):
    found = simulate_calibration(model, posterior(), X, seed=seed, **MANY)
    # Six p-values, each even by chance: one in 10,000 runs has a smaller one than this.
    assert found.p_values.min() > 1e-4 / 6
    assert not found.failures and not found.interrupted
    assert found.ranks.shape == (100, 6) and set(found.num_draws.tolist()) == {9}
    assert found.names[:2] == ("log_prior", "log_likelihood") and found.names[-1] == "mean"


def test_ranks_are_those_of_a_plain_loop():
    """Quantities, data and draws are those that the inference saw."""
    seen = []

    def infer(model, x, y):
        seen.append(x)
        return lambda x: pyro.sample("mean", Normal(0.0, 1.0))

    largest = {"largest": lambda draws, x, y: x.max() - 0 * draws["mean"]}
    found = simulate_calibration(model, infer, X, quantities=largest, **FEW)
    assert len(seen) == 10 and all(x.shape == X.shape for x in seen)
    assert len({float(x.sum()) for x in seen}) == 10
    at = found.names.index("largest")  # a tie of all, which is broken at random
    assert len(set(found.ranks[:, at].tolist())) > 2


NARROW, WIDE = posterior(width=0.5), posterior(width=2.0)
LOW, HIGH = posterior(shift=-1.0), posterior(shift=1.0)
WRONG = {"too narrow": NARROW, "too wide": WIDE, "biased low": LOW, "biased high": HIGH}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_told(kind):
    many = MANY | {"num_simulations": 200}
    found = simulate_calibration(model, WRONG[kind], X, quantities=MEAN, **many)
    assert not found.is_calibrated and "Remedy: " in found.verdict
    assert kinds_of(found)["mean"].startswith(kind)
    held, (low, high) = found.coverage(0.5)[-1], found.coverage_by_chance(0.5)
    assert held < low or kind != "too narrow"
    assert held > high or kind != "too wide"


def test_an_inference_that_ignores_the_data_is_seen_by_the_likelihood():
    found = simulate_calibration(model, prior, X, quantities=MEAN, **MANY)
    p_values = dict(zip(found.names, found.p_values.tolist(), strict=True))
    assert p_values["mean"] > 1e-5 and p_values["log_prior"] > 1e-5
    assert p_values["log_likelihood"] < 1e-9


def test_a_model_of_targets():
    x = torch.linspace(-1, 1, 6)
    found = simulate_calibration(line, posterior_of_line, x, torch.zeros(6), **MANY)
    assert found.p_values.min() > 1e-5 and found.names[-1] == "slope"


def of_two_outcomes(shift, pairs, y):
    """Observed in both columns of an argument, and in another one, by any two precisions."""
    mean = pyro.sample("mean", Normal(0.0, 1.0))
    with pyro.plate("rows", len(pairs)):
        pyro.sample("low", Normal(mean, 1.0), obs=pairs[:, 0])
        pyro.sample("high", Normal(mean + shift, 1.0), obs=pairs[:, 1])
    with pyro.plate("others", len(y)):
        pyro.sample("y", Normal(-mean, 0.5), obs=y)


OUTCOMES = {"shift": 100.0, "pairs": torch.zeros(4, 2), "y": torch.zeros(3)}


def posterior_of_outcomes(width=1.0):
    def infer(model, x, y):
        assert y is None and [*x] == ["shift", "pairs", "y"]
        total = (x["pairs"] - torch.tensor([0.0, x["shift"]])).sum() - 4 * x["y"].sum()
        precision = 1 + 8 + 4 * 3
        mean, deviation = total / precision, width * precision**-0.5
        return lambda shift, pairs, y: pyro.sample("mean", Normal(mean, deviation))

    return infer


def test_all_observed_sites_are_simulated():
    def bound(draws, x, y):
        return draws["mean"] * x["shift"]

    found = simulate_calibration(of_two_outcomes, posterior_of_outcomes(), OUTCOMES, **MANY)
    assert found.p_values.min() > 1e-5 and not found.failures
    rows = ("log_likelihood[low, 0]", "log_likelihood[high, 1]", "log_likelihood[y, 2]")
    assert found.names == ("log_prior", "log_likelihood", *rows, "mean")
    options = MANY | {"quantities": {"bound": bound}}
    narrow = simulate_calibration(of_two_outcomes, posterior_of_outcomes(0.4), OUTCOMES, **options)
    assert kinds_of(narrow)["bound"].startswith("too narrow")


def with_gaps(x):
    mean = pyro.sample("mean", Normal(0.0, 1.0))
    with pyro.plate("rows", len(x)), poutine.mask(mask=x.isfinite()):
        pyro.sample("x", Normal(mean, 1.0), obs=x.nan_to_num())


def test_what_is_missing_is_missing_in_all_data_sets():
    gaps = torch.arange(8) % 3 == 0
    x = torch.zeros(8).masked_fill(gaps, torch.nan)

    def infer(model, x, y):
        assert torch.equal(x.isnan(), gaps)
        return posterior()(model, x[~gaps], y)

    found = simulate_calibration(with_gaps, infer, x, quantities=MEAN, **MANY)
    assert found.p_values.min() > 1e-5 and not found.failures


def by_steps(x):
    """Observed number by number, each given what sample returned for the last."""
    rate, last = pyro.sample("rate", Normal(0.0, 0.1)), 1000.0
    for t in range(len(x)):
        last = pyro.sample(f"x_{t}", Normal(last + rate, 0.01), obs=x[t])


def test_numbers_of_an_argument_are_simulated_one_after_the_other():
    seen = []

    def infer(model, x, y):
        seen.append(x)
        return lambda x: pyro.sample("rate", Normal(0.0, 0.1))

    simulate_calibration(by_steps, infer, torch.zeros(3), **FEW)
    for x in seen:
        assert (x - 1000).abs().max() < 3
        assert (x.diff()[0] - x.diff()[1]).abs() < 0.2


def by_smc(model, x, y):
    return sample_posterior(model, x, y, num_particles=32, progress=False)


def test_sequential_monte_carlo():
    mixture = BayesianGaussianMixture(1, 1, "spherical")
    found = simulate_calibration(mixture, by_smc, torch.zeros(6, 1), **(FEW | {"num_draws": 99}))
    assert found.p_values.min() > 1e-5 and not found.failures
    assert found.num_draws.min() >= 2 and found.num_draws.max() <= 99


MODELS = {
    "mixture": (BayesianGaussianMixture(2, 1), torch.zeros(6, 1)),
    "classifier": (UGMMClassifier(UGMMNetwork([2, 2, 2]), Priors()), torch.randn(6, 2)),
    "one layer": (UGMMClassifier(UGMMNetwork([2, 2]), Priors()), torch.randn(6, 2)),
    "density": (UGMMDensity(UGMMNetwork([3, 1]), 2, Priors()), torch.randn(6, 2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_our_models_are_asked_what_knows_no_labels(name):
    ours, x = MODELS[name]

    def infer(model, x, y):
        assert (y is None) == (name == "mixture")
        return lambda *rows: {s: pyro.sample(s, p) for s, p in model.site_distributions().items()}

    found = simulate_calibration(ours, infer, x, **FEW)
    assert found.names[:5] == (
        "log_prior",
        "log_likelihood",
        "log_likelihood[0]",
        "log_likelihood[2]",
        "log_likelihood[5]",
    )
    assert (len(found.names) > 5) == (name in ("one layer", "density"))
    assert not found.failures


def test_chains_are_thinned_to_what_they_are_worth():
    def slow(model, x, y):
        kernel = NUTS(model, step_size=1e-3, adapt_step_size=False, max_tree_depth=1)
        mcmc = MCMC(kernel, 40, 1, disable_progbar=True)
        mcmc.run(x)
        return mcmc

    found = simulate_calibration(model, slow, X, **FEW)
    assert found.num_draws.median() < 9
    assert "few independent draws" in found.verdict


# -- what goes wrong on the way --------------------------------------------------------------


OUT_OF_LUCK = RuntimeError("out of luck")


def failing_at(numbers, error=OUT_OF_LUCK):
    calls, right = [], posterior()

    def infer(model, x, y):
        calls.append(x)
        if len(calls) - 1 in numbers:
            raise error
        return right(model, x, y)

    return infer


def test_failures_are_counted():
    found = simulate_calibration(model, failing_at({0, 4}), X, **FEW)
    assert len(found.failures) == 2 and len(found.ranks) == 8
    assert found.failures[1] == "data set 4: RuntimeError: out of luck"
    assert "not to be told from 8 data sets; 2 data sets failed" in found.verdict
    assert not found.is_calibrated and not found.interrupted


def test_a_quantity_that_is_no_number_is_a_failure():
    def where_low(draws, x, y):
        return torch.where(draws["mean"] < -1.5, torch.nan, draws["mean"])

    found = simulate_calibration(
        model, prior, X, quantities={"odd": where_low}, **(FEW | {"num_simulations": 40})
    )
    assert 0 < len(found.failures) < 40 and "NaN of ['odd']" in found.failures[0]


def test_an_interrupt_leaves_what_is_done():
    found = simulate_calibration(model, failing_at({4}, KeyboardInterrupt()), X, **FEW)
    assert found.interrupted and len(found.ranks) == 4
    assert "4 of 10 data sets" in repr(found)


def test_an_interrupt_that_the_inference_keeps_to_itself():
    calls = []

    def infer(model, x, y):
        calls.append(x)
        if len(calls) == 6:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        return posterior()(model, x, y)

    before = signal.getsignal(signal.SIGINT)
    found = simulate_calibration(model, infer, X, **FEW)
    assert found.interrupted and len(found.ranks) == 5
    assert signal.getsignal(signal.SIGINT) is before


class Counted(torch.nn.Module):
    """An inference that can be interrupted, and told from others by its class alone."""

    def __init__(self, at=None):
        super().__init__()
        self.calls, self.at = 0, at

    def forward(self, model, x, y):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return prior(model, x, y)


def same(one, other):
    return torch.equal(one.ranks, other.ranks) and one.names == other.names


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    whole = simulate_calibration(model, Counted(), X, **FEW)
    options = FEW | {"checkpoint": tmp_path / "run.pt"}
    first, second, third = Counted(at=6), Counted(), Counted()
    assert len(simulate_calibration(model, first, X, **options).ranks) == 5
    assert same(simulate_calibration(model, second, X, **options), whole)
    assert second.calls == 5
    more = simulate_calibration(model, third, X, **(options | {"num_simulations": 14}))
    assert third.calls == 4 and torch.equal(more.ranks[:10], whole.ranks)
    for other in ({"seed": 1}, {"num_draws": 8}, {"quantities": MEAN}):
        with pytest.raises(ValueError, match="checkpoint: expected one of this run"):
            simulate_calibration(model, third, X, **(options | other))
    with pytest.raises(ValueError, match="checkpoint: expected one of this run"):
        simulate_calibration(model, posterior(), X, **options)


def test_random_states_are_the_callers():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = simulate_calibration(model, prior, X, **FEW)
    assert torch.equal(torch.rand(3), expected)
    assert same(first, simulate_calibration(model, prior, X, **FEW))
    assert not torch.equal(
        first.ranks, simulate_calibration(model, prior, X, seed=None, **FEW).ranks
    )


def test_the_model_is_left_as_it_is():
    network = UGMMClassifier(UGMMNetwork([2, 2]), Priors())
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def infer(model, x, y):
        assert model is not network and model.training
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name])
            if name.endswith("loc"):
                value.add_(1)
        return lambda *rows: {s: pyro.sample(s, p) for s, p in network.site_distributions().items()}

    found = simulate_calibration(network, infer, torch.randn(6, 2), **FEW)
    assert not found.failures
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


# -- what is refused before -----------------------------------------------------------------


def scaled(x):
    with poutine.scale(scale=0.5):
        mean = pyro.sample("mean", Normal(0.0, 1.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", Normal(mean, 1.0), obs=x)


def improper(x):
    mean = pyro.sample("mean", ImproperUniform(constraints.real, (), ()))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", Normal(mean, 1.0), obs=x)


def of_a_function(x):
    mean = pyro.sample("mean", Normal(0.0, 1.0))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", Normal(mean, 1.0), obs=2 * x + 1)


def of_the_last(x):
    rate = pyro.sample("rate", Normal(0.0, 0.1))
    with pyro.plate("rows", len(x)):
        pyro.sample("x", Normal(rate * x.roll(1), 1.0), obs=x)


SCORE = UGMMDensity(UGMMNetwork([3, 1]), 2, Priors(), objective="score")
NO_PRIORS = UGMMClassifier(UGMMNetwork([2, 2]))
ROWS = torch.zeros(6, 2)
REFUSED = {
    "no model": ((3, prior, X), {}, "model: expected a Pyro model"),
    "nothing observed": ((line, prior, X), {}, r"model: .* an observed site, given data"),
    "a score": ((SCORE, prior, ROWS), {}, "model: expected one with a likelihood"),
    "no priors": ((NO_PRIORS, prior, ROWS), {}, "model: expected a model with priors"),
    "a scaled prior": ((scaled, prior, X), {}, "model: expected priors that are densities"),
    "an improper prior": ((improper, prior, X), {}, "model: expected sites that can be drawn"),
    "lags": ((of_the_last, prior, X), {}, "model: .* draws x given what sample returns, not given"),
    "a function": ((of_a_function, prior, X), {}, "model: expected a model that observes its"),
    "no inference": (
        (model, 3, X),
        {},
        r"infer: .* infer\(model, x, y\), got int",
    ),
    "a class": ((model, NUTS, X), {}, "infer: expected a function infer"),
    "nine": ((model, prior, X), {"num_simulations": 9}, "num_simulations: .* at least 10, got 9"),
    "one draw": ((model, prior, X), {"num_draws": 1}, "num_draws: .* at least 2, got 1"),
    "quantity": ((model, prior, X), {"quantities": abs}, "quantities: expected functions of draws"),
    "number": ((model, prior, X), {"quantities": {"a": 1}}, r"quantities\['a'\]: expected a func"),
    "shape": (
        (model, prior, X),
        {"quantities": {"a": lambda draws, x, y: x}},
        r"quantities\['a'\]: expected numbers of shape \(1,\), one for each draw",
    ),
    "name": ((model, prior, X), {"quantities": {"log_prior": abs}}, "quantities: expected other"),
    "seed": ((model, prior, X), {"seed": -1}, "seed: expected"),
    "folder": ((model, prior, X), {"checkpoint": "."}, "checkpoint: expected a file"),
    "y": ((BayesianGaussianMixture(1, 2), prior, ROWS, X[:6]), {}, "y: expected"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_in_words(case):
    arguments, options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        simulate_calibration(*arguments, **options)


NONSENSE = {
    "nothing": lambda model, x, y: None,
    "numbers": lambda model, x, y: torch.zeros(3),
    "another's guide": lambda model, x, y: lambda x: pyro.sample("other", Normal(0.0, 1.0)),
    "two arguments": lambda model, x: prior(model, x, None),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_refused_at_the_start(case):
    calls = []

    def infer(*arguments):
        calls.append(arguments)
        return NONSENSE[case](*arguments)

    with pytest.raises(ValueError, match="infer: expected an inference that works on data sets"):
        simulate_calibration(model, infer, X, **FEW)
    assert len(calls) == 3


# -- the result and its picture -------------------------------------------------------------


def result_of(positions, n_draws=99):
    ranks = (positions * (n_draws + 1)).floor().long().unsqueeze(1)
    return SimulatedCalibration(("mean",), ranks, torch.full((len(ranks),), n_draws), len(ranks))


EVEN = (torch.arange(200) + 0.5) / 200


def test_a_result_in_words():
    text = repr(result_of(EVEN))
    assert "calibrated, within chance of 200 data sets" in text and "mean" in text
    assert "50%     80%     90%" in text
    two_heaps = torch.cat([EVEN[:100] / 10 + 0.19, EVEN[:100] / 10 + 0.76])
    assert "unevenly ranked" in repr(result_of(two_heaps))
    none = SimulatedCalibration(("a",), torch.zeros(0, 1).long(), torch.zeros(0).long(), 10)
    assert none.interrupted and "not to be told from 0 data sets" in repr(none)
    with pytest.raises(ValueError, match="level: expected a number between zero and one, got 1"):
        result_of(EVEN).coverage(1)


def test_the_plot():
    left, right = plot_calibration(result_of(EVEN.square()))

    def heights(ax):
        (line,) = [one for one in ax.lines if len(one.get_xdata()) > 2]
        return torch.as_tensor(line.get_xdata()), torch.as_tensor(line.get_ydata())

    points, shares = heights(left)  # of the distribution function, the root
    assert torch.allclose(shares, points.sqrt() - points, atol=0.02)
    points, shares = heights(right)
    held = ((1 + points) / 2).sqrt() - ((1 - points) / 2).sqrt()
    assert torch.allclose(shares, held - points, atol=0.02)
    assert left.get_title() == "not calibrated"
    assert "mean (" in right.get_legend().get_texts()[1].get_text()
    with pytest.raises(ValueError, match="simulated: expected what simulate_calibration"):
        plot_calibration(EVEN)
    with pytest.raises(ValueError, match="ranks of at least one data set"):
        plot_calibration(result_of(EVEN[:0]))
    plt.close("all")
