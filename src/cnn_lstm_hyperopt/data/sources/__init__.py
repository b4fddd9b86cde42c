"""Where bars come from: each file that defines a :class:`Source` is one. A new one is a new file."""

from dataclasses import fields, replace

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.problems import warning_texts
from cnn_lstm_hyperopt.data.sources.base import Source
from cnn_lstm_hyperopt.data.validation.plausibility import hole_problem
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.registry import members
from cnn_lstm_hyperopt.utils.text import shown_names

SOURCES: dict[str, type[Source]] = members(__name__, Source)
"""By the name in the setting ``source``."""


def open_source(settings: DataSettings) -> Source:
    """The source that the settings name.

    Raises:
        DataError: the data are DataLoaders, which only Python can hand over, or the source has no columns of the user's own.
    """
    if settings.source == "loaders":
        raise DataError(
            "source: loaders are a user's DataLoaders; hand them over in Python:"
            " CNNLSTMHyperparameterOptimizer(data_loaders, ..., resume=True to go on with a study)",
            field="data.source",
            code="source-needs-python",
        )
    source = SOURCES[settings.source]
    own = [field.name for field in fields(source)]
    if settings.feature_columns and "feature_columns" not in own:
        raise DataError(
            f"data.feature_columns ({shown_names(settings.feature_columns)}) are columns of your own files, but the source is"
            f" {settings.source}; give --data-dir DIR, or leave them out",
            field="data.feature_columns",
            code="feature-columns-need-files",
        )
    return source(**{name: getattr(settings, name) for name in own})


def load_bars(settings: DataSettings) -> tuple[list[Bars], list[str]]:
    """The bars that the settings ask for, checked, and warnings of the source and of the bars.

    Raises:
        DataError: a symbol is not there or has no bars in the range.
        BadBarsError: bars hold what can't be true.
    """
    every, warnings = open_source(settings).load(settings.symbols, settings.start, settings.end)
    checked: list[Bars] = []
    for bars in every:
        holes = hole_problem(bars.symbol, bars.index, settings.max_gap_days)
        checked.append(bars if holes is None else replace(bars, problems=(*bars.problems, holes)))
    return checked, [*warnings, *(text for bars in checked for text in warning_texts(bars.problems))]
