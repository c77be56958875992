"""Training and evaluation mode, for a while."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["training_mode"]


@contextlib.contextmanager
def training_mode(model: Any, training: bool) -> Iterator[None]:
    """Puts a module and all inside it in training or evaluation mode; restores each after.

    What is no module has no mode.
    """
    if not isinstance(model, torch.nn.Module):
        yield
        return
    before = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, was_training in before.items():
            module.training = was_training
