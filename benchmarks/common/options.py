"""Options that several benchmarks have."""

import argparse
from pathlib import Path

from .devices import DEVICES, Device
from .paths import RESULTS

__all__ = ["add_options", "checked_device"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the device, threads, a quick run and the folder of results."""
    parser.add_argument("--device", choices=tuple(DEVICES), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test this program")
    parser.add_argument("--out", type=Path, help="a folder; by default results, or out if quick")


def checked_device(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Device:
    """Returns the device asked for, and makes the folder of results; ends if there is none."""
    device = DEVICES[options.device]
    if reason := device.missing():
        parser.error(f"--device: {reason}")
    options.out = options.out or (Path("out") if options.quick else RESULTS)
    options.out.mkdir(parents=True, exist_ok=True)
    return device
