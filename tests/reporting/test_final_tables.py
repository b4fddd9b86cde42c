"""Confirmation, test set and verdict on the terminal: numbers, order and width."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from builders.finalists import confirmation
from cnn_lstm_hyperopt.config import DataSettings, load_settings
from cnn_lstm_hyperopt.evaluation import BASELINES, Interval, Overfitting
from cnn_lstm_hyperopt.evaluation.selection_bias import DeflatedSharpe, TrialSeries
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.advice import Interface
from cnn_lstm_hyperopt.pipeline.confirmation import TIME_IS_UP, Confirmed
from cnn_lstm_hyperopt.progress import Action, Decision
from cnn_lstm_hyperopt.reporting.console.final_tables import (
    confirmation_lines,
    confirmation_table,
    next_lines,
    period_table,
    selection_lines,
    verdict_lines,
)
from cnn_lstm_hyperopt.reporting.console.run_console import RunConsole
from cnn_lstm_hyperopt.reporting.console.terminal import PIPED_WIDTH, Terminal
from cnn_lstm_hyperopt.run_dir.paths import resume_command


def shown(table, width=120):
    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(table)
    return console.file.getvalue().splitlines()


def rows(table):
    return [line.split() for line in shown(table) if line.strip()]


def numbers(line):
    return [float(found) for found in re.findall(r"-?\d+\.\d+", line)]


def confirmed(*ranked, dropped=(), ended=None):
    return Confirmed(list(ranked), list(dropped), ended)


@pytest.mark.parametrize(("count", "hidden"), [(2, 0), (10, 0), (30, 20)])
def test_ten_candidates_are_shown_with_search_score_and_fresh_scores(count, hidden):
    found = confirmed(*[confirmation(None if n == 2 else n, n + 6, 0.6, 0.61, 0.59) for n in range(1, count + 1)])
    lines = rows(confirmation_table(found, "accuracy"))[-(count - hidden) :]
    fresh = ["0.6100", "0.5900", "0.6000", "0.4000"]
    ranks = range(1, count - hidden + 1)
    places = [["(off", "front)"] if n == 2 else ["(rank", f"{n})"] for n in ranks]
    assert lines == [[f"{n}", f"{n + 6}", "0.6000", *place, *fresh] for n, place in zip(ranks, places, strict=True)]
    assert any(f"and {hidden} more" in line for line in confirmation_lines(found, "accuracy")) is bool(hidden)


@pytest.mark.parametrize(("seeds", "cell"), [(3, "0.6500  0.5500"), (4, "4: 0.5500 to 0.6500"), (100, "100: 0.5500")])
def test_many_fresh_seeds_are_shown_by_their_range(seeds, cell):
    table = confirmation_table(confirmed(confirmation(100, 99_999, -16.1181, *[0.65] * (seeds - 1), 0.55)), "log_loss")
    text = "\n".join(shown(table, PIPED_WIDTH))
    assert cell in text
    assert "…" not in text


TWO = [(2, 7, 0.62, 0.61, 0.59), (1, 4, 0.7, 0.64)]


@pytest.mark.parametrize(
    ("metric", "candidates", "gap"),
    [
        ("accuracy", TWO, "4.0 points above"),
        ("mcc", TWO, "0.040 above"),
        ("balanced_accuracy", [(1, 4, 0.6, 0.65)], "5.0 points below"),
        ("accuracy", [(1, 4, 0.6, 0.6)], "equal to"),
    ],
)
def test_selection_noise_is_the_mean_over_candidates(metric, candidates, gap):
    (line,) = confirmation_lines(confirmed(*[confirmation(*each) for each in candidates]), metric)
    assert gap in line


@pytest.mark.parametrize(("fresh", "seeds"), [((0.6, 0.61), "2 new seeds"), ((0.6,), "1 new seed "), ((), "no ")])
def test_a_time_limit_is_named_with_the_seeds_it_left_time_for(fresh, seeds):
    found = confirmed(confirmation(1, 4, 0.7, *fresh), ended=Decision(Action.STOP, TIME_IS_UP))
    line = confirmation_lines(found, "accuracy")[-1]
    assert line.startswith("limits.retrain_seconds")
    assert seeds in line
    if not fresh:  # there is no mean, and nothing else to say
        assert rows(confirmation_table(found, "accuracy"))[-1][-1] == "–"
        dropped = [confirmation(1, 4, 0.7, failure="x")]
        assert confirmation_lines(replace(found, ended=None, dropped=dropped), "accuracy") == []


HEADERS = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "mcc": "MCC", "auc": "AUC", "log_loss": "log loss"}


@pytest.mark.mostly_slow(8)
@pytest.mark.parametrize("width", [70, 80, 100, 120])
@pytest.mark.parametrize("metric", METRICS)
def test_the_table_fits_and_its_numbers_are_whole(judged, metric, width):
    verdict = judged(metric)
    lines = shown(period_table(verdict, width), width)
    text = "\n".join(lines)
    assert "…" not in text
    assert max(map(len, lines)) <= width
    assert {f"{len(verdict.windows):,}", str(len(np.unique(verdict.windows.dates)))} <= set(lines[0].split())
    header = " ".join(lines[1:4])
    assert header.count(METRICS[metric].label) == 1
    assert ("MSE" in header) is (width == 120)
    for result in (*verdict.finalists, *verdict.baselines):
        (line,) = (line for line in lines if line.startswith(f" {result.name} "))
        found = numbers(line)
        sign = -1 if metric == "log_loss" else 1
        assert found[:3] == pytest.approx(
            [sign * result.score, *(sign * end for end in result.interval[::sign])], abs=0.0006
        )
        if result.against_best is None:  # the best baseline has no difference
            assert "+" not in line.split(")")[1][:20]
        else:
            assert found[3:5] == pytest.approx(list(result.against_best), abs=0.0006)


@pytest.mark.parametrize("metric", METRICS)
def test_each_number_is_in_its_column_and_the_longest_fit(judged, metric):
    verdict = judged(metric)
    results = (*verdict.finalists, *verdict.baselines)
    cells = {column.header: list(column.cells) for column in period_table(verdict).columns[3:]}
    assert list(cells) == [words for name, words in HEADERS.items() if name != metric] + ["MSE"]
    for name, words in HEADERS.items():
        if name != metric:
            expected = [result.scores.metrics[name] for result in results]
            assert [float(cell) for cell in cells[words]] == pytest.approx(expected, abs=0.0005)
    for result, cell in zip(results, cells["MSE"], strict=True):
        assert cell == "" if result.scores.mse is None else float(cell) == pytest.approx(result.scores.mse, rel=1e-3)

    interval = Interval(-0.456, -0.123)
    wide = {"intervals": dict.fromkeys(METRICS, interval), "against_best": interval}
    finalists = []
    for each in verdict.finalists:
        metrics = {**each.scores.metrics, "log_loss": 12.3456, metric: -0.1234}
        scores = replace(each.scores, mse=1.2345e-05, metrics=metrics)
        finalists.append(replace(each, name="model 1000", scores=scores, **wide))
    baselines = tuple(replace(each, **wide) for each in verdict.baselines)
    text = "\n".join(shown(period_table(replace(verdict, finalists=tuple(finalists), baselines=baselines))))
    assert "…" not in text
    shown_interval = "0.123 to 0.456" if metric == "log_loss" else "-0.456 to -0.123"
    assert text.count(f"-0.1234 ({shown_interval})") == 2
    assert len(re.findall(rf"\({shown_interval}\) +-0\.456 to -0\.123", text)) == 2 + len(BASELINES)
    assert len(re.findall(r"1\.23[45]e-05", text)) == 2


def test_an_undefined_score_is_a_dash(models, judged, tested):
    """The AUC of a test set of one class."""
    verdict = judged("auc", labels=tested.test.open().labels * 0)
    (line,) = (line for line in shown(period_table(verdict)) if line.startswith(" model 1 "))
    assert line.split()[2] == "–"
    _, seeds, steps, *_ = verdict_lines(verdict, models)
    assert seeds.count("–") == 3
    assert (numbers(steps), steps.count("–")) == ([0.66, 0.61], 1)


def test_seeds_steps_calibration_regression_and_strategy_of_the_first_model(judged, models):
    verdict = judged()
    first, second = verdict.finalists
    trial, *lines = verdict_lines(verdict, models)
    assert all(part in trial for part in ("trial 10", "rank 3"))
    found = list(map(numbers, lines))
    assert found[0] == pytest.approx(list(first.seed_scores), abs=5e-5)
    assert found[1] == pytest.approx([0.66, 0.61, first.score], abs=5e-5)
    confidence = 100 * first.predictions.probabilities.max(axis=1).mean()
    assert found[2] == pytest.approx(
        [confidence, 100 * first.score, first.scores.calibration_error, first.scaling.calibration_error[0]], abs=0.05
    )
    r2 = first.scores.r2
    others = [value for name, value in r2.against.items() if name != r2.reference]
    assert found[3] == pytest.approx([r2.value, *r2.interval, *others], abs=5e-4)
    strategy = first.strategy
    kept = [number for each in (strategy.model, strategy.hold) for number in (each.annual_sharpe, each.final_wealth)]
    assert found[4] == pytest.approx([2.5, *kept], abs=0.0051)
    excess = strategy.excess
    timing = [100 * each for each in (excess.annual_return, *excess.annual_interval)]
    assert found[5] == pytest.approx(timing, abs=0.0051)
    without_years = replace(strategy.model, dates=np.arange(len(strategy.model.dates)))
    first = replace(first, strategy=replace(strategy, model=without_years))
    line = verdict_lines(replace(verdict, finalists=(first,)), models)[-2]
    assert numbers(line)[1] == pytest.approx(strategy.model.sharpe, abs=0.0051)
    other = replace(verdict, finalists=(replace(second, strategy=None),))  # one seed, no confirmation, no regression
    assert len(verdict_lines(other, models[1:])) == 1


def selected(deflated, annual=0.8, probability=0.25, why=None):
    overfitting = Overfitting(probability, 1200, 300, "dates", 12870, 0.61, 0.57, why)
    sharpe = DeflatedSharpe(7, 1200, 0.05, annual, deflated, 0.5, 0.02, 0.3)
    return selection_lines((TrialSeries(tuple(range(1200)), (), "accuracy", overfitting, ()), sharpe))


def test_overfitting_and_deflated_sharpe_ratio_take_a_line_each():
    overfitting, deflated = selected(0.42)
    assert all(part in overfitting for part in ("0.25", "accuracy", "1,200 trials", "300 dates"))
    assert all(part in deflated for part in ("Trial 7", "+0.80", "42%", "1,200 trials"))
    assert "+0.05" in selected(0.42, annual=None)[1]
    assert len(selected(None)) == 1
    assert selection_lines(None) == []
    assert ["too few" in line for line in selected(0.42, probability=None, why="too few trials")] == [True]


@pytest.mark.parametrize("openings", [1, 2])
def test_the_verdict_comes_after_everything_else_also_after_an_error(judged, models, capsys, tmp_path, openings):
    console = RunConsole(Terminal())
    console.on_settings(load_settings({}, environment={}))
    console.on_test(judged(), models, openings)
    text = capsys.readouterr().out
    assert judged().sentence not in text
    assert ("Warning: " in text) is (openings == 2)
    assert str(openings) in text.splitlines()[-1] or openings == 1
    console.on_run_end(tmp_path, {"retrained_models": [{"model_rank": 1}], "ensemble": None})
    console.on_finished()
    _, grade, sentence, *following = capsys.readouterr().out.splitlines()
    assert grade.endswith(f": {judged().judgement.grade}")
    assert sentence == judged().sentence
    assert following[0].startswith("Next: ")
    console.on_test(judged(), models[:1], 1)
    console.on_study_end(OSError())
    assert capsys.readouterr().out.splitlines()[-1] == judged().sentence


PREDICT = "cnn_lstm_hyperopt.load_model('{model}').predict"


@pytest.mark.parametrize(
    ("interface", "n_models", "missing", "report", "last"),
    [
        (Interface.COMMAND_LINE, 0, 3, True, "{resume}"),
        (Interface.COMMAND_LINE, 0, 0, True, "{resume} --retrain-best"),
        (Interface.COMMAND_LINE, 1, 0, True, "cnn-lstm-hyperopt predict --model {model} --data-dir {bars} --last"),
        (Interface.PYTHON, 0, 3, False, "optimizer.optimize()"),
        (Interface.PYTHON, 0, 0, False, "optimizer.retrain_best_models()"),
        (Interface.PYTHON, 1, 0, False, f"{PREDICT}(bars)"),
        (Interface.LOADERS, 1, 0, True, f"{PREDICT}(windows)"),
    ],
)
def test_the_next_command_fits_the_state_and_the_user(tmp_path, interface, n_models, missing, report, last):
    if report:
        (tmp_path / "report.html").touch()
    data, results = DataSettings(source="files", data_dir="bars"), {"retrained_models": n_models * [{"model_rank": 1}]}
    lines = next_lines(tmp_path, results, data, missing, interface)
    paths = {"model": tmp_path / "retrained_model_1", "bars": Path("bars").absolute()}
    expected = last.format(resume=resume_command(tmp_path), **paths)
    assert lines[-1].removeprefix("Next: ").strip() == expected
    assert (str(tmp_path / "report.html") in lines[0]) is (report and bool(n_models))
    verdict = {"grade": "as good as the best simple baseline", "preferred_baseline": "persistence"}
    advice, *following = next_lines(tmp_path, {**results, "verdict": verdict}, data, missing, interface)
    if missing or n_models:
        assert all(part in advice for part in ("persistence", "cheaper", verdict["grade"]))
        assert following[-1].strip().endswith(expected)
