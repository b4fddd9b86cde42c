"""Search on bars in memory."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_lstm_hyperopt.api import Config, run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.api.estimators.budget import SEARCH_SHARE, budget_seconds
from cnn_lstm_hyperopt.api.notebook import Results
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.config.loader import merge, read_settings
from cnn_lstm_hyperopt.data.tables.columns import PRICES
from cnn_lstm_hyperopt.data.validation.symbols import unique_symbols
from cnn_lstm_hyperopt.errors import DataError, InputError, SaveDirError
from cnn_lstm_hyperopt.pipeline.save_dir_check import check_save_dir, make_directory
from cnn_lstm_hyperopt.run_dir.paths import STUDY_FILE
from cnn_lstm_hyperopt.utils.text import one_line, shown

FOLDER = "bars"
"""Folder in ``save_dir`` with the bars of the study, one Parquet file a symbol."""
_SYMBOLS = ("symbol", "ticker")
_ONE_SYMBOL = "bars"
"""Name of the symbol of a table that names none."""


def search_bars(
    bars: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    target: str | None = None,
    budget: str | float | None = None,
    n_trials: int | None = None,
    save_dir: str | Path | None = None,
    retrain_best: bool = True,
    config: Config | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> Results:
    """Search on bars in memory, retrain the best trials and test their models once. Return the content of ``results.json``.

    The bars are written to ``save_dir/bars`` first. So the command line can resume the study and its models can predict.

    Args:
        bars: a table of one symbol with the columns open, high, low, close, volume and optionally adj_close, and dates in the
            index or in a column; or a table of several symbols with a column or index level ``symbol`` or ``ticker``, or with
            two levels of columns as from ``yfinance.download``; or a mapping of symbols to tables.
        target: target of the study; None: the default of ``data.target``.
        budget: time, such as ``"10m"`` or seconds: 70 % for the search, the rest for confirmation and retraining. The test and
            the report come after it. None: no limit.
        n_trials: total number of trials; None: the default of ``study.n_trials``.
        save_dir: new directory for all output; None: the default, ``hyperopt_results``.
        retrain_best: False to search only.
        config: all other settings, as in :class:`.CNNLSTMHyperparameterOptimizer`.
        quiet, verbose: print nothing, or all details.

    Raises:
        InputError: the bars, a setting or the directory is invalid.
    """
    seconds = budget_seconds(budget)
    tables = tables_by_symbol(bars)
    data = {} if target is None else {"target": target}
    base = merge(read_settings(config, "config"), {"data": data})
    if seconds is not None:
        base = merge(base, {"limits": {"retrain_seconds": (1 - SEARCH_SHARE) * seconds}})
    arguments = {} if save_dir is None else {"save_dir": save_dir}
    place = load_settings(base, arguments).save_dir
    check_save_dir(place, resume=False)
    folder = _write(tables, place)
    try:
        return run_cnn_lstm_hyperparameter_optimization(
            n_trials=n_trials,
            save_dir=place,
            retrain_best=retrain_best,
            timeout=None if seconds is None else SEARCH_SHARE * seconds,
            config=merge(base, {"data": {"data_dir": str(folder)}}),
            quiet=quiet,
            verbose=verbose,
        )
    except InputError:
        if not (place / STUDY_FILE).exists():  # a corrected call can use the same directory
            shutil.rmtree(folder)
        raise


def tables_by_symbol(bars: Any) -> dict[str, pd.DataFrame]:
    """Return the table of each symbol, with the dates in a column ``date`` or in a column of the user.

    Raises:
        DataError: the bars are no table or mapping of tables, or a symbol is invalid.
    """
    if isinstance(bars, Mapping):
        found = dict(bars)
    elif isinstance(bars, pd.DataFrame):
        found = _split(bars)
    else:
        text = f"bars must be a DataFrame or a dict of DataFrames by symbol, but got {shown(bars)}"
        raise DataError(text, field="bars", code="not-bars")
    for name, table in found.items():
        if not isinstance(name, str) or not isinstance(table, pd.DataFrame):
            text = (
                f"bars must have text as symbols and DataFrames as values, but {shown(name)} has {type(table).__name__}"
            )
            raise DataError(text, field="bars", code="not-bars")
    if not found:
        raise DataError("bars must have at least one symbol, but got none", field="bars", code="no-symbols")
    names = unique_symbols(list(found))
    return {name: _with_dates(table) for name, table in zip(names, found.values(), strict=True)}


def _split(bars: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of the symbols in one table."""
    if bars.columns.nlevels == 2:
        return _of_two_levels(bars)
    if bars.columns.nlevels > 2:
        text = f"bars must have one or two levels of columns, but have {bars.columns.nlevels}; use droplevel"
        raise DataError(text, field="bars", code="not-bars")
    levels = [place for place, name in enumerate(bars.index.names) if str(name).lower() in _SYMBOLS]
    if levels:
        bars = bars.reset_index(level=levels[0])
    columns = [name for name in bars.columns if str(name).strip().lower() in _SYMBOLS]
    if not columns:
        return {_ONE_SYMBOL: bars}
    if len(columns) > 1 or bars[columns[0]].isna().any():
        names = ", ".join(map(str, columns))
        text = f"bars must have one column with a symbol in every row, but have {names}; keep one and fill it"
        raise DataError(text, field="bars", code="symbol-missing")
    groups = bars.groupby(columns[0], sort=False, observed=True)
    return {str(symbol): part.drop(columns=columns) for symbol, part in groups}


