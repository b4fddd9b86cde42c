"""What benchmarks/intervals.py measures: intervals cover the truth in about 95 % of cases and never leave their range."""

import sys
from importlib import util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    spec = util.spec_from_file_location("intervals_benchmark", BENCHMARKS / "intervals.py")
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sorted", "shuffled", "grouped", "serial"])
@pytest.mark.parametrize("windows", [40, 200, 1000])
def test_intervals_cover_the_truth_on_all_kinds_of_test_sets(benchmark, kind, windows):
    """200 pairs of models for each of six pairs of accuracies and classes: a standard error of 0.6 points."""
    settings = [each for each in benchmark.settings() if (each.kind, each.windows) == (kind, windows)]
    measured = [benchmark.measure(each, 200, 1) for each in settings]
    assert len(measured) == 6
    for which in (0, 1):  # the accuracy, and the difference to the baseline's
        found = [each[which] for each in measured]
        assert 0.92 <= sum(each.covered for each in found) / sum(each.pairs for each in found) <= 0.98
        assert all(each.covered / each.pairs >= 0.88 for each in found)
        assert sum(each.outside for each in found) == 0


def test_accuracies_are_those_that_are_said(benchmark):
    """On average over many windows, whatever depends on each other."""
    for kind in benchmark.KINDS:
        setting = benchmark.Setting(kind, 20_000, (0.97, 0.8), 0.2)
        labels, models, dependence = benchmark.simulate(setting, benchmark.stream(0, 0, kind))
        assert dependence.kind == {"grouped": "groups", "serial": "dates"}.get(kind, "windows")
        for said, accuracy in zip(models, setting.accuracies, strict=True):
            assert (said.argmax(axis=1) == labels).mean() == pytest.approx(accuracy, abs=0.02)
        assert labels.mean() == pytest.approx(0.2, abs=0.02)


def test_the_table_is_printed(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "SIZES", (40,))
    monkeypatch.setattr(sys, "argv", ["intervals.py", "--pairs", "3"])
    assert benchmark.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == 1 + 4 * 6
    assert lines[-1] == "0 intervals left their range"


def test_a_little_knowledge_is_recognised_and_none_is_not(monkeypatch):
    """40 runs of two settings of benchmarks/chance.py, by the verdict's rule."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = util.spec_from_file_location("chance_benchmark", BENCHMARKS / "chance.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    without, little = module.Setting(480, 5, 0.9, 0.9, 0.0), module.Setting(480, 5, 0.9, 0.9, 0.3)
    for setting, low, high in ((without, 0, 4), (little, 30, 40)):
        found = [module.simulated(setting, module.stream(0, run, "test"))[0] for run in range(40)]
        assert low <= sum(found) <= high
