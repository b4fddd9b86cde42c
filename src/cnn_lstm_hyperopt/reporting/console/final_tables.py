"""Confirmation, test period and verdict as tables and lines for the terminal."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from cnn_lstm_hyperopt.evaluation import Interval, Returns, units_text
from cnn_lstm_hyperopt.evaluation.selection_bias import DeflatedSharpe, TrialSeries
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.confirmation import TIME_IS_UP, Confirmed
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.pipeline.test_evaluation import TestResult, Verdict
from cnn_lstm_hyperopt.reporting.console.tables import plain_table
from cnn_lstm_hyperopt.utils.text import counted

CONFIRMED_ROWS = 10
FRESH_SCORES = 6
"""Fresh scores of a candidate that are shown one by one."""
NO_GAP = 0.0005
"""Between the search's readings and the fresh ones: it would be shown as 0."""


def confirmation_table(confirmed: Confirmed, metric: str) -> Table:
    """The candidates by their mean fresh score, beside the reading that the search chose them for."""
    table = plain_table(f"Confirmed with fresh seeds: {METRICS[metric].words} on validation")
    for name in ("rank", "trial", "in the search", "fresh seeds", "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for rank, each in enumerate(confirmed.ranked[:CONFIRMED_ROWS], start=1):
        table.add_row(
            str(rank),
            str(each.candidate.trial_number),
            f"{_text(each.candidate.score)} (rank {each.candidate.rank})",
            _fresh(each.scores),
            _text(each.mean) if each.scores else "–",
        )
    return table


def confirmation_lines(confirmed: Confirmed, metric: str) -> list[str]:
    """What the table means: how much of the search's best readings was luck."""
    lines = []
    if len(confirmed.ranked) > CONFIRMED_ROWS:
        lines.append(f"  … and {len(confirmed.ranked) - CONFIRMED_ROWS} more in results.json")
    known = [each for each in confirmed.ranked if each.scores]
    if known:
        gap = float(np.mean([each.candidate.score - each.mean for each in known]))
        size = METRICS[metric].difference(gap)
        read = f"{size} more than fresh seeds do, on average: what choosing single readings adds"
        if gap < 0:
            read = f"{size} less than fresh seeds do, on average"
        if abs(gap) < NO_GAP:
            read = "what fresh seeds do, on average"
        lines.append(f"The search read {read}.")
    if confirmed.ended is not None and confirmed.ended.reason == TIME_IS_UP:
        rounds = len(confirmed.ranked[0].scores) if confirmed.ranked else 0
        done = (
            f"only {counted(rounds, 'fresh seed')} each"
            if rounds
            else "no fresh seed of each, so the search's order stands"
        )
        lines.append(f"{TIME_IS_UP} left time for {done}.")
    return lines


def _fresh(scores: Sequence[float]) -> str:
    """All of them, or how far they go where they are many."""
    if len(scores) > FRESH_SCORES:
        return f"{len(scores)}: {_text(min(scores))} to {_text(max(scores))}"
    return "  ".join(_text(score) for score in scores)


def period_table(verdict: Verdict, width: int = 120) -> Table:
    """Finalists, their ensemble and baselines on the test period, with as many columns as fit; ``results.json`` has all."""
    beside = [*(each.column for name, each in METRICS.items() if name != verdict.metric), "MSE"]
    for kept in range(len(beside), 0, -1):
        table = _period_table(verdict, beside[:kept])
        if Console(width=10 * width).measure(table).maximum <= width:
            return table
    return _period_table(verdict, [])


def _period_table(verdict: Verdict, beside: Sequence[str]) -> Table:
    table = plain_table(f"{units_text(verdict.judgement)} (95 % intervals)")
    table.collapse_padding = True  # or it has more than 120 columns
    table.add_column("", no_wrap=True)
    for header in (METRICS[verdict.metric].words, "against the\nbest baseline", *beside):
        table.add_column(header, justify="right", no_wrap=True)
    ensemble = () if verdict.ensemble is None else (verdict.ensemble,)
    for result in (*verdict.finalists, *ensemble, *verdict.baselines):
        cells = _cells(result)
        table.add_row(
            result.name,
            f"{_text(result.score)}{_in_brackets(result.interval)}",
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


def _in_brackets(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval.low:.3f} to {interval.high:.3f})"


def _signed(interval: Interval) -> str:
    return f"{interval.low:+.3f} to {interval.high:+.3f}"


def verdict_lines(verdict: Verdict, retrained: Sequence[Retrained]) -> list[str]:
    """What else is to be known of the first model: its seeds, what became of its validation score, its calibration, money."""
    first, metric = verdict.finalists[0], verdict.metric
    confirmation = retrained[0].finalist.confirmation
    lines = []
    if len(first.seed_scores) > 1:
        seeds = ", ".join(_text(score) for score in first.seed_scores)
        lines.append(
            f"{first.name.capitalize()} with {len(first.seed_scores)} seeds: {seeds}; tested above is the one best on validation."
        )
    if confirmation is not None:
        steps = [f"{_text(confirmation.candidate.score)} in the search"]
        if confirmation.scores:
            steps.append(f"{_text(confirmation.mean)} confirmed")
        steps.append(f"{_text(first.score)} on test")
        lines.append(f"Its {METRICS[metric].words}: {', '.join(steps)}.")
    said = float(first.predictions.probabilities.max(axis=1).mean())
    lines.append(
        f"Calibration: {said:.1%} sure on average, right in {first.scores.metrics['accuracy']:.1%} (expected calibration error"
        f" {first.scores.calibration_error:.3f})."
    )
    if first.scores.r2_against_persistence is not None:
        lines.append(f"Regression: R² against persistence {first.scores.r2_against_persistence:+.3f}.")
    if first.strategy is not None:
        lines.append(
            f"Long when it says up, otherwise flat, {first.strategy.cost_bps:g} bps a trade: {_money(first.strategy.model)};"
            f" always long: {_money(first.strategy.hold)}. No account of slippage, size or what could be borrowed."
        )
    return lines


def _text(score: float | None) -> str:
    return "–" if score is None else f"{score:.4f}"


def selection_lines(bias: tuple[TrialSeries, DeflatedSharpe | None] | None) -> list[str]:
    """What choosing among all trials does; empty where nothing is known."""
    if bias is None:
        return []
    series, strategy = bias
    found, title = series.overfitting, "Probability of backtest overfitting"
    if found.probability is None:
        return [f"{title}: {found.reason}."]
    lines = [
        f"{title} ({series.of}): {found.probability:.2f} over {counted(found.n_trials, 'trial')} and {found.n_units:,}"
        f" {found.unit} of validation. About 0.5: the best trial is the luckiest; near 0: trials do differ."
    ]
    if strategy is not None and strategy.deflated is not None:
        ratio = strategy.annual_sharpe if strategy.annual_sharpe is not None else strategy.sharpe
        lines.append(
            f"Trial {strategy.trial_number} as a strategy on validation: Sharpe ratio {ratio:+.2f}; that this is more than"
            f" the luck of {counted(strategy.n_trials, 'trial')} has a probability of {strategy.deflated:.0%} (deflated Sharpe"
            " ratio)."
        )
    return lines


def _money(returns: Returns) -> str:
    ratio = returns.annual_sharpe if returns.annual_sharpe is not None else returns.sharpe
    unit = "Sharpe ratio" if returns.annual_sharpe is not None else "Sharpe ratio of a period"
    return f"{unit} {'–' if ratio is None else f'{ratio:+.2f}'}, 1 became {returns.final_wealth:.2f}"