def _of_two_levels(bars: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of a frame whose columns have two levels, prices and symbols in either order, as from yfinance.

    Rows in which a symbol has no price are dates on which other symbols have bars; they are left out.
    """
    keys = [{str(name).strip().lower() for name in bars.columns.get_level_values(level)} for level in (0, 1)]
    prices = [level for level in (0, 1) if set(PRICES) <= keys[level]]
    if len(prices) != 1:
        text = (
            "bars must have open, high, low and close in one of two levels of columns, and symbols in the other level"
        )
        raise DataError(text, field="bars", code="missing-column")
    other = 1 - prices[0]
    found: dict[str, pd.DataFrame] = {}
    for symbol in dict.fromkeys(bars.columns.get_level_values(other)):
        part = bars.loc[:, bars.columns.get_level_values(other) == symbol].droplevel(other, axis=1)
        own = [name for name in part.columns if str(name).strip().lower() in PRICES]
        found[str(symbol)] = part.dropna(how="all", subset=own)
    return found


def _with_dates(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose index of dates, if it has one, is a column."""
    dated = isinstance(table.index, pd.DatetimeIndex)
    if dated or (table.index.name is not None and str(table.index.name) not in map(str, table.columns)):
        table = table.rename_axis("date" if dated else str(table.index.name)).reset_index()
    return table.set_axis([str(name) for name in table.columns], axis=1)


def _write(tables: Mapping[str, pd.DataFrame], save_dir: Path) -> Path:
    """Write a Parquet file for each symbol. Return the folder."""
    folder = save_dir / FOLDER
    if folder.exists():
        text = f"{save_dir} already holds {FOLDER}/; remove it, or choose another save_dir"
        raise SaveDirError(text, field="save_dir", code="files-without-study")
    make_directory(save_dir)
    folder.mkdir()
    for symbol, table in tables.items():
        try:
            table.to_parquet(folder / f"{symbol}.parquet", index=False)
        except (ValueError, TypeError, OverflowError) as error:  # pyarrow's errors are ValueErrors and TypeErrors
            shutil.rmtree(folder)
            text = f"the bars of {symbol} can't be written as Parquet: {one_line(error)}; give numbers, text or dates"
            raise DataError(text, field="bars", code="not-bars") from error
    return folder
