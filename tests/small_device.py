"""A stand-in for a device that has no double precision."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

DEVICE = torch.device("lazy")  # which torch knows everywhere, and nobody has


class _Held(torch.Tensor):
    """A tensor that says it is on the device; its numbers are in a tensor of the processor."""

    @staticmethod
    def __new__(cls, inner):
        kind = {"dtype": inner.dtype, "device": DEVICE, "layout": inner.layout}
        strides = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, **kind, **strides)

    def __init__(self, inner):
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})

    def tolist(self):  # which torch's own refuses for subclasses
        return self.inner.tolist()

    def __repr__(self):
        return f"_Held({self.inner})"


def _run(function, args, kwargs):
    given = [value for value in tree_iter((args, kwargs)) if isinstance(value, torch.Tensor)]
    held = [value for value in given if isinstance(value, _Held)]
    device = kwargs.get("device")
    moves = function is torch.ops.aten._to_copy.default
    here = bool(held) if device is None else torch.device(device).type == DEVICE.type
    if held and not moves:
        strangers = [v for v in given if not isinstance(v, _Held) and v.dim()]
        copies = function is torch.ops.aten.copy_.default
        if strangers and not copies:
            raise RuntimeError("Expected all tensors to be on the same device")
    originals = {id(value.inner): value for value in held}
    args, kwargs = tree_map(lambda v: v.inner if isinstance(v, _Held) else v, (args, kwargs))
    if device is not None and here:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = function(*args, **kwargs)

    def wrapped(value):
        if not isinstance(value, torch.Tensor) or not here:
            return value
        if value.dtype == torch.float64:
            raise TypeError("Cannot convert a tensor of this device to float64")
        return originals.get(id(value)) if id(value) in originals else _Held(value)

    return tree_map(wrapped, result)


class SmallDevice(TorchDispatchMode):
    """Within it, ``DEVICE`` can be used, and refuses tensors of double precision."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})
