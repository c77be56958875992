"""What tells one run of sampling from others, as words and fingerprints by name."""

from collections.abc import Callable
from typing import Any

import pyro
import torch

from ..fingerprints import fingerprint
from ..optimization.run_identity import guide_identity, model_identity, start_of
from ..programs.traced import Rows
from .settings import Settings

__all__ = ["run_identity"]


def run_identity(model: Callable, rows: Rows, start: Any, settings: Settings) -> dict[str, str]:
    """Says what makes a run what it is, once its model and guide have run."""
    said = "the prior" if start is None else f"{guide_identity(start)} {_values_of(start)}"
    return {
        "title": "sequential Monte Carlo",
        **model_identity(model),
        "values of the model": _values_of(model),
        "start": said,
        "data": fingerprint(*rows),
        "device": rows[0].device.type,
        **settings.identity(),
    }


def _values_of(program: Any) -> str:
    """What tells a program's parameters from others, which are Pyro's if it is a function."""
    is_module = isinstance(program, torch.nn.Module)
    return start_of(program if is_module else pyro.get_param_store())
