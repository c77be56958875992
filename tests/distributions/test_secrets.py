"""What a covariance structure is made of is known in its folder alone."""

import ast
from pathlib import Path

import pytest

import pyro_ugmm

PACKAGE = Path(pyro_ugmm.__file__).parent
INSIDE = PACKAGE / "distributions" / "covariance"
STRUCTURES = {"FullCovariance", "TiedCovariance", "DiagonalCovariance", "SphericalCovariance"}
STRUCTURES |= {"LowRankCovariance"}
# The priors over each and their laws, a check of one matrix, and what is public.
KNOW_STRUCTURES = {"covariance_sites.py", "precision_law.py", "precision_sites.py"}
KNOW_STRUCTURES |= {"conjugate_prior.py", "__init__.py"}


def readings(source):
    """What code does with a covariance that only its structure may do."""
    tree = ast.parse(source)
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in STRUCTURES:
            yield node.id
        if not isinstance(node, ast.Attribute) or node in called:
            continue
        is_values = node.attr == "values" and "covariance" in ast.unparse(node.value).lower()
        if is_values or node.attr in ("values_dim", "per_component"):
            yield ast.unparse(node)


def test_nobody_else_reads_what_a_covariance_is_made_of():
    for path in PACKAGE.rglob("*.py"):
        if INSIDE not in path.parents:
            read = set(readings(path.read_text()))
            assert not read - (STRUCTURES if path.name in KNOW_STRUCTURES else set()), path


@pytest.mark.parametrize(
    "source",
    ["mixture.covariance.values", "covariance.values[0]", "a.per_component", "FullCovariance(x)"],
)
def test_a_reading_is_seen(source):
    assert list(readings(source))
