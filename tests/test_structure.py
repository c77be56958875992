"""The house: one-way floors, no circles, no private names across files, small pieces."""

import ast
import re

import pytest

from .source_code import Module, cycles, modules

PACKAGE = modules("pyro_ugmm")
TESTS = modules("tests")
NAMES = set(PACKAGE)
IMPORTS = [one for module in PACKAGE.values() for one in module.imports(NAMES)]

FLOORS = [
    {"sources"},
    {"distributions"},
    {"nn", "em"},
    {"programs"},
    {"models"},
    {"optimization", "curvature", "trainable"},
    {"guides", "first_run"},
    {"ensemble"},
    {"training", "sampling", "saving"},
    {"diagnostics"},
    {"plots"},
    {"demo"},
]
"""From below to above; what is not named stands under all of them."""

DEFERRED = {
    "pyro_ugmm.em.selection -> pyro_ugmm.plots.selection",
    "pyro_ugmm.em.selection -> pyro_ugmm.sampling",
    "pyro_ugmm.em.variational.result -> pyro_ugmm.guides",
    "pyro_ugmm.sampling.evidence -> pyro_ugmm.plots.evidence",
}
"""What runs the other way, within a function: results draw themselves, EM's ``select`` takes a
criterion by name that samples posteriors, and variational EM's posterior is a guide.
"""


def floor_of(name: str) -> int:
    part = name.removeprefix("pyro_ugmm").removeprefix(".").split(".")[0]
    return next((i for i, parts in enumerate(FLOORS) if part in parts), -1)


def part_of(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


def test_imports_run_one_way():
    """Including those within functions, and those that only type checkers read."""
    wrong = {
        f"{one.module} -> {one.target}"
        for one in IMPORTS
        if one.module != "pyro_ugmm"
        if floor_of(one.target) > floor_of(one.module)
        or {part_of(one.module), part_of(one.target)} == {"nn", "em"}
    }
    assert wrong == DEFERRED


def test_no_circle_of_imports():
    """What is said of types, or loaded when it is first used, goes one way, too.

    But for what is deferred.
    """
    edges = {name: set() for name in NAMES}
    for one in IMPORTS:
        if one.module != "pyro_ugmm" and f"{one.module} -> {one.target}" not in DEFERRED:
            edges[one.module].add(one.target)
    assert not cycles(edges)


def test_no_private_name_is_imported():
    wrong = [
        f"{one.module}: {one.target}.{one.name}"
        for one in IMPORTS
        if one.name.startswith("_") and not one.name.startswith("__")
    ]
    assert not wrong


@pytest.mark.parametrize("name", sorted(NAMES))
def test_pieces_are_small(name):
    module = PACKAGE[name]
    assert module.n_lines <= 400
    too_long = {of: length for of, length in module.classes() if length > 200}
    assert not too_long


def _test_imports(module: Module) -> list[str]:
    return [
        node.module or ""
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        if (node.module or "").split(".")[-1].startswith("test_")
    ]


@pytest.mark.parametrize("name", sorted(TESTS))
def test_tests_import_no_tests(name):
    assert not _test_imports(TESTS[name])
    wrong = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(TESTS[name].tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyro_ugmm")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert not wrong


PRIVATE = re.compile(r"pyro_ugmm[\w.]*\._[A-Za-z]\w*")


@pytest.mark.parametrize("name", sorted(TESTS))
def test_tests_know_no_private_names(name):
    """Nor replace them: what a test has to reach is public within the package."""
    texts = [node.value for node in ast.walk(TESTS[name].tree) if isinstance(node, ast.Constant)]
    named = [text for text in texts if isinstance(text, str) and PRIVATE.fullmatch(text)]
    assert not named
