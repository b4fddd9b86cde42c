"""Terminal lines and tables about the data, the folds and the Pareto front of a search."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.models import family_of
from cnn_lstm_hyperopt.reporting.console.tables import plain_table, widest
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.search import StudyPlan, TrialRecord, named_picks, with_fixed
from cnn_lstm_hyperopt.utils.text import counted

FRONT_ROWS = 10
FOLD_ROWS = 10
MAX_SYMBOL_CHARACTERS = 24


def data_lines(facts: Mapping[str, Any], *, used_by_trials: int | None = None) -> list[str]:
    """Return terminal lines about the source of the bars, the target and the number of windows.

    Args:
        facts: content of ``data.json``.
        used_by_trials: number of training windows that each trial trains on; None: all training windows.
    """
    symbols = list(facts.get("symbols", ()))
    named = ", ".join(symbols)
    which = [named if len(named) <= MAX_SYMBOL_CHARACTERS else f"bars of {len(symbols):,} symbols"] if symbols else []
    head = ", ".join([f"Data: {' '.join([facts['source'], *which])}", f"target {facts['target']}"])
    splits = facts["splits"]
    width = max(len(f"{split['windows']:,}") for split in splits.values())
    lines = [f"{head}, lookback {facts['lookback']}, horizon {facts['horizon']}"]
    for name, split in splits.items():
        dates = f", {split['first'][:16]} to {split['last'][:16]}" if "first" in split else ""
        used = f" (trials use {used_by_trials:,})" if name == "train" and used_by_trials is not None else ""
        lines.append(f"  {name:<10} {split['windows']:>{width},} windows{dates}{used}")
    return lines


def show_windows(terminal: Terminal, facts: dict[str, Any], *, hidden: bool = False) -> None:
    """Print the tables of windows and of folds. If ``hidden``, write them only to the log."""
    terminal.table(split_table(facts), hidden=hidden)
    if "folds" in facts:
        terminal.table(fold_table(facts["folds"], facts["cv_scheme"]), hidden=hidden)


def split_table(facts: dict[str, Any]) -> Table:
    """Return a table of windows: their number by symbol and split, the dates of each split, and the shares of the classes."""
    splits = facts["splits"]
    table = plain_table("Windows")
    dated = any("first" in split for split in splits.values())
    table.add_column("\nfrom\nto" if dated else "")  # wraps where the terminal is narrow, so that no number is cut
    for name, split in splits.items():
        dates = f"\n{split['first'][:16]}\n{split['last'][:16]}" if "first" in split else ""
        table.add_column(f"{name}{dates}", justify="right", no_wrap=True)
    table.add_column("purged", justify="right")
    for symbol, counts in facts.get("windows", {}).items():
        table.add_row(symbol, *(f"{counts[part]:,}" for part in splits), f"{counts['purged']:,}")
    table.add_row("all", *(f"{split['windows']:,}" for split in splits.values()), "")
    for number, name in enumerate(facts["class_names"]):
        table.add_row(f"share of {name}", *(f"{split['class_shares'][number]:.1%}" for split in splits.values()), "")
    return table


def fold_table(folds: Sequence[dict[str, Any]], scheme: str) -> Table:
    """Return a table of the training and validation windows of each fold, with dates if the windows have dates."""
    table = plain_table(f"{counted(len(folds), 'fold')}, {scheme}: a trial's score is the mean over them")
    table.add_column("fold", justify="right")
    for name in ("training", "windows", "validation", "windows"):
        table.add_column(name, justify="right" if name == "windows" else "left")
    for number, fold in enumerate(folds[:FOLD_ROWS], start=1):
        train, validation = fold["train"], fold["validation"]
        table.add_row(
            str(number),
            f"{train['first']} to {train['last']}" if "first" in train else "",
            f"{train['windows']:,}",
            "\n".join(f"{block['first']} to {block['last']}" for block in validation.get("blocks", ())),
            f"{validation['windows']:,}",
        )
    if len(folds) > FOLD_ROWS:
        table.add_row("…", f"{len(folds) - FOLD_ROWS} more in data.json", "", "", "")
    return table


def front_table(
    front: Sequence[TrialRecord],
    plan: StudyPlan,
    objective: str,
    width: int = 120,
    *,
    models: Mapping[int, int] | None = None,
) -> Table:
    """Return a table of the best trials of the Pareto front. The table has the columns that fit into ``width`` characters.

    ``models`` has the ranks of models that an earlier run tested, by trial number. The table marks these trials.
    """
    title = f"Pareto front: {counted(len(front), 'trial')}"
    rows = [_short_params(with_fixed(plan.space, record.params)) for record in front[:FRONT_ROWS]]

    def with_columns(headers: Sequence[str]) -> Table:
        table = plain_table(title)
        for name in ("rank", "trial", objective, "seconds", "MB", *headers):
            table.add_column(name, justify="left" if name in headers else "right", no_wrap=True)
        for rank, (record, row) in enumerate(zip(front, rows, strict=False), start=1):
            if record.values is not None:
                score, seconds, size_mb = record.values
                model = (models or {}).get(record.number)
                number = str(record.number) if model is None else f"model {model}: {record.number}"
                figures = (str(rank), number, f"{score:.4f}", f"{seconds:.1f}", f"{size_mb:.3f}")
                table.add_row(*figures, *(row.get(header, "") for header in headers))
        return table

    return widest(with_columns, list(dict.fromkeys(header for row in rows for header in row)), width)


def picks_line(front: Sequence[TrialRecord], objective: str) -> str | None:
    """Return a line that names the best, the balanced, the fastest and the smallest trial of a front.

    Return None for a front of fewer than two trials.
    """
    picks = named_picks(front)
    if picks is None or len(front) < 2:
        return None
    return (
        f"Trials: best {objective} {picks.best_score.number}, balanced (knee) {picks.balanced.number},"
        f" fastest {picks.fastest.number}, smallest {picks.smallest.number}"
    )


def _short_params(params: Params) -> dict[str, str]:
    """Return short descriptions of a trial's network and of its optimiser. The keys are the titles of the table's columns."""
    return {**family_of(params).columns(params), "optimizer": str(params["training.optimizer"])}
