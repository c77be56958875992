"""Values and log volumes of positions against torch's bijections, and against a Jacobian."""

import pytest
import torch
from torch.distributions import biject_to, constraints

from pyro_ugmm.programs.bijections import value_and_volume
from pyro_ugmm.programs.coordinates import Coordinates
from pyro_ugmm.programs.sites import LatentSite

SUPPORTS = {
    "real": (constraints.real, (3,)),
    "positive": (constraints.positive, (3,)),
    "interval": (constraints.interval(-1.0, 2.0), (2, 3)),
    "two probabilities": (constraints.simplex, (2,)),
    "simplex": (constraints.simplex, (5,)),
    "simplexes": (constraints.independent(constraints.simplex, 1), (3, 4)),
    "correlations of two": (constraints.corr_cholesky, (2, 2)),
    "correlations of five": (constraints.corr_cholesky, (5, 5)),
    "two of three": (constraints.independent(constraints.corr_cholesky, 1), (2, 3, 3)),
}


def batch_of(support, shape, scale=1.0, n_draws=20):
    """The bijection, and unconstrained values of many draws."""
    transform = biject_to(support)
    generator = torch.Generator().manual_seed(0)
    unconstrained = transform.inverse_shape(torch.Size(shape))
    noise = torch.randn(n_draws, *unconstrained, generator=generator, dtype=torch.float64)
    return transform, scale * noise


def summed(volume, n_draws):
    return volume.expand(n_draws) if volume.dim() < 2 else volume.flatten(1).sum(-1)


@pytest.mark.parametrize("name", SUPPORTS)
def test_values_volumes_and_gradients_are_torchs(name):
    transform, u = batch_of(*SUPPORTS[name])
    weight = torch.randn(transform(u).shape, dtype=u.dtype)
    outcomes = []
    for evaluate in (value_and_volume(transform, u[0]), None):
        point = u.clone().requires_grad_()
        if evaluate is None:
            value = transform(point)
            volume = transform.log_abs_det_jacobian(point, value)
        else:
            value, volume = evaluate(point)
        volume = summed(volume, len(u))
        (gradient,) = torch.autograd.grad((value * weight).sum() + 2 * volume.sum(), point)
        outcomes.append((value, volume, gradient))
    torch.testing.assert_close(*outcomes)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_volumes_are_those_of_the_jacobian(size):
    """Of the free coordinates: all entries but the last, and those below the diagonal."""
    row, column = torch.tril_indices(size, size, -1)
    cases = {
        constraints.simplex: ((size,), lambda value: value[:-1]),
        constraints.corr_cholesky: ((size, size), lambda value: value[row, column]),
    }
    for support, (shape, free) in cases.items():
        transform, u = batch_of(support, shape, n_draws=1)
        evaluate = value_and_volume(transform, u[0])
        jacobian = torch.autograd.functional.jacobian(lambda v: free(evaluate(v)[0]), u[0])  # noqa: B023
        torch.testing.assert_close(evaluate(u[0])[1], jacobian.slogdet().logabsdet)


@pytest.mark.parametrize("name", ["simplex", "correlations of five"])
def test_single_precision_far_out(name):
    transform, u = batch_of(*SUPPORTS[name], scale=4.0)
    exact, volume = value_and_volume(transform, u[0])(u)
    rough, rough_volume = value_and_volume(transform, u[0].float())(u.float())
    torch.testing.assert_close(rough.double(), exact, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(rough_volume.double(), volume, atol=1e-5, rtol=1e-5)
    assert transform.codomain.check(rough).all()


def test_many_probabilities_sum_to_one():
    transform, u = batch_of(constraints.simplex, (2000,))
    value, _ = value_and_volume(transform, u[0].float())(u.float())
    assert constraints.simplex.check(value).all()


def test_sites_at_once():
    supports = {name: SUPPORTS[name] for name in ("real", "simplexes", "two of three")}
    coordinates = Coordinates(
        {
            name: LatentSite(torch.Size(shape), support)
            for name, (support, shape) in supports.items()
        }
    )
    position = torch.randn(7, coordinates.n_values, dtype=torch.float64)
    values, volume = coordinates.values(position)
    expected = torch.zeros(7, dtype=torch.float64)
    for name, part in coordinates.split(position).items():
        transform = biject_to(supports[name][0])
        torch.testing.assert_close(values[name], transform(part))
        log_scale = transform.log_abs_det_jacobian(part, values[name])
        expected += log_scale.reshape(7, -1).sum(-1)
    torch.testing.assert_close(volume, expected)
    torch.testing.assert_close(coordinates.flatten(values), position)
