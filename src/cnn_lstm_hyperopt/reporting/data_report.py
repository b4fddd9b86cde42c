"""Terminal output of the command ``data``: the bars and their problems, the windows and the splits."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.bars import UNADJUSTED, Bars, date_text
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.frequency import frequency
from cnn_lstm_hyperopt.data.problems import BadBarsError, Problem, warning_texts
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.validation.clocks import OTHER_CLOCK
from cnn_lstm_hyperopt.reporting.console.search_tables import show_windows
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.utils.text import counted


def report_data(settings: DataSettings, terminal: Terminal, groups: Sequence[str]) -> None:
    """Show the bars, their problems, the windows and the splits on the terminal; write no files.

    Args:
        settings: section ``data``: the source, symbols and dates of the bars, the checks and the splits.
        terminal: receives the output.
        groups: groups of features that the search space may use.

    Raises:
        DataError: some bars can't be used. The usable bars are shown before the error.
    """
    try:
        bars, warnings = load_bars(settings)
    except BadBarsError as error:
        if error.bars:
            _show_bars(error.bars, settings, terminal)
        for text in warning_texts([*(problem for each in error.bars for problem in each.problems), *error.problems]):
            terminal.warn(text)
        raise
    _show_bars(bars, settings, terminal)
    for text in warnings:
        terminal.warn(text)
    dataset = prepare_dataset(settings, (bars, warnings), groups=groups)
    facts = dataset.description
    terminal.say(
        f"Target {dataset.target} ({', '.join(dataset.class_names)}), horizon {dataset.horizon}, lookback {dataset.lookback},"
        f" {counted(len(dataset.feature_names), 'feature')}: {', '.join(dataset.feature_names)}"
    )
    show_windows(terminal, facts)
    for text in dataset.warnings:
        if text not in warnings:
            terminal.warn(text)


def _show_bars(every: Sequence[Bars], settings: DataSettings, terminal: Terminal) -> None:
    """Show a table of the bars with a row for each symbol, then the corrections that were made to the bars."""
    where = f" in {settings.data_dir}" if settings.data_dir is not None else ""
    mixed = any(problem.rule == OTHER_CLOCK for bars in every for problem in bars.problems)
    clock = ", times in UTC" if any(bars.utc for bars in every) and not mixed else ""
    table = Table(
        title=Text(f"Bars: {settings.source}{where}{clock}"),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in ("symbol", "from", "to", "bars", "frequency", "findings"):
        wraps = name in ("frequency", "findings")
        table.add_column(name, justify="right" if name == "bars" else "left", no_wrap=not wraps, min_width=len(name))
    for bars in every:
        table.add_row(
            bars.symbol,
            date_text(bars.index[0]).removesuffix(":00"),  # whole minutes
            date_text(bars.index[-1]).removesuffix(":00"),
            f"{len(bars.frame):,}",
            frequency(bars.index),
            _counts(bars.problems),
        )
    terminal.table(table)
    for adjustment in dict.fromkeys(bars.adjustment for bars in every):
        names = [bars.symbol for bars in every if bars.adjustment == adjustment]
        terminal.say(f"Adjusted: {adjustment} ({', '.join(names)})")


def _counts(problems: Sequence[Problem]) -> str:
    """Return as text how many problems of each kind were found in the bars.

    A line below the table says whether prices are adjusted, so the table does not repeat the warning about this.
    """
    shown = [problem for problem in problems if problem.rule != UNADJUSTED]
    return ", ".join(f"{problem.rule.replace('_', ' ')} {problem.count:,}" for problem in shown) or "none"
