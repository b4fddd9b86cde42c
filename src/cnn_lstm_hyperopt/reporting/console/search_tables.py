"""Splits, folds and front as tables for the terminal."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.models import family_of
from cnn_lstm_hyperopt.reporting.console.tables import plain_table
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.search import StudyPlan, TrialRecord, above_chance, with_fixed
from cnn_lstm_hyperopt.utils.text import counted

FRONT_ROWS = 10
FOLD_ROWS = 10


def show_windows(terminal: Terminal, facts: dict[str, Any]) -> None:
    """Windows of each symbol in each split, the splits' dates, the balance of classes, and the folds."""
    terminal.table(split_table(facts))
    if "folds" in facts:
        terminal.table(fold_table(facts["folds"], facts["cv_scheme"]))


def split_table(facts: dict[str, Any]) -> Table:
    """Windows of each symbol in each split, the splits' dates, and the balance of classes."""
    splits = facts["splits"]
    table = plain_table("Windows")
    table.add_column("")  # wraps where the terminal is narrow, so that no number is cut
    for name, split in splits.items():
        dates = f"\nfrom {split['first'][:16]}\nto {split['last'][:16]}" if "first" in split else ""
        table.add_column(f"{name}{dates}", justify="right", no_wrap=True)
    table.add_column("purged", justify="right")
    for symbol, counts in facts.get("windows", {}).items():
        about = facts["symbols"][symbol]
        name = f"{symbol} {about['first'][:10]} to {about['last'][:10]}"  # without times, so that it fits
        table.add_row(name, *(f"{counts[part]:,}" for part in splits), f"{counts['purged']:,}")
    table.add_row("all", *(f"{split['windows']:,}" for split in splits.values()), "")
    for number, name in enumerate(facts["class_names"]):
        table.add_row(f"share of {name}", *(f"{split['class_shares'][number]:.1%}" for split in splits.values()), "")
    return table


def fold_table(folds: Sequence[dict[str, Any]], scheme: str) -> Table:
    """What each fold trains on and is judged by; combinatorial ones hold out several blocks, and windows may have no dates."""
    table = plain_table(f"{counted(len(folds), 'fold')}, {scheme}: a trial's score is the mean over them")
    table.add_column("fold", justify="right")
    for name in ("trained on", "windows", "judged by", "windows"):
        table.add_column(name, justify="right" if name == "windows" else "left", no_wrap=True)
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


def front_table(front: Sequence[TrialRecord], plan: StudyPlan, objective: str) -> Table:
    """The first of the ranked front."""
    below = "" if not front or above_chance(front[0], plan.skill) else ", none above chance"
    table = plain_table(f"Pareto front: {counted(len(front), 'trial')}{below}")
    for name in ("rank", "trial", objective, "seconds", "MB"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [_short_params(with_fixed(plan.space, record.params)) for record in front[:FRONT_ROWS]]
    headers = list(dict.fromkeys(header for row in rows for header in row))
    for header in headers:
        table.add_column(header)
    for rank, (record, row) in enumerate(zip(front, rows, strict=False), start=1):
        if record.values is not None:
            score, seconds, size_mb = record.values
            table.add_row(
                str(rank),
                str(record.number),
                f"{score:.4f}",
                f"{seconds:.1f}",
                f"{size_mb:.3f}",
                *(row.get(header, "") for header in headers),
            )
    return table


def _short_params(params: Params) -> dict[str, str]:
    """Network and optimiser in a few words."""
    return {**family_of(params).columns(params), "optimizer": str(params["training.optimizer"])}
