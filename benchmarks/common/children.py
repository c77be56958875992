"""A measurement in a process of its own, which may be killed, hang or run over."""

import json
import os
import resource
import signal
import subprocess
import sys
from typing import Any

from .paths import ROOT

__all__ = ["run_child"]


def _environment(threads: int, device: str) -> dict[str, str]:
    """Gives every library the same number of threads; they read this when they are imported."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")
    environment = {f"{name}_NUM_THREADS": str(threads) for name in names}
    environment |= {
        "PJRT_NPROC": str(threads),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={threads}",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_PLATFORMS": "cpu" if device == "cpu" else "cuda,cpu",
    }
    return {**os.environ, **environment}


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_child(module: str, spec: dict[str, Any], threads: int, patience: float) -> dict[str, Any]:
    """Runs a module with a specification and returns what it reported, with a failure in words.

    What it reports are lines of JSON, so that what was found before a time limit is kept.
    """
    command = [sys.executable, "-W", "ignore", "-m", module, json.dumps(spec)]
    status, found, busy = 0, {}, _children_seconds()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=_environment(threads, spec["device"]),
            capture_output=True,
            text=True,
            timeout=patience,
        )
        status, output, errors = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as expired:
        status, output, errors = -signal.SIGALRM, (expired.stdout or b"").decode(), ""
    for line in output.splitlines():
        if line.startswith("{") and line.endswith("}"):
            found |= json.loads(line)
    stage = found.pop("stage", "starting")
    if status == -signal.SIGALRM:
        found |= {"over": stage, "busy_seconds": _children_seconds() - busy}
    elif status == -signal.SIGKILL:
        found["failure"] = f"killed while {stage}, probably for want of memory"
    elif status < 0:
        found["failure"] = f"ended by {signal.Signals(-status).name} while {stage}"
    elif status:
        last = errors.strip().splitlines()[-1:] or [f"exit status {status}"]
        found["failure"] = f"while {stage}: {last[0]}"
    return found
