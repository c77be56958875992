"""What numbers do for priors: concentrations, and the units of inputs."""

import math
from typing import Any

import torch
from torch import Tensor

from ..checks import check, check_number, check_values
from ..descriptions import is_number
from ..tables import as_table

__all__ = ["Concentration", "Location", "Spread"]


class Concentration:
    """A positive number, or None for no prior."""

    def checked(self, name: str, value: Any) -> float | None:
        """Checks a concentration, and returns a ``float``."""
        expected = "a positive concentration or None"
        if value is None:
            return None
        return check_number(name, value, lambda c: 0 < c < math.inf, expected)

    def described(self, name: str, value: float | None) -> float | None:
        """Describes a concentration as JSON can hold it."""
        return value

    def restored(self, name: str, description: Any, dtype: torch.dtype) -> float | None:
        """Takes a concentration of its description."""
        valid = description is None or is_number(description)
        check(valid, name, "a number or null", repr(description))
        return description


class Location:
    """Finite numbers without gradients, one or one for each input."""

    def checked(self, name: str, value: Any) -> Tensor:
        """Checks the numbers, and returns them in a tensor."""
        tensor = as_table(name, value).values
        check_values(name, tensor, tensor.isfinite(), "finite values")
        check(not tensor.requires_grad, name, "a tensor without gradients", "one that has them")
        return tensor

    def described(self, name: str, value: Tensor) -> Any:
        """Describes numbers as JSON can hold them."""
        return value.tolist()

    def restored(self, name: str, description: Any, dtype: torch.dtype) -> Tensor:
        """Makes a tensor of a description."""
        numbers = description if isinstance(description, list) else [description]
        expected = "a number, or a list of numbers"
        check(all(map(is_number, numbers)), name, expected, repr(description))
        return torch.tensor(description, dtype=dtype)


class Spread(Location):
    """Positive ones."""

    def checked(self, name: str, value: Any) -> Tensor:
        """Checks the numbers, and returns them in a tensor."""
        tensor = super().checked(name, value)
        check_values(name, tensor, tensor > 0, "positive values")
        return tensor
