"""The tests under the versions of Python and ArviZ that are supported; nox has each Python found.

``nox`` runs all, ``nox -s "tests(python='3.13', arviz='1')"`` one; what follows ``--`` goes to
pytest. ``PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu`` brings torch without CUDA.
"""

import nox

nox.options.error_on_missing_interpreters = False
_ARVIZ = {"0.23": "arviz>=0.23,<1", "1": "arviz>=1,<2"}
_VERSIONS = [("3.11", "0.23"), ("3.12", "0.23"), ("3.12", "1"), ("3.13", "0.23"), ("3.13", "1")]


@nox.session
@nox.parametrize(("python", "arviz"), _VERSIONS)
def tests(session: nox.Session, arviz: str) -> None:
    """All tests, with the newest of everything else."""
    session.install("torch")
    session.install("--editable", ".[test]", _ARVIZ[arviz])
    arguments = session.posargs or ["-n", "auto", "--dist", "worksteal"]
    session.run("python", "-m", "pytest", *arguments)
