"""Sums in double precision, for devices without it too."""

import functools

import torch
from torch import Tensor

__all__ = ["double", "double_device"]


@functools.cache
def _has_double(device: torch.device) -> bool:
    try:
        torch.empty(0, dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):  # Apple's GPUs raise the one, some of Intel's the other
        return False
    return True


def double_device(device: torch.device) -> torch.device:
    """Returns where double precision is to be had for tensors on a device: there, or on the CPU."""
    return device if _has_double(device) else torch.device("cpu")


def double(tensor: Tensor) -> Tensor:
    """Returns a tensor in double precision, on the CPU if its own device has none.

    Take sums over blocks of rows on the device, and add the sums of blocks in double precision.
    """
    return tensor.to(double_device(tensor.device)).double()
