"""The parameters of a layer: what they are, and how their values are set."""

import math
from typing import Any

import torch
from pyro.nn import PyroParam, PyroSample
from torch import Tensor
from torch.distributions import constraints

from ..checks import check, check_device, check_integer, check_number, check_same_kind
from .kernels.dtypes import check_dtype
from .local_parameters import LocalModule
from .parameter_checks import PARAMETERS, check_parameter
from .starting_values import StartingValues

__all__ = ["LayerParameters"]


class LayerParameters(LocalModule):
    """Means, scales and logits of ``J`` neurons of ``K`` inputs, which take values of tensors.

    Args:
        in_features: the number of inputs.
        out_features: the number of neurons.
        min_scale: a floor under the scales.
        device, dtype: of the parameters.
    """

    input_center: Tensor
    input_spread: Tensor

    @torch.inference_mode(False)  # within which nobody could train them
    def __init__(
        self,
        in_features: int,
        out_features: int,
        min_scale: float,
        device: Any,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.in_features = check_integer("in_features", in_features)
        self.out_features = check_integer("out_features", out_features)
        expected = "a non-negative number"
        self.min_scale = check_number("min_scale", min_scale, lambda m: 0 <= m < math.inf, expected)
        check_dtype("dtype", torch.get_default_dtype() if dtype is None else dtype)
        kind: dict[str, Any] = {"device": check_device("device", device), "dtype": dtype}
        self.register_buffer("input_center", torch.zeros(self.in_features, **kind))
        self.register_buffer("input_spread", torch.ones(self.in_features, **kind))
        self.loc = torch.nn.Parameter(torch.zeros(self.shape, **kind))
        positive = constraints.greater_than(self.min_scale)
        self.scale = PyroParam(torch.ones(self.shape, **kind), positive)
        self.logits = torch.nn.Parameter(torch.zeros(self.shape, **kind))

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of each parameter, ``(J, K)``."""
        return self.out_features, self.in_features

    def start_at(self, center: Tensor, spread: Tensor, start: StartingValues) -> None:
        """Takes parameters that were drawn for inputs of a location and scale."""
        self.input_center.copy_(center)
        self.input_spread.copy_(spread)
        self.loc.copy_(start.loc)
        self.scale = start.scale.clamp(min=2 * self.min_scale)
        self.logits.copy_(start.logits)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets a parameter's values from a tensor of its shape, dtype and device."""
        # Pruning and replicas keep plain tensors under these names.
        is_parameter = name in PARAMETERS and (name in self._parameters or name == "scale")
        if not is_parameter or isinstance(value, PyroParam | PyroSample):
            super().__setattr__(name, value)
            return
        is_new = isinstance(value, torch.nn.Parameter)
        expected = "a tensor, whose values are copied (a Parameter would not stay positive)"
        check(not is_new or name != "scale", name, expected, type(value).__name__)
        check_parameter(name, value, self.shape, self.min_scale)
        if not is_new:
            check_same_kind({"the layer": self.input_center, name: value})
        with torch.inference_mode(False), torch.no_grad():
            if is_new or name == "scale":  # which Pyro converts
                super().__setattr__(name, value)
            else:
                self._parameters[name].copy_(value)
