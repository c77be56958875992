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
