"""The recipe for MNIST: data, regularization, networks and their training."""

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset

from pyro_ugmm.datasets import mnist

SIZES = [784, 128, 64, 10]
SIDE = 28
BATCH = 256


class Digits:
    """Images ``(n, 784)``, standardized by one mean and deviation of all pixels, and labels."""

    def __init__(self, folder: Path, validation: int) -> None:
        x, y, *_ = mnist(folder)
        self.center, self.spread = x.mean(), x.std()
        x = self.standardized(x)
        if validation:
            order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
            held, kept = order[:validation], order[validation:]
            self.test_x, self.test_y = x[held], y[held]
            self.x, self.y = x[kept], y[kept]
        else:
            self.x, self.y = x, y
            test_x, self.test_y, *_ = mnist(folder, train=False)
            self.test_x = self.standardized(test_x)

    def standardized(self, pixels: Tensor) -> Tensor:
        """Pixels from 0 to 1 in standard units."""
        return (pixels - self.center) / self.spread

    def turned(self) -> Tensor:
        """The test images, turned by 90 degrees."""
        return self.test_x.reshape(-1, SIDE, SIDE).rot90(1, (1, 2)).reshape(-1, SIDE**2)

    def noise(self) -> Tensor:
        """Images of independent pixels, uniform from black to white."""
        generator = torch.Generator().manual_seed(0)
        return self.standardized(torch.rand(self.test_x.shape, generator=generator))


class ShiftedDigits(Dataset):
    """Images in all nine places that shifts of up to one pixel, down and right, bring them to."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = pad(x.reshape(-1, SIDE, SIDE), (1, 1, 1, 1), value=float(x.min())), y

    def __len__(self) -> int:
        return 9 * len(self.y)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """All images of a batch at once."""
        index = torch.tensor(indices)
        at, shift = index // 9, (index % 9).unsqueeze(1)
        down, right = shift // 3 + torch.arange(SIDE), shift % 3 + torch.arange(SIDE)
        x = self.x[at.reshape(-1, 1, 1), down.unsqueeze(2), right.unsqueeze(1)]
        return x.reshape(-1, SIDE**2), self.y[at]

    def loader(self) -> DataLoader:
        """Shuffled batches."""
        return DataLoader(self, BATCH, shuffle=True, drop_last=True, collate_fn=lambda batch: batch)


def one_cycle(peak: float, steps: int):
    """Smith's one-cycle schedule (2018, arXiv:1803.09820): up for a fifth, then down to nothing."""

    def rate(step: int) -> float:
        at = (step + 1) / steps
        if at < 0.2:
            return peak * (0.04 + 0.96 * at / 0.2)
        return peak * (1e-4 + 0.5 * (1 + math.cos(math.pi * (at - 0.2) / 0.8)))

    return rate
