"""Which log-likelihoods are those of the rows to leave out."""

from typing import TYPE_CHECKING

from ..checks import check
from .arviz_interface import with_log_likelihood

if TYPE_CHECKING:
    from .arviz_interface import InferenceData

__all__ = ["IN_A_PLATE", "with_one_likelihood"]

IN_A_PLATE = (
    "in one vectorized plate (with pyro.plate(...):, not for i in pyro.plate(...)), with the "
    "discrete sites that it depends on"
)
"""Where observed sites are of rows that can be left out."""


def with_one_likelihood(idata: "InferenceData", var_name: str | None = None) -> "InferenceData":
    """Returns draws with one log-likelihood: of a site, or of all that share their plates.

    What several observed sites say of a row is left out together.

    Raises:
        ValueError: if there are rows in several plates and no name says which, or in none.
    """
    terms = {str(name): term for name, term in idata.log_likelihood.data_vars.items()}
    known = {name: [*term.dims[2:]] for name, term in terms.items()}
    if var_name is not None:
        check(var_name in known, "var_name", f"an observed site among {[*known]}", var_name)
        known = {var_name: known[var_name]}
    of_rows = {name: dims for name, dims in known.items() if dims}
    expected = f"the log-likelihood of rows, from an observed site {IN_A_PLATE}"
    check(of_rows, "idata", expected, f"{[*known]} of all data at once")
    plates = {frozenset(dims) for dims in of_rows.values()}
    expected = f"one of {[*of_rows]}, as their rows are in different plates"
    check(len(plates) == 1, "var_name", expected, f"None, and plates {of_rows}")
    if len(terms) == 1:
        return idata
    total = sum(terms[name] for name in of_rows)
    return with_log_likelihood(idata, " + ".join(of_rows), total)
