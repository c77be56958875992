"""Double precision where a device has none."""

import pytest
import torch

from pyro_ugmm.accumulation import double, double_device

from .small_device import DEVICE, SmallDevice


def test_the_stand_in_computes_and_refuses_doubles():
    with SmallDevice():
        x = torch.arange(4.0).to(DEVICE)
        assert (x + 1).device.type == DEVICE.type and (x + 1).sum().item() == 10
        x[1:] += 1
        assert x.cpu().tolist() == [0, 2, 3, 4]
        for call in (x.double, lambda: x.sum(dtype=torch.float64), lambda: x.to(torch.float64)):
            with pytest.raises(TypeError, match="float64"):
                call()
        with pytest.raises(TypeError, match="float64"):
            torch.zeros(2, dtype=torch.float64, device=DEVICE)
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(4)


def test_doubles_are_where_they_can_be():
    with SmallDevice():
        moved = double(torch.arange(4.0).to(DEVICE))
        assert moved.dtype == torch.float64 and moved.device.type == "cpu"
        assert double_device(DEVICE).type == "cpu"
    x = torch.arange(4.0)
    assert double(x).dtype == torch.float64 and double_device(x.device) == x.device
    assert torch.equal(double(double(x)), x.double())
