import pytest
import torch

from pyro_ugmm.optimization.convergence import GradientSignal


def signal_of(mean, noise, steps=2000, size=50):
    parameter = torch.nn.Parameter(torch.zeros(size))
    optimizer = torch.optim.Adam([parameter], lr=0.0)
    signal = GradientSignal(optimizer)
    for _ in range(steps):
        parameter.grad = mean + noise * torch.randn(size)
        optimizer.step()
        signal.update()
    return signal


@pytest.mark.parametrize(("mean", "noise"), [(0.0, 1.0), (0.3, 1.0), (1.0, 0.1), (1e-8, 3e-8)])
def test_the_share_of_signal_is_that_of_its_definition(mean, noise):
    signal = signal_of(mean, noise)
    expected = mean**2 / (mean**2 + noise**2)
    share = torch.stack(signal._products[500:]).mean().item()
    assert share == pytest.approx(expected, abs=0.02)
    converged, verdict = signal.verdict()
    assert converged == (expected == 0)
    assert ("settled" in verdict) == converged


def test_too_few_steps():
    assert signal_of(0.0, 1.0, steps=5).verdict() == (
        False,
        "too few to tell whether the loss settled",
    )
