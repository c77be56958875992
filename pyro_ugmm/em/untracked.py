"""Computation whose results are ordinary tensors without gradients, even in inference mode."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["untracked"]


@contextmanager
def untracked() -> Iterator[None]:
    """Turns off gradients and inference mode, in which tensors could not take part in any later."""
    with torch.inference_mode(False), torch.no_grad():
        yield
