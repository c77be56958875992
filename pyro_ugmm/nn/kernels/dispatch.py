"""Which backend evaluates a layer, and how leading dimensions are brought into its form."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.utils._device import DeviceContext

from ...checks import check, check_same_kind
from .compiled import Compiled
from .contract import Backend, score
from .fused import Fused
from .textbook import textbook
from .tiled import Tiled

__all__ = ["backend_for", "check_dtype", "force_backend", "layer_log_density"]

_BACKENDS: dict[str, Backend] = {one.name: one for one in (Compiled(), Fused(), Tiled())}
_TEXTBOOK = "textbook"
_NAMES = (*_BACKENDS, _TEXTBOOK)
# Below so many (row, neuron, input) for each set of parameters, the textbook is as fast.
_FEWEST_TERMS = 1 << 15
_DTYPES = (torch.float32, torch.float64, torch.bfloat16)
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
    check(isinstance(name, str) and name in _NAMES, "name", f"one of {_NAMES}", repr(name))
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def check_dtype(name: str, dtype: Any) -> None:
    """Checks that numbers of a dtype do for parameters and scores."""
    expected = "float32, float64 or bfloat16 (float16 overflows 256 scales from a mean)"
    check(dtype in _DTYPES, name, expected, repr(dtype))


def backend_for(device: torch.device | str, dtype: torch.dtype) -> str:
    """Names the backend of large layers on a device: the first that can be used there.

    Raises:
        ValueError: if one is forced that cannot be used there, or the dtype does for none.

    Example:
        >>> import torch
        >>> from pyro_ugmm.nn.kernels import backend_for
        >>> backend_for("cpu", torch.float32) in ("compiled", "tiled")  # with a C compiler or not
        True
    """
    check_dtype("dtype", dtype)
    device, forced = torch.device(device), _forced.get()
    if forced is not None:
        reason = "" if forced == _TEXTBOOK else _BACKENDS[forced].unavailable(device, dtype)
        check(not reason, "backend", f"{forced!r} to be available", f"none: {reason}")
        return forced
    # Triton's interpreter, on the CPU, is for tests, which force it.
    usual = [one for one in _BACKENDS.values() if device.type != "cpu" or one.name != Fused.name]
    return next(one.name for one in usual if not one.unavailable(device, dtype))


def _is_watched() -> bool:
    """Whether a mode overrides torch's functions, other than that of the default device."""
    if not torch._C._len_torch_function_stack():
        return False
    modes = torch.overrides._get_current_function_mode_stack()
    return not all(isinstance(mode, DeviceContext) for mode in modes)


def _needs_autograd(tensors: tuple[Tensor, ...]) -> bool:
    """Whether something needs to see every operation: functorch, tracing, or a tensor of a kind
    that follows where it goes, as Pyro's do that track what depends on what.
    """
    if torch.jit.is_tracing() or _is_watched():
        return True
    if any(type(tensor) not in (Tensor, torch.nn.Parameter) for tensor in tensors):
        return True
    if any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors):
        return True
    return torch.autograd.forward_ad._current_level >= 0


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
    if _forced.get() is None and x.numel() * loc.shape[-2] < _FEWEST_TERMS:
        return textbook(x, loc, scale, log_weight, omit=omit)
    return _by_backend(x, loc, scale, log_weight, omit)


def _check_tensors(x: Tensor, parameters: dict[str, Tensor]) -> None:
    """Checks what the backends take for granted: they read memory as it is."""
    check_same_kind({"x": x, **parameters})
    shape = parameters["loc"].shape[-2:-1] + x.shape[-1:]
    for name, parameter in parameters.items():
        fits = parameter.shape[-2:] == shape
        check(fits, name, f"shape (..., {', '.join(map(str, shape))})", tuple(parameter.shape))


@torch.compiler.disable  # so that a compiled model uses the backend as it is
def _by_backend(x: Tensor, loc: Tensor, scale: Tensor, log_weight: Tensor, omit: bool) -> Tensor:
    _check_tensors(x, {"loc": loc, "scale": scale, "log_weight": log_weight})
    parameters = (loc, scale, log_weight)
    tensors = (x, *parameters)
    name = backend_for(x.device, x.dtype)
    batch = torch.broadcast_shapes(x.shape[:-1], *(t.shape[:-2] for t in parameters))
    n_neurons, n_inputs = loc.shape[-2:]
    # Dimensions along which parameters vary come first, the others are rows.
    shapes = [(1,) * (len(batch) - t.dim() + 2) + tuple(t.shape[:-2]) for t in parameters]
    varying = [i for i in range(len(batch)) if any(shape[i] > 1 for shape in shapes)]
    rows = [i for i in range(len(batch)) if i not in varying]
    n_rows = 1
    for i in rows:
        n_rows *= batch[i]
    is_small = n_rows * n_neurons * n_inputs < _FEWEST_TERMS and _forced.get() is None
    is_empty = 0 in (*batch, n_neurons, n_inputs)
    if name == _TEXTBOOK or is_small or is_empty or _needs_autograd(tensors):
        return textbook(*tensors, omit=omit)
    backend = _BACKENDS[name]
    if not varying:
        single = (t.reshape(n_neurons, n_inputs) for t in parameters)
        out = score(backend, omit, x.reshape(-1, n_inputs), *single)
        return out.reshape(*batch, n_neurons)
    order = [*varying, *rows]
    outer = [batch[i] for i in varying]
    inputs = x.expand(*batch, n_inputs).permute(*order, len(batch)).flatten(0, len(outer) - 1)
    sets = [
        t.reshape(*shape, n_neurons, n_inputs)
        .permute(*order, len(batch), len(batch) + 1)
        .expand(*outer, *(1 for _ in rows), n_neurons, n_inputs)
        .reshape(-1, n_neurons, n_inputs)
        for t, shape in zip(parameters, shapes, strict=True)
    ]
    outs = [
        score(backend, omit, one.reshape(-1, n_inputs), *given)
        for one, *given in zip(inputs, *sets, strict=True)
    ]
    out = torch.stack(outs).reshape(*(batch[i] for i in order), n_neurons)
    back = sorted(range(len(order)), key=order.__getitem__)
    return out.permute(*back, len(batch))
