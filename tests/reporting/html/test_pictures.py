"""The pictures for papers: ticks that can be read, bars with their values."""

import itertools

import pytest
from matplotlib.figure import Figure

from builders.studies import searched
from cnn_lstm_hyperopt.reporting.html.chart_style import log_ticks
from cnn_lstm_hyperopt.reporting.html.pictures import PICTURES
from cnn_lstm_hyperopt.reporting.html.study_files import read_content
from cnn_lstm_hyperopt.reporting.html.trial_table import TrialTable


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 120, [1, 2, 5, 10, 20, 50, 100]),
        (1e-5, 0.1, [1e-5, 1e-4, 1e-3, 1e-2, 0.1]),
        (5, 2000, [10, 30, 100, 300, 1000]),
        (0.08, 0.13, [0.08, 0.09, 0.1, 0.11, 0.12, 0.13]),
    ],
)
def test_log_ticks_are_round_numbers(low, high, ticks):
    assert log_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(("low", "high"), [(1e-9, 1e12), (1, 1.5), (0.3, 30_000), (2, 3), (7, 8)])
def test_log_ticks_are_few_and_within(low, high):
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert low * 0.999 <= ticks[0]
    assert ticks[-1] <= high * 1.001
    assert all(a < b for a, b in itertools.pairwise(ticks))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return TrialTable(read_content(searched(tmp_path_factory.mktemp("figures") / "study", 40, pruner="none")))


@pytest.mark.parametrize("name", ["pareto_front", "model_size"])
def test_every_tick_of_a_log_axis_shows_its_whole_value(table, name):
    """Before, minor ticks had no label and a range within a decade had none at all."""
    figure = Figure(figsize=(7, 4.3), layout="constrained")
    assert PICTURES[name](table, figure)
    figure.canvas.draw()
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    labels = [label.get_text() for label in axes.get_xticklabels(minor=False)]
    assert len(labels) >= 2
    assert [float(label) for label in labels] == pytest.approx(axes.get_xticks())
    assert all(low <= tick <= high for tick in axes.get_xticks())
    assert len(axes.get_xticks(minor=True)) == 0


def test_importance_bars_have_their_values_and_room(table):
    figure = Figure(figsize=(7, 4.3), layout="constrained")
    assert PICTURES["importance"](table, figure)
    axes = figure.axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    assert sorted(f"{width:.0%}" for width in widths) == sorted(text.get_text() for text in axes.texts)
    assert axes.get_xlim()[1] > max(widths)
