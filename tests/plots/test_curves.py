import numpy as np
import pytest
import torch
from scipy import stats

from pyro_ugmm.plots.curves import axis_over, bin_edges, draws_density, smoothed


def test_an_axis_has_values_where_components_are():
    axis = axis_over(-10.0, 10.0, torch.tensor([0.3, 50.0]), torch.tensor([1e-3, 1.0]))
    assert axis[0] == -10 and axis[-1] == 10 and (axis.diff() > 0).all()
    assert ((axis - 0.3).abs() < 3e-3).sum() > 10
    many = axis_over(-10.0, 10.0, torch.randn(10_000), torch.ones(10_000), 300)
    assert 600 < len(many) <= 700


def test_smoothing_leaves_parabolas_and_takes_noise():
    torch.manual_seed(0)
    x = torch.linspace(-3, 3, 301, dtype=torch.float64)
    torch.testing.assert_close(
        smoothed(x, 1 + x - x.square(), 0.5), 1 + x - x.square(), rtol=1e-5, atol=1e-5
    )
    peak = (-0.5 * x.square()).exp()
    torch.testing.assert_close(smoothed(x, peak, 0.3), peak, rtol=0, atol=4e-3)
    noise = torch.randn(2, 301, dtype=torch.float64)
    assert smoothed(x, noise, 0.5).std() < 0.3 * noise.std()


def test_the_density_of_draws():
    generator = np.random.default_rng(0)
    for draws, law, bounds in (
        (generator.normal(1e6, 2, 4000), stats.norm(1e6, 2), (None, None)),
        (generator.exponential(1.0, 4000), stats.expon(), (0.0, None)),
        (generator.uniform(0, 1, 4000), stats.uniform(), (0.0, 1.0)),
    ):
        values, density = draws_density(draws, *bounds)
        assert np.trapezoid(density, values) == pytest.approx(1, abs=0.01)
        peak = law.pdf(values).max()
        np.testing.assert_allclose(density, law.pdf(values), atol=0.15 * peak)
    apart = np.concatenate([generator.normal(-50, 1, 500), generator.normal(50, 1, 500)])
    values, density = draws_density(apart)
    assert density[np.abs(values).argmin()] < 1e-6  # switched labels stay apart
    assert density.max() == pytest.approx(0.5 * stats.norm.pdf(0), rel=0.35)


@pytest.mark.parametrize(("step", "at"), [(0.1, 4.3), (1.0, 0.0), (1.0, 1e6), (1e-7, 0.0)])
def test_bins_of_rounded_values_hold_as_many_steps_each(step, at):
    steps = torch.randint(37, (200,), generator=torch.Generator().manual_seed(0))
    edges = bin_edges(at + step * steps.double())
    widths = np.diff(edges) / step
    np.testing.assert_allclose(widths, widths[0].round(), rtol=1e-3)
    inside = (edges - at) / step % 1
    np.testing.assert_allclose(inside, 0.5, atol=1e-3)  # no value is at an edge
    assert edges[0] < at and edges[-1] > at + 36 * step


def test_bins_of_other_values():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    for scale, shift in ((1.0, 0.0), (1e6, 1e6), (1e-9, 0.0)):
        edges = bin_edges(scale * x.double() + shift)
        assert 20 < len(edges) < 60
        assert edges[0] == pytest.approx(scale * x.min().item() + shift)
    clusters = torch.cat([0.1 * x[:500], 4 + 0.5 * x[500:]])
    heights, edges = np.histogram(clusters, bin_edges(clusters), density=True)
    assert heights.max() > 0.7 * 0.5 * stats.norm(0, 0.1).pdf(0)
    assert len(bin_edges(torch.tensor([3.0, 3.0]))) == 2
    assert len(bin_edges((3 * x).exp())) <= 81
