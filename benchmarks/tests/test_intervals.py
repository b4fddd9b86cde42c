"""Intervals of benchmarks/intervals.py cover the truth in about 95 % of cases and never leave their range."""

import pytest

import chance
import intervals


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sorted", "shuffled", "grouped", "serial"])
@pytest.mark.parametrize("windows", [40, 200, 1000])
def test_intervals_cover_the_truth_on_all_kinds_of_test_sets(kind, windows):
    """200 pairs of models for each of six pairs of accuracies and classes: a standard error of 0.6 points."""
    settings = [each for each in intervals.settings() if (each.kind, each.windows) == (kind, windows)]
    measured = [intervals.measure(each, 200, 1) for each in settings]
    assert len(measured) == 6
    for which in (0, 1):  # the accuracy, and the difference to the baseline
        found = [each[which] for each in measured]
        assert 0.92 <= sum(each.covered for each in found) / sum(each.pairs for each in found) <= 0.98
        assert all(each.covered / each.pairs >= 0.88 for each in found)
        assert sum(each.outside for each in found) == 0


def test_simulated_models_have_the_requested_accuracies():
    for kind in intervals.KINDS:
        setting = intervals.Setting(kind, 20_000, (0.97, 0.8), 0.2)
        labels, models, dependence = intervals.simulate(setting, intervals.stream(0, 0, kind))
        assert dependence.kind == {"grouped": "groups", "serial": "dates"}.get(kind, "windows")
        for predictions, accuracy in zip(models, setting.accuracies, strict=True):
            assert (predictions.argmax(axis=1) == labels).mean() == pytest.approx(accuracy, abs=0.02)
        assert labels.mean() == pytest.approx(0.2, abs=0.02)


def test_the_table_has_a_row_for_each_setting(monkeypatch, capsys):
    monkeypatch.setattr(intervals, "SIZES", (40,))
    monkeypatch.setattr("sys.argv", ["intervals.py", "--pairs", "3"])
    assert intervals.main() == 0
    assert sum(line.startswith("| ") for line in capsys.readouterr().out.splitlines()) == 1 + 4 * 6


@pytest.mark.parametrize(("knowledge", "low", "high"), [(0.0, 0, 4), (0.3, 30, 40)])
def test_the_skill_test_recognises_a_little_knowledge(knowledge, low, high):
    """40 runs of two settings of benchmarks/chance.py, by the verdict's rule."""
    setting = chance.Setting(480, 5, 0.9, 0.9, knowledge)
    assert low <= sum(chance.simulated(setting, chance.stream(0, run, "test"))[0] for run in range(40)) <= high
