"""Other random numbers for the same tests, as another processor's rounding would lead to."""

import os

import numpy as np
import torch

_VARIABLE = "SHIFTED_SEEDS"


def shift_seeds_as_parent() -> None:
    """Does in a process that a test starts what its parent did."""
    shift_seeds(int(os.environ.get(_VARIABLE, 0)))


def shift_seeds(shift: int) -> None:
    """Adds a number to every seed that is set from now on, for torch and for NumPy."""
    if not shift or hasattr(torch.Generator, "shift"):
        return
    os.environ[_VARIABLE] = str(shift)
    seed_torch, default_rng = torch.manual_seed, np.random.default_rng

    class Generator(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(seed + shift)

    Generator.shift = shift
    torch.Generator = Generator
    torch.manual_seed = lambda seed: seed_torch(seed + shift)
    np.random.default_rng = lambda seed=None: default_rng(
        seed + shift if isinstance(seed, int) else seed
    )
