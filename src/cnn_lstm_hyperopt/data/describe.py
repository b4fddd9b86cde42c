"""What is said of a dataset: the content of data.json, and warnings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.settings import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars, date_text
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES
from cnn_lstm_hyperopt.data.framing import bars_needed
from cnn_lstm_hyperopt.data.splits import SPLIT_NAMES
from cnn_lstm_hyperopt.data.windows import Windows

_NEAR_NOISE = "target direction is near noise: AUC 0.46–0.54 on every symbol tried; --target volatility is learnable"


def describe(
    bars: Sequence[Bars],
    settings: DataSettings,
    *,
    source: str,
    best_accuracy: float | None,
    n_segments: Mapping[str, int],
    cuts: tuple[Any, Any],
    splits: Mapping[str, Windows],
    purged: NDArray[np.str_],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The content of data.json; strict JSON.

    ``sha256`` stands for the windows, labels and splits: it changes with any bar, and with any setting that
    acts on them.

    Args:
        bars: of all symbols.
        settings: what was asked.
        source: name of the source.
        best_accuracy: what nothing can surpass, where that is known.
        n_segments: segments of each symbol's bars.
        cuts: first dates of validation and of test.
        splits: the windows of train, validation and test.
        purged: (purged windows,) their symbols.
        warnings: of source and data.
    """
    facts: dict[str, Any] = {
        "target": settings.target,
        "lookback": settings.lookback,
        "horizon": settings.horizon,
        "purge": settings.purge_bars,
        "max_gap_days": settings.max_gap_days,
        "train_share": settings.train_share,
        "features": list(FEATURE_NAMES),
        "symbols": {each.symbol: _symbol(each, n_segments[each.symbol]) for each in bars},
        "cuts": {"validation": date_text(cuts[0]), "test": date_text(cuts[1])},
        "splits": {name: _split(splits[name]) for name in SPLIT_NAMES},
        "windows": {
            each.symbol: {
                **{name: int(np.count_nonzero(splits[name].symbols == each.symbol)) for name in SPLIT_NAMES},
                "purged": int(np.count_nonzero(purged == each.symbol)),
            }
            for each in bars
        },
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()
    return {
        "source": source,
        "best_attainable_accuracy": best_accuracy,
        **facts,
        "warnings": list(warnings),
        "sha256": digest,
    }


def data_warnings(
    bars: Sequence[Bars], settings: DataSettings, *, train: Windows, cuts: tuple[Any, Any]
) -> tuple[str, ...]:
    """Warnings of symbols that nothing is learnt from, and of a target that is near noise.

    Args:
        bars: of all symbols.
        settings: what was asked.
        train: training windows.
        cuts: first dates of validation and of test.
    """
    warnings = [
        _without_training(each, settings, cuts) for each in bars if each.symbol not in set(train.symbols.tolist())
    ]
    return (
        (*warnings, _NEAR_NOISE)
        if settings.target == "direction" and settings.source != "synthetic"
        else tuple(warnings)
    )


def _without_training(bars: Bars, settings: DataSettings, cuts: tuple[Any, Any]) -> str:
    needed = bars_needed(settings.lookback, settings.target, settings.horizon)
    return (
        f"{bars.symbol} has no training windows: its {len(bars.frame)} bars run from"
        f" {date_text(bars.index[0])} to {date_text(bars.index[-1])}, training ends before"
        f" {date_text(cuts[0])}, test begins at {date_text(cuts[1])}, and the first window needs {needed}"
        " bars without a hole"
    )


def _symbol(bars: Bars, segments: int) -> dict[str, Any]:
    return {
        "first": date_text(bars.index[0]),
        "last": date_text(bars.index[-1]),
        "bars": len(bars.frame),
        "segments": segments,
        "sha256": bars.sha256,
        "adjustment": bars.adjustment,
    }


def _split(windows: Windows) -> dict[str, Any]:
    """First and last decision date, number of windows, and the share of class 1."""
    return {
        "first": date_text(windows.dates.min()),
        "last": date_text(windows.dates.max()),
        "windows": len(windows),
        "share_of_class_1": float((windows.labels == 1).double().mean()),
    }
