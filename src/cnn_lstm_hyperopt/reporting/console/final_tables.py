"""Terminal output after the search: results of the confirmation, results on the test set, verdict and next command."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.evaluation import Interval, level_text, overfitting_meaning
from cnn_lstm_hyperopt.evaluation.selection_bias import DeflatedSharpe, TrialSeries
from cnn_lstm_hyperopt.evaluation.strategy_text import strategy_lines
from cnn_lstm_hyperopt.metrics import METRICS, Metric
from cnn_lstm_hyperopt.pipeline.advice import Interface, preference_text
from cnn_lstm_hyperopt.pipeline.confirmation import RANKED_BY, TIME_IS_UP, Candidate, Confirmed
from cnn_lstm_hyperopt.pipeline.conformal_coverage import ConformalTest, Coverage
from cnn_lstm_hyperopt.pipeline.results.final_results import strategy_results
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.pipeline.test_evaluation import TestResult, Verdict
from cnn_lstm_hyperopt.reporting.console.tables import plain_table, widest
from cnn_lstm_hyperopt.reporting.model_to_use import model_to_use
from cnn_lstm_hyperopt.run_dir.paths import REPORT_FILE, predict_command, resume_command
from cnn_lstm_hyperopt.utils.text import counted

CONFIRMED_ROWS = 10
SHOWN_SCORES = 3
"""Maximum number of scores with new seeds that the table lists for a candidate. For more scores the table shows their range."""
NO_GAP = 0.0005
"""If a score in the search and a score with new seeds differ by less than this number, the table shows them as equal."""


def confirmation_table(confirmed: Confirmed, metric: str) -> Table:
    """Return a table of the confirmed candidates and their scores in the search.

    Candidates with more new seeds come first, then candidates with a lower mean log loss.
    """
    ranking = METRICS[RANKED_BY].label
    table = plain_table(
        f"Confirmed with new seeds: {METRICS[metric].words} on validation; rank by seeds, then mean {ranking}"
    )
    beside = [] if metric == RANKED_BY else [ranking]  # the mean is then this log loss, negated
    for name in ("rank", "trial", "in the search", "new seeds", "mean", *beside):
        table.add_column(name, justify="right", no_wrap=True)
    for rank, each in enumerate(confirmed.ranked[:CONFIRMED_ROWS], start=1):
        table.add_row(
            str(rank),
            str(each.candidate.trial_number),
            f"{_text(each.candidate.score)} ({_place(each.candidate)})",
            _new_scores(each.scores),
            _text(each.mean) if each.scores else "–",
            *[_text(each.mean_loss) if each.losses else "–" for _ in beside],
        )
    return table


def confirmation_lines(confirmed: Confirmed, metric: str) -> list[str]:
    """Return lines about the selection noise of the search scores, and about new seeds that were skipped for lack of time."""
    lines = []
    if len(confirmed.ranked) > CONFIRMED_ROWS:
        lines.append(f"  … and {len(confirmed.ranked) - CONFIRMED_ROWS} more in results.json")
    known = [each for each in confirmed.ranked if each.scores]
    if known:
        gap = float(np.mean([each.candidate.score - each.mean for each in known]))
        side = f"{METRICS[metric].difference(gap)} {'above' if gap > 0 else 'below'}"
        if abs(gap) < NO_GAP:
            side = "equal to"
        lines.append(f"Selection noise: search scores are {side} scores with new seeds on average.")
    if confirmed.ended is not None and confirmed.ended.reason == TIME_IS_UP:
        rounds = len(confirmed.ranked[0].scores) if confirmed.ranked else 0
        done = (
            f"at most {counted(rounds, 'new seed')} each" if rounds else "no new seeds: the order of the search is kept"
        )
        lines.append(f"{TIME_IS_UP} left time for {done}.")
    return lines


def _place(candidate: Candidate) -> str:
    return "off front" if candidate.rank is None else f"rank {candidate.rank}"


def _new_scores(scores: Sequence[float]) -> str:
    """Return a candidate's scores with new seeds as text.

    If there are many scores, the text has only their number and range.
    """
    if len(scores) > SHOWN_SCORES:
        return f"{len(scores)}: {_text(min(scores))} to {_text(max(scores))}"
    return "  ".join(_text(score) for score in scores)


def period_table(verdict: Verdict, width: int = 120) -> Table:
    """Return the table of the test results of finalists, ensemble and baselines.

    The table has the columns that fit into ``width`` characters.
    """
    beside = [*(each.column for name, each in METRICS.items() if name != verdict.judgement.metric), "MSE"]
    return widest(lambda columns: _period_table(verdict, columns), beside, width)


def _period_table(verdict: Verdict, beside: Sequence[str]) -> Table:
    metric = METRICS[verdict.judgement.metric]
    table = plain_table(f"{verdict.judgement.units.text} ({level_text(verdict.judgement.level)} intervals)")
    table.collapse_padding = True
    table.add_column("", no_wrap=True)
    for header in (metric.label, "gain over the\nbest baseline", *beside):
        table.add_column(header, justify="right", no_wrap=True)
    ensemble = () if verdict.ensemble is None else (verdict.ensemble,)
    for result in (*verdict.finalists, *ensemble, *verdict.baselines):
        cells = _cells(result)
        table.add_row(
            result.name,
            f"{_text(result.scores.metrics[metric.name])}{_in_brackets(metric, result.intervals[metric.name])}",
            "" if result.against_best is None else _signed(result.against_best),
            *(cells[header] for header in beside),
        )
    return table


def _cells(result: TestResult) -> dict[str, str]:
    scores = result.scores
    return {
        **{metric.column: metric.cell(scores.metrics[name]) for name, metric in METRICS.items()},
        "MSE": "" if scores.mse is None else f"{scores.mse:.4g}",
    }


def _in_brackets(metric: Metric, interval: Interval | None) -> str:
    """Return an interval as text with the usual sign of the metric. For example, a log loss is shown as a positive number."""
    if interval is None:
        return ""
    low, high = sorted(metric.shown(end) for end in interval)
    return f" ({low:.3f} to {high:.3f})"


def _signed(interval: Interval) -> str:
    return f"{interval.low:+.3f} to {interval.high:+.3f}"


def verdict_lines(verdict: Verdict, retrained: Sequence[Retrained]) -> list[str]:
    """Return lines about model 1: seeds, scores in search and test, calibration, regression and trading strategy."""
    first, metric = verdict.finalists[0], verdict.metric
    confirmation = retrained[0].finalist.confirmation
    lines = []
    trial = retrained[0].finalist.trial_number
    if confirmation is not None:
        search_rank = confirmation.candidate.rank
        place = "is not on the front" if search_rank is None else f"has rank {search_rank} on the front"
        lines.append(f"{first.name.capitalize()} is trial {trial}, which {place} of the search.")
    if len(first.seed_scores) > 1:
        seeds = ", ".join(_text(score) for score in first.seed_scores)
        lines.append(f"Single seeds of {first.name}: {seeds}. The table has the mean of their predictions.")
    if confirmation is not None:
        steps = [f"{_text(confirmation.candidate.score)} in the search"]
        if confirmation.scores:
            steps.append(f"{_text(confirmation.mean)} confirmed")
        steps.append(f"{_text(first.score)} on test")
        lines.append(f"Its {METRICS[metric].words}: {', '.join(steps)}.")
    n = [row.n for row in first.calibration]
    confidence = float(np.average([row.confidence for row in first.calibration], weights=n))
    right = float(np.average([row.right for row in first.calibration], weights=n))
    scaling = first.scaling
    before = "" if scaling is None else f"; {scaling.calibration_error[0]:.3f} before temperature scaling"
    lines.append(
        f"Calibration: mean confidence {confidence:.1%}, correct {right:.1%}"
        f" (error {first.scores.calibration_error:.3f}{before})."
    )
    if (r2 := first.scores.r2) is not None:
        level = level_text(verdict.judgement.level)
        interval = (
            "" if r2.interval is None else f" ({level} interval {r2.interval.low:+.3f} to {r2.interval.high:+.3f})"
        )
        others = [f"{value:+.3f} against {name}" for name, value in r2.against.items() if name != r2.reference]
        lines.append(
            f"Regression: R² {r2.value:+.3f}{interval} against {r2.reference}, the best simple forecast"
            f"{''.join(f'; {each}' for each in others)}."
        )
    elif first.scores.mse is not None:
        lines.append("Regression: R² –, because a simple forecast has almost no error.")
    if first.conformal is not None:
        lines.append(_conformal_line(first.conformal, verdict.judgement.level))
    if first.strategy is not None:
        lines += strategy_lines(strategy_results(first.strategy))
    return lines


def _conformal_line(test: ConformalTest, level: float) -> str:
    """Return a line about the coverage of conformal sets and intervals on test."""

    def share(coverage: Coverage) -> str:
        interval = coverage.interval
        ends = "" if interval is None else f" ({level_text(level)} interval {interval.low:.1%} to {interval.high:.1%})"
        return f"{coverage.share:.1%}{ends}"

    line = (
        f"Conformal sets ({test.conformal.level:.0%}, calibrated on validation): the set holds the true class in"
        f" {share(test.classes)} of the test windows; {test.classes.size:.2f} classes on average."
    )
    return line if test.values is None else f"{line} The interval holds the value in {share(test.values)}."


def _text(score: float | None) -> str:
    return "–" if score is None else f"{score:.4f}"


def selection_lines(bias: tuple[TrialSeries, DeflatedSharpe | None] | None) -> list[str]:
    """Return lines about the selection bias that arises from choosing the best of all trials.

    The list is empty if the bias is unknown.
    """
    if bias is None:
        return []
    series, strategy = bias
    found, title = series.overfitting, "Probability of backtest overfitting"
    if found.probability is None:
        return [f"{title}: {found.reason}."]
    lines = [
        f"{title}: {found.probability:.2f} ({series.of}, {counted(found.n_trials, 'trial')}, {found.n_units:,} {found.unit})."
        f" {overfitting_meaning(found.probability)}"
    ]
    if strategy is not None and strategy.deflated is not None:
        ratio = strategy.annual_sharpe if strategy.annual_sharpe is not None else strategy.sharpe
        lines.append(
            f"Trial {strategy.trial_number} as a strategy on validation: Sharpe ratio {ratio:+.2f}. Deflated Sharpe ratio of its"
            f" timing: {strategy.deflated:.0%} ({counted(strategy.n_trials, 'trial')})."
        )
    return lines


def next_lines(
    save_dir: Path, results: Mapping[str, Any], data: DataSettings, missing_trials: int, interface: Interface
) -> list[str]:
    """Return lines with the command, or the Python call, that the user may run next after a run.

    Args:
        save_dir: results directory of the run.
        results: content of ``results.json``.
        data: settings that name the source of the bars.
        missing_trials: number of requested trials that are not finished.
        interface: the command line or Python, whichever the user called.
    """
    in_python = interface is not Interface.COMMAND_LINE
    advice = preference_text(results.get("verdict") or {})
    if missing_trials:
        command_or_call = "optimizer.optimize()" if in_python else resume_command(save_dir)
        if advice is None:
            return [f"Next: {command_or_call}"]
        return [f"Next: {advice}", f"To run the missing trials: {command_or_call}"]
    if not results["retrained_models"]:
        retrain = "optimizer.retrain_best_models()" if in_python else f"{resume_command(save_dir)} --retrain-best"
        return ["Next: retrain the best models and evaluate them once on the test set:", f"  {retrain}"]
    report, (name, model) = save_dir / REPORT_FILE, model_to_use(save_dir, results)
    opened = f"open {report} in a browser, or " if report.exists() else ""
    predict = predict_command(model, data.data_dir, data.features)
    if in_python:
        windows = "windows" if interface is Interface.LOADERS else "bars"
        predict = f"cnn_lstm_hyperopt.load_model({str(model)!r}).predict({windows})"
    preferred = "" if advice is None else f"{advice} To use {name} nevertheless, "
    return [f"Next: {preferred}{opened}predict:", f"  {predict}"]
