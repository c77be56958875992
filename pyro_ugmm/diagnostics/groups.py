"""The groups of InferenceData."""

from typing import Any

from ..checks import check

__all__ = ["check_inference_data"]


def check_inference_data(idata: Any, group: str = "posterior") -> None:
    """Checks that a value is InferenceData with a group.

    Raises:
        ValueError: if it is not.
    """
    groups = idata.groups() if hasattr(idata, "groups") else ()
    got = f"groups {groups}" if groups else type(idata).__name__
    check(group in groups, "idata", f"what to_inference_data made, with a {group}", got)
