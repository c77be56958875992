"""Sums of products in log space, as ``opt_einsum`` asks a backend for; vmap cannot run Pyro's."""

import torch
from pyro.ops.einsum.util import Tensordot
from torch import Tensor

__all__ = ["einsum", "tensordot", "transpose"]


def transpose(a: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Permutes dimensions."""
    return a.permute(axes)


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Adds operands, and takes the logarithm of sums of exponentials over what is left out."""
    inputs, output = equation.split("->")
    dims = output + "".join(sorted({*inputs} - {*output, ","}))
    parts = zip(operands, inputs.split(","), strict=True)
    total = sum((_aligned(operand, own, dims) for operand, own in parts), operands[0].new_zeros(()))
    if len(dims) == len(output):
        return total
    least = torch.finfo(total.dtype).min  # a sum of zeros would have a gradient of NaN
    return total.clamp(min=least).logsumexp([*range(len(output), len(dims))])


def _aligned(operand: Tensor, own: str, dims: str) -> Tensor:
    ordered = operand.permute([own.index(dim) for dim in dims if dim in own])
    return ordered[tuple(slice(None) if dim in own else None for dim in dims)]


tensordot = Tensordot(einsum)
