"""The states of the random generators of the process: torch's, NumPy's and Python's."""

import random
from typing import Any

import numpy as np
import torch

from .checks import check

__all__ = ["random_states", "restore_random_states", "seed_everything"]


def random_states(*, on_gpu: bool = False) -> dict[str, Any]:
    """Returns the states, as tensors and numbers.

    Args:
        on_gpu: whether to look at the generators of GPUs too.
    """
    name, words, *rest = np.random.get_state()  # noqa: NPY002
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if on_gpu else [],
        "numpy": [str(name), torch.from_numpy(np.array(words, dtype=np.int64)), *map(float, rest)],
        "python": [version, torch.tensor(internal), gauss],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Takes over what :func:`random_states` returned."""
    torch.set_rng_state(states["torch"])
    check(isinstance(states["cuda"], list), "cuda", "a list", type(states["cuda"]).__name__)
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    name, words, position, has_gauss, gauss = states["numpy"]
    words = words.numpy().astype(np.uint32)
    np.random.set_state((name, words, int(position), int(has_gauss), gauss))  # noqa: NPY002
    version, internal, next_gauss = states["python"]
    is_number = next_gauss is None or isinstance(next_gauss, float)
    check(is_number, "python", "a number or None", type(next_gauss).__name__)
    random.setstate((version, tuple(internal.tolist()), next_gauss))


def seed_everything(seed: int) -> None:
    """Seeds the generators."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
