import math

import pytest
import torch
from torch.distributions import Categorical, Dirichlet

from pyro_ugmm.diagnostics import calibration, class_probabilities, uncertainty
from pyro_ugmm.models import Priors, UGMMClassifier
from pyro_ugmm.nn import UGMMNetwork
from pyro_ugmm.plots import plot_reliability


def simulated(n=20_000, power=1.0):
    """Predictions, and labels drawn from them; a power below one makes labels more random."""
    probabilities = Dirichlet(torch.tensor([0.5, 0.7, 1.0])).sample((n,))
    return probabilities, Categorical(probabilities**power).sample()


def test_calibrated_predictions_have_a_small_error():
    found = calibration(*simulated())
    assert found.error < 0.015 and found.counts.sum() == 20_000
    assert (found.counts[:3] == 0).all() and found.accuracy[:3].isnan().all()
    assert (found.accuracy - found.confidence).nan_to_num().abs().max() < 0.1


def test_overconfidence_is_an_error_of_its_size():
    probabilities, y = simulated(power=0.3)
    found = calibration(probabilities, y)
    confidence, label = probabilities.max(-1)
    gap = confidence.mean() - (label == y).float().mean()
    assert found.error == pytest.approx(gap.item(), abs=0.02) and gap > 0.15
    assert calibration(torch.eye(2).expand(2, 2), torch.tensor([1, 0])).error == 1
    assert calibration(torch.eye(2).expand(2, 2), torch.tensor([0, 1])).error == 0


def test_one_bin_is_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    found = calibration(probabilities, torch.tensor([0, 1, 1]), n_bins=1)
    assert found.error == pytest.approx(abs((0.9 + 0.6 + 0.7) / 3 - 2 / 3))


def test_uncertainty_adds_up():
    probabilities = Dirichlet(torch.ones(4)).sample((50, 7))
    found = uncertainty(probabilities)
    entropy = Categorical(probabilities.mean(0)).entropy()
    torch.testing.assert_close(found.total, entropy)
    torch.testing.assert_close(found.aleatoric, Categorical(probabilities).entropy().mean(0))
    torch.testing.assert_close(found.aleatoric + found.epistemic, found.total)
    assert (found.epistemic > 0).all()
    same = uncertainty(probabilities[:1].expand(50, 7, 4))
    torch.testing.assert_close(same.epistemic, torch.zeros(7), atol=1e-6, rtol=0)
    certain = uncertainty(torch.eye(3).expand(5, 3, 3))
    torch.testing.assert_close(certain.total, torch.zeros(3))
    opposite = uncertainty(torch.eye(2).unsqueeze(1))
    torch.testing.assert_close(opposite.epistemic, torch.tensor([math.log(2)]))


def test_reliability_is_drawn():
    ax = plot_reliability(*simulated(300), n_bins=8)
    points = ax.collections[1].get_offsets()
    found = calibration(*simulated(300), n_bins=8)
    assert 3 <= len(points) <= (found.counts >= 0).sum()
    assert "calibration error" in ax.get_title()


P, Y = simulated(10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration(P.unsqueeze(0), Y), r"probabilities: expected shape \(n, C\)"),
        (lambda: calibration(P * 2, Y), "probabilities: expected sums of one"),
        (
            lambda: calibration(P, Y[:3]),
            "y: expected 10 labels in its last dimension, one a row of prob",
        ),
        (lambda: calibration(P, Y.float()), "y: expected integer labels, got torch.float32"),
        (lambda: calibration(P, Y + 3), "y: expected labels from 0 to 2"),
        (lambda: calibration(P, Y, n_bins=0), "n_bins: expected a positive integer"),
        (lambda: uncertainty(P), r"probabilities: expected shape \(S, n, C\)"),
        (lambda: calibration([[-0.5, 1.5]], [0]), "probabilities: expected numbers from zero to"),
        (lambda: uncertainty([[[-0.5, 1.5]]]), "probabilities: expected numbers from zero to one"),
        (lambda: uncertainty([1]), r"probabilities: expected shape \(S, n, C\)"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_class_probabilities_without_priors_are_the_networks():
    torch.manual_seed(0)
    network = UGMMNetwork([2, 4, 3], dropout=0.5)
    x = torch.randn(7, 2)
    found = class_probabilities(UGMMClassifier(network), None, x)
    torch.testing.assert_close(found[0], network.eval()(x).softmax(-1).detach())
    assert found.shape == (1, 7, 3) and not found.requires_grad
    with pytest.raises(ValueError, match="inference: expected a fitted guide or a sample"):
        class_probabilities(UGMMClassifier(network, Priors()), None, x)
