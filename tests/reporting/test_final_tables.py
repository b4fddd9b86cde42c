"""Confirmation, test period and verdict on the terminal: what stands there, and that it fits when it is piped."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from builders.finalists import confirmation, mostly, planted
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import LockedPeriod
from cnn_lstm_hyperopt.evaluation import BASELINES, Interval, Overfitting
from cnn_lstm_hyperopt.evaluation.selection_bias import DeflatedSharpe, TrialSeries
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.confirmation import TIME_IS_UP, Confirmed
from cnn_lstm_hyperopt.pipeline.test_evaluation import evaluate_once
from cnn_lstm_hyperopt.progress import Action, Decision
from cnn_lstm_hyperopt.reporting.console.final_tables import (
    confirmation_lines,
    confirmation_table,
    selection_lines,
    verdict_lines,
)
from cnn_lstm_hyperopt.reporting.console.final_tables import period_table as table_of
from cnn_lstm_hyperopt.reporting.console.run_console import RunConsole
from cnn_lstm_hyperopt.reporting.console.terminal import PIPED_WIDTH, Terminal


@pytest.fixture(autouse=True)
def pipe(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def dataset(apple):
    return apple()


@pytest.fixture(scope="module")
def models(dataset):
    labels = dataset.test.open().labels.numpy()
    values = np.full(len(labels), dataset.value_mean)
    first = [replace(mostly(labels, share, seed=seed), values=values) for seed, share in enumerate((0.9, 0.6))]
    return [
        planted(1, *first, confirmed=confirmation(3, 10, 0.66, 0.6, 0.62)),
        planted(12, mostly(labels, 0.5, seed=9)),
    ]


@pytest.fixture(scope="module")
def judged(models, dataset):
    """The verdict by its metric, made once each."""
    known = {}

    def judge(metric="accuracy"):
        if metric not in known:
            settings = load_settings({"study": {"metric": metric}}, environment={})
            known[metric] = evaluate_once(models, dataset, settings)
        return known[metric]

    return judge


def shown(table):
    """As it stands in a pipe, line by line; as the terminal itself makes it."""
    console = Console(file=io.StringIO(), width=PIPED_WIDTH, no_color=True)
    console.print(table)
    return console.file.getvalue().splitlines()


def rows(table):
    """Cells between runs of spaces."""
    lines = [line.strip() for line in shown(table)]
    return [[cell for cell in line.split("  ") if cell] for line in lines if line]


# ---------------------------------------------------------------------- confirmation


def confirmed(*ranked, dropped=(), ended=None):
    return Confirmed(list(ranked), list(dropped), ended)


def test_candidates_are_shown_with_the_search_s_reading_and_the_fresh_ones():
    found = confirmed(confirmation(2, 7, 0.6, 0.61, 0.59), confirmation(1, 4, 0.7, 0.5, 0.52))
    title, header, _, first, second = (" ".join(row) for row in rows(confirmation_table(found, "accuracy")))
    assert title == "Confirmed with fresh seeds: accuracy on validation"
    assert header.split() == ["rank", "trial", "in", "the", "search", "fresh", "seeds", "mean"]
    assert first.split() == ["1", "7", "0.6000", "(rank", "2)", "0.6100", "0.5900", "0.6000"]
    assert second.split() == ["2", "4", "0.7000", "(rank", "1)", "0.5000", "0.5200", "0.5100"]


def test_many_candidates_are_cut_to_ten():
    found = confirmed(*[confirmation(rank, rank, 0.7, 0.6) for rank in range(1, 31)])
    assert len([line for line in shown(confirmation_table(found, "accuracy")) if "(rank " in line]) == 10
    assert confirmation_lines(found, "accuracy")[0] == "  … and 20 more in results.json"
    few = confirmed(*[confirmation(rank, rank, 0.7, 0.6) for rank in range(1, 11)])
    assert not any("more in results.json" in line for line in confirmation_lines(few, "accuracy"))


@pytest.mark.parametrize(
    ("seeds", "cell"), [(6, "0.6500  0.6500"), (7, "7: 0.5500 to 0.6500"), (100, "100: 0.5500 to")]
)
def test_many_fresh_seeds_are_shown_by_their_range(seeds, cell):
    table = confirmation_table(confirmed(confirmation(100, 99_999, -16.1181, *[0.65] * (seeds - 1), 0.55)), "log_loss")
    text = "\n".join(shown(table))
    assert cell in text
    assert "…" not in text
    assert max(map(len, shown(table))) <= PIPED_WIDTH


def test_how_much_the_search_read_too_much_is_the_mean_over_candidates():
    """Of trial 7 it was 2 points too much, of trial 4 it was 6; those without fresh scores say nothing."""
    found = confirmed(confirmation(2, 7, 0.62, 0.61, 0.59), confirmation(1, 4, 0.7, 0.64))
    (line,) = confirmation_lines(found, "accuracy")
    assert line == (
        "The search read 4.0 points more than fresh seeds do, on average: what choosing single readings adds."
    )
    (line,) = confirmation_lines(found, "mcc")
    assert line.startswith("The search read 0.040 more than fresh seeds do")
    (line,) = confirmation_lines(confirmed(confirmation(1, 4, 0.6, 0.65)), "balanced_accuracy")
    assert line == "The search read 5.0 points less than fresh seeds do, on average."


@pytest.mark.parametrize(
    ("fresh", "expected"),
    [
        ((0.6, 0.61), "limits.retrain_seconds left time for only 2 fresh seeds each."),
        ((0.6,), "limits.retrain_seconds left time for only 1 fresh seed each."),
        ((), "limits.retrain_seconds left time for no fresh seed of each, so the search's order stands."),
    ],
)
def test_what_there_was_time_for_is_told(fresh, expected):
    found = confirmed(confirmation(1, 4, 0.7, *fresh), ended=Decision(Action.STOP, TIME_IS_UP))
    assert confirmation_lines(found, "accuracy")[-1] == expected


def test_without_fresh_scores_there_is_no_mean_and_no_line():
    found = confirmed(confirmation(1, 4, 0.7))
    assert rows(confirmation_table(found, "accuracy"))[-1][-1].strip() == "–"
    assert confirmation_lines(found, "accuracy") == []
    assert confirmation_lines(confirmed(dropped=[confirmation(1, 4, 0.7, failure="x")]), "accuracy") == []


# ---------------------------------------------------------------------- the test period


HEADERS = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "mcc": "MCC", "auc": "AUC", "log_loss": "log loss"}


@pytest.mark.parametrize("metric", METRICS)
def test_the_table_fits_a_pipe_and_names_each_number_once(judged, metric):
    verdict = judged(metric)
    lines = shown(table_of(verdict))
    text = "\n".join(lines)
    assert max(map(len, lines)) <= PIPED_WIDTH
    assert "…" not in text
    header = " ".join(lines[1:4])
    own = {"log_loss": "negative log loss"}.get(metric, metric.replace("_", " "))
    assert header.count(own) == 1
    for name, words in HEADERS.items():
        assert f" {words} " in header if name != metric else f" {words} " not in header.replace(f" {own} ", " ")
    for result in (*verdict.finalists, *verdict.baselines):
        (line,) = (line for line in lines if line.startswith(f" {result.name} "))
        assert f"{result.score:.4f} ({result.interval.low:.3f} to {result.interval.high:.3f})" in line
        if result.against_best is not None:
            assert f"{result.against_best.low:+.3f} to {result.against_best.high:+.3f}" in line


@pytest.mark.parametrize("metric", METRICS)
def test_the_longest_numbers_fit_too(judged, metric):
    verdict = judged(metric)
    wide = {"score": -0.1234, "interval": Interval(-0.456, -0.123), "against_best": Interval(-0.456, -0.123)}
    finalists = tuple(
        replace(
            each,
            name="model 1000",
            scores=replace(each.scores, mse=1.2345e-05, metrics={**each.scores.metrics, "log_loss": 12.3456}),
            **wide,
        )
        for each in verdict.finalists
    )
    baselines = tuple(replace(each, **wide) for each in verdict.baselines)
    lines = shown(table_of(replace(verdict, finalists=finalists, baselines=baselines)))
    assert max(map(len, lines)) <= PIPED_WIDTH
    assert "…" not in "".join(lines)
    assert sum("-0.1234 (-0.456 to -0.123)" in line for line in lines) == 2 + len(BASELINES)
    assert sum("1.234e-05" in line or "1.235e-05" in line for line in lines) == 2


@pytest.mark.parametrize("metric", METRICS)
def test_each_number_stands_under_its_name(judged, metric):
    verdict = judged(metric)
    everybody = (*verdict.finalists, *verdict.baselines)
    _, _, _, *columns = table_of(verdict).columns
    cells = {column.header: list(column.cells) for column in columns}
    assert list(cells) == [words for name, words in HEADERS.items() if name != metric] + ["MSE"]
    for name, words in HEADERS.items():
        if name != metric:
            assert [float(cell) for cell in cells[words]] == pytest.approx(
                [result.scores.metrics[name] for result in everybody], abs=0.0005
            )
    assert float(cells["MSE"][0]) == pytest.approx(verdict.finalists[0].scores.mse, rel=1e-3)
    assert set(cells["MSE"][1:]) == {""}


def test_the_title_tells_of_windows_and_dates(judged):
    verdict = judged()
    dates = len(np.unique(verdict.windows.dates))
    title = f"{len(verdict.windows):,} test windows of {dates:,} dates (95 % intervals)"
    assert shown(table_of(verdict))[0].strip() == title


def test_baselines_without_a_regression_and_the_best_of_them_leave_cells_empty(judged):
    verdict = judged()
    lines = shown(table_of(verdict))
    best = verdict.judgement.best_baseline
    (line,) = (line for line in lines if line.startswith(f" {best} "))
    assert "+" not in line.split(")")[1][:20]  # nothing where the others have their difference
    assert f"{verdict.finalists[0].scores.mse:.4g}" in next(line for line in lines if line.startswith(" model 1 "))


def test_what_is_not_defined_is_a_dash(models, dataset):
    """An AUC of a test period of a single class."""
    test = dataset.test.open()
    calm = replace(dataset, test=LockedPeriod(replace(test, labels=test.labels * 0)))
    verdict = evaluate_once(models, calm, load_settings({"study": {"metric": "auc"}}, environment={}))
    (line,) = (line for line in shown(table_of(verdict)) if line.startswith(" model 1 "))
    assert line.split()[2] == "–"
    text = verdict_lines(verdict, models)
    assert text[0] == "Model 1 with 2 seeds: –, –; tested above is the one best on validation."
    assert text[1] == "Its auc: 0.6600 in the search, 0.6100 confirmed, – on test."


# ---------------------------------------------------------------------- lines


def test_seeds_shrinkage_and_calibration_of_the_first_are_told(judged, models):
    verdict = judged()
    first = verdict.finalists[0]
    seeds, steps, calibration, regression = verdict_lines(verdict, models)
    one, two = first.seed_scores
    assert seeds == f"Model 1 with 2 seeds: {one:.4f}, {two:.4f}; tested above is the one best on validation."
    assert steps == f"Its accuracy: 0.6600 in the search, 0.6100 confirmed, {first.score:.4f} on test."
    error = first.scores.calibration_error
    assert calibration == (
        f"Calibration: 75.0% sure on average, right in {first.score:.1%} (expected calibration error {error:.3f})."
    )
    assert regression == f"Regression: R² against persistence {first.scores.r2_against_persistence:+.3f}."


def test_one_seed_without_confirmation_and_regression_has_its_calibration_alone(judged, models):
    other = replace(judged(), finalists=judged().finalists[1:])
    (only,) = verdict_lines(other, models[1:])
    assert only.startswith("Calibration: ")


def test_a_strategy_is_told_with_its_costs_and_what_holding_gave(models, dataset):
    settings = load_settings({"evaluation": {"cost_bps": 2.5}}, environment={})
    verdict = evaluate_once(models, replace(dataset, target="direction"), settings)
    strategy = verdict.finalists[0].strategy
    line = verdict_lines(verdict, models)[-1]
    assert line.startswith("Long when it says up, otherwise flat, 2.5 bps a trade: Sharpe ratio ")
    assert f"{strategy.model.annual_sharpe:+.2f}, 1 became {strategy.model.final_wealth:.2f}; always long: " in line
    assert f"{strategy.hold.annual_sharpe:+.2f}, 1 became {strategy.hold.final_wealth:.2f}." in line
    without_years = replace(strategy.model, dates=np.arange(len(strategy.model.dates)))
    first = replace(verdict.finalists[0], strategy=replace(strategy, model=without_years))
    line = verdict_lines(replace(verdict, finalists=(first,)), models)[-1]
    assert f"Sharpe ratio of a period {strategy.model.sharpe:+.2f}, 1 became" in line


def selected(deflated, annual=0.8, probability=0.25):
    overfitting = Overfitting(
        probability,
        1200,
        300,
        "dates",
        12870,
        0.61,
        0.57,
        None if probability else "too few trials: 2, and at least 10 are needed",
    )
    series = TrialSeries(tuple(range(1200)), (), "accuracy", overfitting, ())
    return series, DeflatedSharpe(7, 1200, 0.05, annual, deflated)


def test_what_choosing_among_all_trials_does_takes_a_line_or_two():
    overfitting, deflated = selection_lines(selected(0.42))
    assert overfitting == (
        "Probability of backtest overfitting (accuracy): 0.25 over 1,200 trials and 300 dates of validation. About 0.5: the best"
        " trial is the luckiest; near 0: trials do differ."
    )
    assert deflated == (
        "Trial 7 as a strategy on validation: Sharpe ratio +0.80; that this is more than the luck of 1,200 trials has a"
        " probability of 42% (deflated Sharpe ratio)."
    )
    assert "Sharpe ratio +0.05;" in selection_lines(selected(0.42, annual=None))[1]
    assert len(selection_lines(selected(None))) == 1


def test_where_nothing_is_known_the_reason_is_said():
    assert selection_lines(None) == []
    assert selection_lines(selected(0.42, probability=None)) == [
        "Probability of backtest overfitting: too few trials: 2, and at least 10 are needed."
    ]


# ---------------------------------------------------------------------- all of it


def test_the_verdict_ends_with_its_sentence_and_how_often_the_test_was_opened(judged, models, capsys):
    RunConsole(Terminal()).on_test(judged(), models, 1)
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[-4] == f"Verdict: {judged().judgement.grade}"
    assert lines[-3] == judged().sentence
    assert lines[-2].startswith("The other models are exploratory")
    assert lines[-1] == "The test period was opened once."
    table = [
        line for line in lines if line.startswith((" model", " majority", " persistence", " logistic", " gradient"))
    ]
    assert len(table) == 6
    assert max(map(len, table)) <= PIPED_WIDTH
    assert "\x1b" not in text


def test_a_second_opening_is_a_warning_and_a_single_model_has_no_others(judged, models, capsys):
    alone = replace(judged(), finalists=judged().finalists[:1])
    RunConsole(Terminal()).on_test(alone, models[:1], 2)
    text = capsys.readouterr().out
    assert "Warning: test set evaluated 2 times; results are no longer unbiased" in text
    assert "exploratory" not in text
    assert "opened once" not in text


@pytest.mark.parametrize("width", [70, 80, 100, 120])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_numbers(judged, width):
    verdict = judged()
    console = Console(width=width, file=io.StringIO())
    console.print(table_of(verdict, width))
    text = console.file.getvalue()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for result in verdict.finalists:
        assert (
            f"{result.scores.metrics['accuracy']:.4f} ({result.interval.low:.3f} to {result.interval.high:.3f})" in text
        )
    assert ("log loss" in text) is (width >= 100)
