"""The programs that compare posteriors with references, on posteriors that are known exactly."""

import math
from statistics import NormalDist

import arviz
import pytest
import torch

from pyro_ugmm.distributions import FullCovariance, GaussianMixture
from pyro_ugmm.sampling import sample_posterior
from tests.source_code import ROOT

if not (ROOT / "validation").exists():
    pytest.skip("an installed package has no validation", allow_module_level=True)

from validation.posteriors import agreement, evidence, rates
from validation.posteriors.bridge import bridge
from validation.posteriors.cases import CASES, Case
from validation.posteriors.closed_forms import KNOWN
from validation.posteriors.summaries import FOLDER, Reference, Summary, gaps, summarize


def normal_case():
    """The mean of normal rows, and the distribution of it."""
    known = KNOWN["normal"]()
    (x,) = known.rows
    precision = len(x) / 0.64 + 1 / 4
    return Case("mean", known.model, known.rows, dict), NormalDist(
        float(x.sum()) / 0.64 / precision, precision**-0.5
    )


def exact_reference():
    exact = normal_case()[1]
    points = [exact.inv_cdf(share) for share in (0.05, 0.5, 0.95)]
    summary = Summary(exact.mean, exact.stdev, *points, ess=math.inf, r_hat=1.0)
    return Reference(4, 1000, 0, 0, 1.0, KNOWN["normal"]().log_evidence, 0.01, {"mean": summary})


def test_a_posterior_is_near_its_reference():
    found = agreement.compare(normal_case()[0], exact_reference(), 256, range(2))
    together = found["together"]
    assert together["means"][0] < 0.35
    assert together["ends"][0] < 0.7
    assert "| mean | 1.0000 | inf | seed 1 |" in "\n".join(agreement.report([found]))
    bridged = evidence.from_agreement(exact_reference(), found)
    assert bridged["known"] == pytest.approx(sum(bridged["estimates"]) / 2, abs=0.5)


@pytest.mark.parametrize("name", ["binomial", "two_means"])
def test_evidence_is_near_what_is_known(name):
    found = evidence.measure(KNOWN[name](), 256, range(2))
    assert sum(found["estimates"]) / 2 == pytest.approx(found["known"], abs=0.5)
    assert found["case"] in "\n".join(evidence.report([found]))


def test_rates_are_of_effective_draws():
    case = normal_case()[0]
    found = rates.measure(case, 64, 20, 20)
    sample = sample_posterior(
        case.model, *case.rows, num_particles=64, draws_per_particle=32, seed=0, progress=False
    )
    effective = arviz.ess(sample.draws["mean"].reshape(4, -1).numpy())
    assert found["ours"]["smallest"] * found["seconds"] == pytest.approx(effective, rel=0.01)
    seconds = found["warmup_seconds"] + found["chain_seconds"]
    assert 0 < found["theirs"]["smallest"] * seconds < 100
    assert "| mean |" in "\n".join(rates.report([found]))


def test_gaps_are_in_posterior_deviations():
    draws = torch.randn(4000, dtype=torch.float64)
    reference = summarize({"here": draws, "there": draws}, 4)
    moved = summarize({"here": draws, "there": 2 * draws + 3 * draws.std(correction=0)}, 4)
    distances = gaps(moved, reference)
    assert distances["here"] == (0, 0)
    mean = reference["there"].mean / reference["there"].sd
    high = reference["there"].high / reference["there"].sd
    assert distances["there"] == pytest.approx((abs(mean + 3), abs(high + 3)))


def test_gaps_of_what_is_nearly_certain_are_in_hundredths():
    draws = 1 - 1e-6 * torch.rand(4000, dtype=torch.float64)
    reference, moved = (summarize({"share": values}, 4) for values in (draws, draws - 0.001))
    assert gaps(moved, reference)["share"] == pytest.approx((0.1, 0.1))


def test_a_reference_comes_back_from_its_file(tmp_path):
    reference = exact_reference()
    reference.save("mean", tmp_path)
    read = Reference.load("mean", tmp_path)
    assert read.n_draws == reference.n_draws
    assert read.summaries["mean"].low == pytest.approx(reference.summaries["mean"].low, rel=1e-4)
    assert read.log_evidence == pytest.approx(reference.log_evidence, rel=1e-4)


@pytest.mark.parametrize("name", [path.stem for path in sorted(FOLDER.glob("*.json"))])
def test_references_are_of_their_cases(name):
    case, reference = CASES[name](), Reference.load(name)
    quantities = case.evaluate(case.model.sample_prior(2))
    assert quantities.keys() == reference.summaries.keys()
    assert reference.r_hat < 1.01


def test_quantities_know_no_labels():
    case = CASES["old_faithful"]()
    draws = case.model.sample_prior(5)
    swapped = {site: value[:, [2, 0, 1]] for site, value in draws.items()}
    again = case.evaluate(swapped)
    for name, value in case.evaluate(draws).items():
        assert torch.allclose(value, again[name]), name


def test_a_bridge_knows_the_volume_under_a_density():
    root = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.3, 0.1, 0.5]]).double()
    target = GaussianMixture(
        torch.ones(1).double(), torch.ones(1, 3).double(), FullCovariance.from_factor(root[None])
    )
    wider = FullCovariance.from_factor(1.3 * root[None])
    proposal = GaussianMixture(torch.ones(1).double(), torch.full((1, 3), 0.8).double(), wider)
    log_z, error = bridge(
        lambda u: target.log_prob(u) - 7.0, target.sample((2000,)), proposal, 2000
    )
    assert error < 0.05
    assert log_z == pytest.approx(-7.0, abs=5 * error)
