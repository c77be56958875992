"""The README's code runs, and what it names is there."""

import re

import pytest

from pyro_ugmm.diagnostics.arviz_interface import group_names

from .documents import ROOT, python_blocks, run

README = ROOT / "README.md"


@pytest.mark.skipif(not README.exists(), reason="an installed package has no README")
@pytest.mark.filterwarnings("ignore:Estimated shape")  # of a school unlike the others
def test_the_code_runs():
    blocks = (run(block, README, {}) for block in python_blocks(README))
    network, sampled, own, mixture, posterior = blocks
    assert {"posterior", "log_likelihood"} <= set(group_names(network["idata"]))
    assert sampled["idata"].posterior.sizes["chain"] == 4
    assert own["idata"].posterior["theta"].dims == ("chain", "draw", "school")
    assert mixture["result"].converged
    assert posterior["sample"].moved.n_temperatures == len(posterior["sample"].rungs)


def test_pictures_and_targets_are_there():
    text = README.read_text()
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert pictures
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert {*pictures} < {*links} and all((ROOT / link).exists() for link in links)
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z][a-z-]*)", text):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_measured_table_is_the_committed_result():
    table = (ROOT / "benchmarks/results/iris.md").read_text().strip()
    assert table in README.read_text()
