"""Evidences of models: against quadrature, and by what they choose."""

import math
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
import torch
from torch.distributions import LogNormal, Normal

from pyro_ugmm.em import select
from pyro_ugmm.models import Priors
from pyro_ugmm.sampling import Evidence, PosteriorSample, compare_evidence
from pyro_ugmm.sampling.moved import Moved
from pyro_ugmm.status import Status

QUIET = {"seed": 0, "progress": False}
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(20, 1, generator=GENERATOR, dtype=torch.float64)
X = 0.4 * X + torch.tensor([-3.0, 3.0]).repeat(10)[:, None]


def sample(*log_evidences):
    """What a sampler says of a model, by the evidences of its populations."""
    return PosteriorSample(
        draws={"theta": torch.zeros(4)},
        num_populations=len(log_evidences),
        status=Status.CONVERGED,
        reason="",
        log_evidences=torch.tensor(log_evidences, dtype=torch.float64),
        r_hat={},
        rungs=(),
    )


def exact():
    """The log evidence of a single component on a grid; the prior of its variance has unit one."""
    mean = torch.linspace(-12, 12, 1201, dtype=torch.float64)
    log_variance = torch.linspace(-6, 8, 1401, dtype=torch.float64)
    variance = log_variance.exp()
    n, total = len(X), X.sum()
    squares = (X.square().sum() - 2 * mean * total + n * mean.square())[:, None]
    terms = -0.5 * n * (2 * math.pi * variance).log() - 0.5 * squares / variance
    prior = Normal(0.0, 2.0).log_prob(mean)[:, None] + LogNormal(-1.5, 1.5).log_prob(variance)
    step = float((mean[1] - mean[0]) * (log_variance[1] - log_variance[0]))
    return float((terms + prior + log_variance).flatten().logsumexp(0)) + math.log(step)


@pytest.fixture(scope="module")
def selection():
    criterion = Evidence(Priors(center=torch.zeros((), dtype=X.dtype)), num_particles=64)
    return select(X, [1, 2], "diagonal", criterion=criterion, **QUIET)


def test_separate_clusters_are_counted(selection):
    assert selection.best.n_components == 2 and selection.criterion == "evidence"
    assert sum(selection.probabilities) == pytest.approx(1.0)
    assert selection.probabilities[0] < 1e-3
    table = compare_evidence({row.n_components: row.sample for row in selection.table})
    assert table.best.name == 2
    found = [table.probabilities[k] for k in (1, 2)]
    assert found == pytest.approx(selection.probabilities)
    assert "best by evidence" in repr(selection) and "log evidence" in repr(selection)
    assert selection.plot().get_ylabel() == "log evidence (nats, higher is better)"
    plt.close("all")


def test_the_evidence_of_one_component_is_that_by_quadrature(selection):
    one = selection.table[0].sample
    assert one.log_evidence == pytest.approx(exact(), abs=max(0.4, 4 * one.log_evidence_error))


def test_probabilities_are_those_by_hand():
    samples = {"a": sample(-10.0, -10.0), "b": sample(-11.0, -11.0), "c": sample(-9.0, -9.0)}
    table = compare_evidence(samples, prior={"a": 2.0, "b": 1.0, "c": 1.0})
    shares = {"a": 2 * math.exp(-10), "b": math.exp(-11), "c": math.exp(-9)}
    expected = {name: share / sum(shares.values()) for name, share in shares.items()}
    assert table.probabilities == pytest.approx(expected)
    assert [row.name for row in table.rows] == ["c", "a", "b"]
    assert all(row.probability_error == pytest.approx(0, abs=1e-12) for row in table.rows)


def test_errors_of_probabilities_are_how_much_they_vary():
    generator = torch.Generator().manual_seed(0)
    samples = {"a": sample(-10.3, -10.0, -9.8, -10.1), "b": sample(-9.2, -9.5, -9.9, -9.6)}
    table = compare_evidence(samples)
    rows = {row.name: row for row in table.rows}
    noise = torch.randn(200_000, 2, generator=generator, dtype=torch.float64)
    center, error = (
        torch.tensor([getattr(rows[name], which) for name in "ab"], dtype=torch.float64)
        for which in ("log_evidence", "error")
    )
    spread = (center + error * noise).softmax(-1)[:, 0].std()
    assert rows["a"].probability_error == pytest.approx(float(spread), rel=0.05)
    assert rows["b"].probability_error == pytest.approx(rows["a"].probability_error)
    lines = repr(table).splitlines()
    assert lines[1].startswith("b") and f"{rows['b'].probability:.3f}" in lines[1]
    ax = table.plot()
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "a"]
    plt.close("all")


def test_evidence_is_that_of_a_rank():
    x, trials = torch.randn(9, 3), [("low_rank", 2, 1), ("low_rank", 2, 3), ("full", 1, None)]
    models = Evidence().models(x, trials, "error")
    found = [(model.covariance, model.n_components, model.rank) for model in models]
    assert found == trials


def test_bad_arguments_of_evidence():
    with pytest.raises(ValueError, match="samples: expected samples of posteriors by the names"):
        compare_evidence([sample(-1.0)])
    with pytest.raises(ValueError, match=r"samples\['a'\]: expected one that reached"):
        compare_evidence({"a": sample(math.nan)})
    with pytest.raises(ValueError, match=r"samples\['a'\]: expected what sample_posterior"):
        compare_evidence({"a": -3.0})
    with pytest.raises(ValueError, match=r"prior: expected a probability of each of \['a'\]"):
        compare_evidence({"a": sample(-1.0)}, prior={"b": 1.0})
    with pytest.raises(ValueError, match=r"prior\['a'\]: expected a positive number, got 0"):
        compare_evidence({"a": sample(-1.0)}, prior={"a": 0})
    with pytest.raises(ValueError, match=r"criterion: expected one of 'bic', .*'evidence'"):
        select(X, 1, criterion="waic")
    with pytest.raises(ValueError, match="sample_weight: expected None, by evidence"):
        select(X, 1, criterion="evidence", sample_weight=torch.ones(len(X)))
    with pytest.raises(ValueError, match=r"covariance: expected one of .*got 'banded'"):
        Evidence().models(X, [("banded", 1, None)], "error")
    with pytest.raises(ValueError, match="criterion: expected 'evidence', got 'bic'"):
        select(X, 1, progress=False).probabilities  # noqa: B018


def test_samples_that_started_from_a_guide_are_marked():
    """Of a mixture they know one order of the components."""
    from_guide = replace(sample(-3.0, -3.1), moved=Moved(2, {}, {}))
    shown = repr(compare_evidence({"prior": sample(-3.0, -3.1), "guide": from_guide}))
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert lines["guide"].endswith("from a guide") and "guide" not in lines["prior"]
