"""Figures: calibration bins, the forecast of more trials, ticks of the pictures."""

import itertools
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from builders.studies import searched
from cnn_lstm_hyperopt.evaluation import Grade
from cnn_lstm_hyperopt.reporting.html.chart_style import log_ticks
from cnn_lstm_hyperopt.reporting.html.charts import MIN_WINDOWS, calibration_rows, front
from cnn_lstm_hyperopt.reporting.html.convergence import MORE, outlook
from cnn_lstm_hyperopt.reporting.html.pictures import PICTURES
from cnn_lstm_hyperopt.reporting.html.study_files import read_content
from cnn_lstm_hyperopt.reporting.html.trial_table import TrialTable
from cnn_lstm_hyperopt.search import Milestone


def row(n, right, confidence=0.55):
    return {"low": 0.5, "high": 0.6, "n": n, "confidence": confidence, "right": right}


@pytest.mark.parametrize("earlier", [False, True])
def test_the_ensemble_is_a_point_of_the_front_chart(tmp_path, earlier):
    entry = {"members": [{}, {}], "test_metrics": {}, "validation_score": 0.625, "training_time": 40.0, "size_mb": 0.5}
    for key in ("training_time", "size_mb") if earlier else ():
        del entry[key]
    table = TrialTable(read_content(searched(tmp_path / "study", 6, ensemble=entry)))
    points = {trace.name: trace for trace in front(table).data}
    assert ("ensemble, tested" in points) != earlier
    if not earlier:
        point = points["ensemble, tested"]
        assert (list(point.x), list(point.y), point.customdata) == ([40.0], [0.625], None)
        assert all(part in point.hovertext[0] for part in ("2 members", "40 s", "0.5 MB"))


def test_a_bin_of_few_windows_is_not_connected():
    found = calibration_rows([row(MIN_WINDOWS, 0.6), row(MIN_WINDOWS - 1, 0.6), row(0, 0.0)])
    assert (found.n >= MIN_WINDOWS).tolist() == [True, False]


def test_intervals_are_those_of_wilson_and_stay_in_range():
    """Wilson 1927 with 8 of 10: the figures of Brown, Cai & DasGupta 2001, eq. 4."""
    found = calibration_rows([row(10, 0.8)]).iloc[0]
    assert (found["low"], found["high"]) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    for n, right in itertools.product((1, 7, 10_000), (0.0, 1.0)):
        found = calibration_rows([row(n, right)]).iloc[0]
        assert 0 <= found["low"] <= right <= found["high"] <= 1


def test_growth_by_the_logarithm_goes_on_by_the_logarithm():
    history = [Milestone(n, 0.0, 1 + 0.1 * math.log2(n)) for n in range(1, 401)]
    found = outlook(history, 400)
    assert found.last_doubling == pytest.approx(0.1 / history[-1].hypervolume)
    truth = 0.1 * math.log2(500 / 400)
    assert found.expected == pytest.approx(truth / history[-1].hypervolume)


def test_only_a_search_that_still_rises_is_worth_more():
    found = outlook([Milestone(3, 0.0, 0.5), Milestone(40, 0.0, 0.8)], 100)
    assert (found.expected, found.worth_it) == (0, False)
    assert outlook([Milestone(3, 0.0, 0.5), Milestone(90, 0.0, 0.8)], 100).worth_it
    assert outlook([Milestone(3, 0.0, 0.5), Milestone(90, 0.0, 0.8)], 100).sentence(None).startswith("Probably worth")
    for grade in set(Grade) - {Grade.BETTER}:  # the test has precedence over the hypervolume
        text = outlook([Milestone(3, 0.0, 0.5), Milestone(90, 0.0, 0.8)], 100).sentence(grade)
        assert text.startswith(f"Probably not worth it: model 1 is {grade}.")
    for history, trials in (([], 100), ([Milestone(1, 0.0, 0.4)], 19), ([Milestone(1, 0.0, 0.0)], 100)):
        assert outlook(history, trials) is None


def test_the_best_of_random_draws_grows_as_foretold():
    """Exponential draws: the best of n grows by ln 2 a doubling, so the forecast is right on average."""
    generator = np.random.default_rng(0)
    n, errors = 200, []
    for _ in range(400):
        draws = generator.exponential(size=n + MORE)
        best = np.maximum.accumulate(draws)
        history = [Milestone(k + 1, 0.0, float(best[k])) for k in range(n) if k == 0 or best[k] > best[k - 1]]
        errors.append(outlook(history, n).expected * best[n - 1] - (best[-1] - best[n - 1]))
    assert abs(np.mean(errors)) < 0.1


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 120, [1, 2, 5, 10, 20, 50, 100]),
        (1e-5, 0.1, [1e-5, 1e-4, 1e-3, 1e-2, 0.1]),
        (5, 2000, [10, 30, 100, 300, 1000]),
        (0.08, 0.13, [0.08, 0.09, 0.1, 0.11, 0.12, 0.13]),
        *[(*ends, None) for ends in [(1e-9, 1e12), (1, 1.5), (0.3, 30_000), (2, 3), (7, 8)]],
    ],
)
def test_log_ticks_are_few_round_numbers_within(low, high, ticks):
    found = log_ticks(low, high)
    assert ticks is None or found == pytest.approx(ticks)
    assert 2 <= len(found) <= 8
    assert low * 0.999 <= found[0]
    assert found[-1] <= high * 1.001
    assert all(a < b for a, b in itertools.pairwise(found))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return TrialTable(read_content(searched(tmp_path_factory.mktemp("figures") / "study", 40, pruner="none")))


@pytest.mark.parametrize("name", ["pareto_front", "model_size", "importance"])
def test_every_tick_of_a_log_axis_shows_its_whole_value_and_bars_have_room(table, name):
    figure = Figure(figsize=(7, 4.3), layout="constrained")
    assert PICTURES[name](table, figure)
    figure.canvas.draw()
    axes = figure.axes[0]
    low, high = axes.get_xlim()
    if name == "importance":
        widths = [bar.get_width() for bar in axes.patches]
        assert sorted(f"{width:.0%}" for width in widths) == sorted(text.get_text() for text in axes.texts)
        assert high > max(widths)
        return
    labels = [label.get_text() for label in axes.get_xticklabels(minor=False)]
    assert len(labels) >= 2
    assert [float(label) for label in labels] == pytest.approx(axes.get_xticks())
    assert all(low <= tick <= high for tick in axes.get_xticks())
    assert len(axes.get_xticks(minor=True)) == 0
