"""Sources of bars. Each file in this folder that defines a :class:`Source` adds one source."""

from dataclasses import fields, replace

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.problems import warning_texts
from cnn_lstm_hyperopt.data.sources.base import Source
from cnn_lstm_hyperopt.data.validation.clocks import clock_problems
from cnn_lstm_hyperopt.data.validation.copies import copy_problems
from cnn_lstm_hyperopt.data.validation.exchange import Exchange, exchange_problems
from cnn_lstm_hyperopt.data.validation.plausibility import hole_problem
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.registry import members
from cnn_lstm_hyperopt.utils.text import shown_names

SOURCES: dict[str, type[Source]] = members(__name__, Source)
"""Classes of the sources, by the value of the setting ``source``."""


def open_source(settings: DataSettings) -> Source:
    """Return the source of bars that the settings name.

    Raises:
        DataError: the source is DataLoaders, which only Python code can pass; or feature columns are set and the source has
            no such columns.
    """
    if settings.source == "loaders":
        raise DataError(
            "source: loaders means your DataLoaders; pass them in Python:"
            " CNNLSTMHyperparameterOptimizer(data_loaders, ..., resume=True to resume a study)",
            field="data.source",
            code="source-needs-python",
        )
    source = SOURCES[settings.source]
    own = [field.name for field in fields(source)]
    if settings.feature_columns and "feature_columns" not in own:
        raise DataError(
            f"data.feature_columns ({shown_names(settings.feature_columns)}) are columns of your files, but the source is"
            f" {settings.source}; give --data-dir DIR, or leave them out",
            field="data.feature_columns",
            code="feature-columns-need-files",
        )
    return source(**{name: getattr(settings, name) for name in own})


def load_bars(settings: DataSettings) -> tuple[list[Bars], list[str]]:
    """Load and check the bars that the settings select. Return the bars and all warnings.

    Raises:
        DataError: a symbol is unknown or has no bars in the range.
        BadBarsError: bars are invalid.
        ConfigError: ``exchange`` is unknown, or its package is missing.
    """
    every, warnings = open_source(settings).load(settings.symbols, settings.start, settings.end)
    exchange = None if settings.exchange is None else Exchange(settings.exchange)
    copies = copy_problems([(bars.symbol, bars.index, bars.frame["close"].to_numpy()) for bars in every])
    clocks = clock_problems([(bars.symbol, bars.index, bars.utc) for bars in every])
    checked: list[Bars] = []
    for bars in every:
        holes = hole_problem(bars.symbol, bars.index, settings.max_gap_days, known_sessions=exchange is not None)
        sessions = [] if exchange is None else exchange_problems(bars.symbol, bars.index, exchange)
        more = [
            *([] if holes is None else [holes]),
            *sessions,
            *copies.get(bars.symbol, ()),
            *clocks.get(bars.symbol, ()),
        ]
        checked.append(replace(bars, problems=(*bars.problems, *more)) if more else bars)
    return checked, [*warnings, *warning_texts([problem for bars in checked for problem in bars.problems])]
