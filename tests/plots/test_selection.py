import math
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from pyro_ugmm.plots import plot_selection


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def row(n_components, structure, bic, unsound=()):
    return SimpleNamespace(n_components=n_components, structure=structure, bic=bic, unsound=unsound)


def test_a_line_a_structure_and_the_best_marked():
    table = [row(2, "full", 9.0), row(1, "full", 12.0), row(1, "tied", 11.0)]
    ax = plot_selection(SimpleNamespace(table=table, best=table[0], criterion="bic"))
    full, tied, best = ax.lines
    assert ([*full.get_xdata()], [*full.get_ydata()]) == ([1, 2], [12.0, 9.0])
    assert ([*tied.get_xdata()], [*tied.get_ydata()]) == ([1], [11.0])
    assert ([*best.get_xdata()], [*best.get_ydata()]) == ([2], [9.0])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["full", "tied", "best"]


def test_what_is_unsound_is_hollow():
    table = [row(1, "full", 12.0), row(2, "full", -90.0, ("collapsed",))]
    ax = plot_selection(SimpleNamespace(table=table, best=table[0], criterion="bic"))
    hollow = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert [*hollow[0].get_xdata()] == [2]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["full", "collapsed or singular", "best"]


def test_what_is_no_selection_is_refused():
    with pytest.raises(ValueError, match="selection: expected what select returned, got int"):
        plot_selection(3)


def test_one_structure_far_behind_leaves_the_others_to_be_seen():
    table = [row(k, "full", 7000.0 - 50 * k) for k in (1, 2, 3)]
    table += [row(k, "spherical", 25000.0 - 900 * k) for k in (1, 2, 3)]
    ax = plot_selection(SimpleNamespace(table=table, best=table[2], criterion="bic"))
    assert ax.get_ylim()[1] < 7200 and ax.get_ylabel() == "BIC (lower is better)"
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["full", "spherical (far behind)", "best"]
    close = [*table[:3], *(row(k, "tied", 7100.0 - 50 * k) for k in (1, 2, 3))]
    ax = plot_selection(SimpleNamespace(table=close, best=close[2], criterion="bic"))
    assert "tied" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_an_unsound_fit_far_below_does_not_set_the_axis():
    table = [row(1, "full", 12.0), row(2, "full", 9.0), row(3, "full", -1e5, ("collapsed",))]
    ax = plot_selection(SimpleNamespace(table=table, best=table[1], criterion="bic"))
    assert ax.get_ylim()[0] > 0
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "collapsed or singular (some far below)" in labels


def test_the_evidence_is_in_nats_with_its_errors():
    table = [row(k, "full", 0.0) for k in (1, 2, 3)]
    for k, one in enumerate(table):
        one.evidence = [600.0, 580.0, math.inf][k]
        one.sample = SimpleNamespace(log_evidence_error=0.5)
    ax = plot_selection(SimpleNamespace(table=table, best=table[1], criterion="evidence"))
    assert ax.get_ylabel() == "log evidence (nats, higher is better)"
    assert [*ax.lines[0].get_ydata()[:2]] == [-300.0, -290.0]
    (errors,) = ax.collections
    assert [*errors.get_segments()[1][:, 1]] == [-291.0, -289.0]
