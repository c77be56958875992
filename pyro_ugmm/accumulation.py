"""Sums in double precision, for devices without it too."""

import functools

import torch
from torch import Tensor

__all__ = ["BlockSum", "double", "double_device"]


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


class BlockSum:
    """A sum over the last dimension of many blocks, in double precision.

    A device without it sums each block, and these sums are added elsewhere at the end, so that it
    never waits.

    Args:
        like: a tensor on the device.
        shape: of the total.
    """

    def __init__(self, like: Tensor, *shape: int) -> None:
        device = double_device(like.device)
        self._sum = torch.zeros(shape, dtype=torch.float64, device=device)
        self._parts: list[Tensor] | None = None if device == like.device else []
        self.count = 0

    def add(self, block: Tensor) -> None:
        """Adds the sum of a block."""
        if self._parts is None:
            self._sum += block.sum(-1, dtype=torch.float64)
        else:
            self._parts.append(block.sum(-1))

    def value(self) -> Tensor:
        """Returns the sum of all blocks, and of what was counted beside them."""
        parts = double(torch.stack(self._parts)).sum(0) if self._parts else 0.0
        return self._sum + parts + self.count
