import math

import pytest
import torch

from pyro_ugmm.optimization.convergence import loss_fall, verdict
from pyro_ugmm.optimization.iterates import Iterates
from pyro_ugmm.status import Status

N = 400


def iterates_of(path):
    """Iterates that followed a path ``(n, P)``."""
    parameter = torch.nn.Parameter(path[0].clone())
    iterates = Iterates([parameter], len(path))
    for values in path:
        parameter.data.copy_(values)
        iterates.update()
    return iterates


def paths(seed=0, n_parameters=30):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(N, n_parameters, generator=generator).double()
    line = torch.linspace(0, 1, N).double().unsqueeze(-1).expand(-1, n_parameters)
    return {"noise": noise, "walk": noise.cumsum(0), "line": line}


@pytest.mark.parametrize("n", [N, N - 1])
def test_split_r_hat_and_average_by_hand(n):
    path = paths()["walk"][:n] + 1e4
    first, second = path.tensor_split(2)
    within = (first.var(0) + second.var(0)) / 2
    between = torch.stack([first.mean(0), second.mean(0)]).var(0)
    expected = ((len(first) - 1) / len(first) + between / within).sqrt().median()
    found = iterates_of(path)
    assert found.split() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(found.average()[0], path.mean(0))


def test_split_tells_wandering_from_travelling():
    found = {name: iterates_of(path).split() for name, path in paths().items()}
    assert found["noise"] == pytest.approx(1, abs=0.02)
    assert 1.2 < found["walk"] < 1.8
    assert found["line"] == pytest.approx(math.sqrt(7), rel=0.01)
    assert iterates_of(torch.ones(N, 2)).split() == 1.0  # nothing moved


LOUD, QUIET = 5.0, 0.01


@pytest.mark.parametrize(
    ("path", "fall", "noise", "settles"),
    [
        ("noise", 0.0, LOUD, True),
        ("walk", 0.0, LOUD, True),
        ("line", 0.0, LOUD, False),
        ("line", 0.01, QUIET, True),  # it does not matter
        ("noise", 1.0, QUIET, False),
        ("noise", 10.0, LOUD, False),
        ("noise", -0.3, LOUD, True),
    ],
)
def test_verdict(path, fall, noise, settles):
    losses = noise * torch.randn(N, generator=torch.Generator().manual_seed(1))
    losses[: N // 2] += fall
    status, said = verdict(iterates_of(paths()[path]), losses)
    assert (status is Status.CONVERGED) == settles, said
    assert ("settled" in said) == settles and ("give more steps" in said) != settles


def test_the_fall_of_losses():
    torch.manual_seed(0)
    noise = torch.randn(N)
    fall, error = loss_fall(torch.cat([noise[:200] + 5, noise[200:]]))
    assert fall == pytest.approx(5, abs=0.3) and error == pytest.approx(0.1, rel=0.1)


def test_too_few_steps():
    said = verdict(iterates_of(paths()["noise"][:5]), torch.zeros(5))
    assert said == (Status.LIMIT_REACHED, "too few to tell whether the loss settled")


def test_a_loss_that_rose_did_not_settle():
    noise = torch.randn(N, generator=torch.Generator().manual_seed(1))
    status, said = verdict(iterates_of(paths()["noise"]), noise + torch.linspace(0, 10, N))
    assert status is Status.LIMIT_REACHED
    assert "the loss was rising, by " in said and "lower the learning" in said


def test_the_average_keeps_a_log_weight_of_minus_infinity():
    path = paths()["noise"].clone()
    path[:, 0] = -math.inf
    found = iterates_of(path).average()[0]
    assert found[0] == -math.inf
    torch.testing.assert_close(found[1:], path[:, 1:].mean(0))


class Far(torch.Tensor):
    """A tensor on a device without double precision, of which the processor has a copy."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        found = super().__torch_function__(function, types, args, kwargs or {})
        if function is torch.Tensor.cpu:
            return found.as_subclass(torch.Tensor)
        if isinstance(found, torch.Tensor) and found.dtype == torch.float64:
            raise TypeError("this device has no float64")
        return found


def test_a_device_without_double_precision():
    path = paths()["walk"].float()
    iterates, losses = iterates_of(path), torch.linspace(20, 10, N)
    expected = verdict(iterates, losses)
    sums, squares = (iterates.state()[name] for name in ("sums", "squares"))
    for noted in (*sums, *squares):
        noted[:] = [tensor.as_subclass(Far) for tensor in noted]
    with pytest.raises(TypeError, match="no float64"):
        sums[0][0].double()
    assert verdict(iterates, losses.as_subclass(Far)) == expected
