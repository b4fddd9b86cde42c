"""Sentences about a trading strategy for terminal, report and model card, made from the strategy's entry in ``results.json``."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnn_lstm_hyperopt.evaluation.verdict_text import level_text
from cnn_lstm_hyperopt.metrics.proportions import CONFIDENCE


def strategy_lines(entry: Mapping[str, Any]) -> list[str]:
    """Return a line about the profit of a strategy, and a line about its timing if the entry has the excess.

    Args:
        entry: value of ``test_metrics.strategy`` in ``results.json``. Entries of older versions have no execution,
            half-spreads and excess, or an excess without a level, whose intervals have 95 %.
    """
    lines = [
        f"Strategy (long or flat{_trades(entry)}): {_money(entry['long_flat'])}; always long: {_money(entry['buy_and_hold'])}."
        " Position size and borrowing are ignored."
    ]
    excess = entry.get("excess")
    if excess is not None:
        name, unit = ("annual_return", "year") if excess["annual_return"] is not None else ("mean_return", "period")
        interval, level = excess[f"{name}_interval"], level_text(excess.get("level", CONFIDENCE))
        lines.append(
            f"Timing: {excess[name]:+.2%} a {unit}"
            + (f" ({level} interval {interval[0]:+.2%} to {interval[1]:+.2%})" if interval is not None else "")
            + f" compared with holding at the strategy's mean position ({excess['exposure']:.0%}), without the market's drift."
        )
    return lines


def _trades(entry: Mapping[str, Any]) -> str:
    """Return the prices and costs of a trade as text.

    Example: ``, trades at the next open for 5 bps and a half-spread of 2 bps``.
    """
    text, execution = f"{entry['cost_bps']:g} bps", entry.get("execution")
    spreads = sorted(entry.get("half_spread_bps", {}).values())
    if spreads:
        text += f" and a half-spread of {spreads[0]:.3g}"
        text += f" to {spreads[-1]:.3g} bps" if spreads[-1] > spreads[0] else " bps"
    return f", trades at the {execution.replace('_', ' ')} for {text}" if execution is not None else f", {text} a trade"


def _money(returns: Mapping[str, Any]) -> str:
    annual = returns["annual_sharpe"]
    ratio, unit = (returns["sharpe"], "Sharpe ratio of a period") if annual is None else (annual, "Sharpe ratio")
    return f"{unit} {'–' if ratio is None else f'{ratio:+.2f}'}, 1 became {returns['final_wealth']:.2f}"


def shown_strategies(models: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """Return the lines about the strategy of each model that has a strategy. The keys are the ranks of the models.

    Args:
        models: entries ``retrained_models`` of ``results.json``.
    """
    found = {each["model_rank"]: each["test_metrics"].get("strategy") for each in models}
    return {rank: strategy_lines(entry) for rank, entry in found.items() if entry is not None}
