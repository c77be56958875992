"""The processor or the GPU that a benchmark measures: its name, its memory, its end of work."""

import ctypes
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["DEVICES", "Device", "memory_mb", "processor", "reset_peak"]


def processor() -> str:
    """Names the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def memory_mb(field: str) -> float:
    """Reads an entry of ``/proc/self/status`` such as ``VmHWM``, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise KeyError(field)


def reset_peak() -> float:
    """Sets the peak of resident memory, VmHWM, to what is held now; returns it."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_mb("VmHWM")


class Device:
    """The processor."""

    kind = "cpu"

    def missing(self) -> str:
        """Why it cannot be used here; empty if it can."""
        return ""

    def name(self) -> str:
        """What it is, in words."""
        return processor()

    def synchronize(self) -> None:
        """Waits until all that was asked of it is done."""

    def peak_mb(self, call: Callable[[], Any]) -> float:
        """The most memory that a call holds beyond what was held before."""
        ctypes.CDLL(None).malloc_trim(0)  # what was freed counts as held otherwise
        before = reset_peak()
        call()
        return memory_mb("VmHWM") - before


class CudaDevice(Device):
    """The first GPU."""

    kind = "cuda"

    def missing(self) -> str:
        """Why it cannot be used here; empty if it can."""
        import torch

        return "" if torch.cuda.is_available() else "torch finds no GPU here"

    def name(self) -> str:
        """What it is, in words."""
        import torch

        return torch.cuda.get_device_name()

    def synchronize(self) -> None:
        """Waits until all that was asked of it is done."""
        import torch

        torch.cuda.synchronize()

    def peak_mb(self, call: Callable[[], Any]) -> float:
        """The most memory of the GPU that a call holds beyond what was held before."""
        import torch

        self.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        self.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 1e6


DEVICES: dict[str, Device] = {one.kind: one for one in (Device(), CudaDevice())}
