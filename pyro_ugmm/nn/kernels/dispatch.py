"""Which backend evaluates a layer."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.utils._device import DeviceContext

from ...checks import check, check_same_kind
from ...tracking import is_tracked
from .backend import Backend, LayerInputs
from .backends import BACKENDS, TEXTBOOK
from .dtypes import check_dtype
from .layout import Layout

__all__ = ["backend_for", "force_backend", "layer_log_density"]

_LARGE = Layout((1 << 10,), (), 1 << 10, 1 << 10)
_forced: ContextVar[str | None] = ContextVar("forced backend", default=None)


@contextlib.contextmanager
def force_backend(name: str) -> Iterator[None]:
    """Makes layers use one backend within.

    Args:
        name: ``"compiled"`` (C, on the CPU), ``"fused"`` (Triton, on CUDA), ``"tiled"`` (plain
            torch) or ``"textbook"``.

    Raises:
        ValueError: if there is no such backend; or, when a layer is evaluated, if it cannot be
            used for the tensors given.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn import UGMMLayer
        >>> from pyro_ugmm.nn.kernels import backend_for, force_backend
        >>> with force_backend("tiled"):
        ...     backend_for("cpu", torch.float32), UGMMLayer(4, 3)(torch.randn(10, 4)).shape
        ('tiled', torch.Size([10, 3]))
    """
    known = isinstance(name, str) and name in BACKENDS
    check(known, "name", f"one of {tuple(BACKENDS)}", repr(name))
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def backend_for(device: torch.device | str, dtype: torch.dtype) -> str:
    """Names the backend of large layers on a device: the first that can be used there.

    Raises:
        ValueError: if one is forced that cannot be used there, or the dtype does for none.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn.kernels import backend_for
        >>> backend_for("cpu", torch.float32) in ("compiled", "tiled")  # with C or without
        True
    """
    check_dtype("dtype", dtype)
    return _choose(torch.device(device), dtype, _LARGE).name


def _choose(device: torch.device, dtype: torch.dtype, layout: Layout) -> Backend:
    forced = _forced.get()
    if forced is None:
        suited = (one for one in BACKENDS.values() if one.suits(device, layout))
        return next((one for one in suited if not one.unavailable(device, dtype)), TEXTBOOK)
    reason = BACKENDS[forced].unavailable(device, dtype)
    check(not reason, "backend", f"{forced!r} to be available", f"none: {reason}")
    return BACKENDS[forced]


def layer_log_density(
    x: Tensor, loc: Tensor, scale: Tensor, log_weight: Tensor, *, omit: bool = False
) -> Tensor:
    r"""Scores each input under its own component, for every neuron.

    .. math:: \mathrm{out}_j(x) =
        \log \sum_k w_{jk} \, \mathcal{N}(x_k \mid \mu_{jk}, \sigma_{jk}^2)

    Nothing of the size rows by neurons by inputs is held, forward or backward, except in small
    layers, under ``torch.func`` and tracing, and for derivatives of derivatives.

    Args:
        x: inputs, shape ``B + (K,)``.
        loc: means :math:`\mu`, shape ``P + (J, K)``.
        scale: standard deviations :math:`\sigma`, shape ``P + (J, K)``.
        log_weight: :math:`\log w`, shape ``P + (J, K)``. A log weight of ``-inf`` leaves its input
            out, in the value and in the gradients. Each of the three may have leading dimensions
            ``P`` of its own, which broadcast.
        omit: whether NaN in ``x`` leaves its input out, rather than giving NaN. What is left is
            not renormalized.

    Returns:
        Scores of shape ``broadcast(P, B) + (J,)``.

    Raises:
        ValueError: if dtypes or devices differ, or the last dimensions do not fit.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn.kernels import layer_log_density
        >>> x, loc, scale = torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2)
        >>> layer_log_density(x, loc, scale, torch.full((1, 2), 0.5).log())
        tensor([[-0.9189]])
    """
    check_dtype("x", x.dtype)
    inputs = LayerInputs(x, loc, scale, log_weight, omit)
    sets = [parameter.shape[:-2] for parameter in (loc, scale, log_weight)]
    layout = Layout(x.shape[:-1], sets, *loc.shape[-2:])
    if _forced.get() is None and TEXTBOOK.suits(x.device, layout):
        return TEXTBOOK.score(inputs, layout)  # which torch.compile may look into
    return _by_any_backend(inputs, layout)


@torch.compiler.disable  # so that a compiled model uses the backend as it is
def _by_any_backend(inputs: LayerInputs, layout: Layout) -> Tensor:
    x, *parameters, _ = inputs
    _check_tensors(inputs)
    backend = _choose(x.device, x.dtype, layout)
    if not layout.n_terms or not (backend.is_composed or _is_left_alone(x, *parameters)):
        backend = TEXTBOOK
    return backend.score(inputs, layout)


def _check_tensors(inputs: LayerInputs) -> None:
    """Checks what the backends take for granted: they read memory as it is."""
    x, *parameters, _ = inputs
    names = ("loc", "scale", "log_weight")
    check_same_kind({"x": x, **dict(zip(names, parameters, strict=True))})
    shape = inputs.loc.shape[-2:-1] + x.shape[-1:]
    for name, parameter in zip(names, parameters, strict=True):
        if parameter.shape[-2:] != shape:
            expected = f"shape (..., {', '.join(map(str, shape))})"
            check(False, name, expected, tuple(parameter.shape))


def _is_left_alone(*tensors: Tensor) -> bool:
    """Whether nobody needs to see every operation: no transform, tracing, mode or other kind of
    tensor, but for the mode of the default device.
    """
    if is_tracked(*tensors):
        return False
    if not torch._C._len_torch_function_stack():
        return True
    modes = torch.overrides._get_current_function_mode_stack()
    return all(isinstance(mode, DeviceContext) for mode in modes)
