"""Description of a dataset for ``data.json``, and warnings about the dataset."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars, date_text
from cnn_lstm_hyperopt.data.feature_groups import GROUP_FEATURES
from cnn_lstm_hyperopt.data.labels import HISTORY, Labeller
from cnn_lstm_hyperopt.data.sources import open_source
from cnn_lstm_hyperopt.data.splits import SPLIT_NAMES
from cnn_lstm_hyperopt.data.window_table import bars_needed
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.utils.text import counted, enumerated

_NEAR_NOISE = "target direction is near noise: AUC 0.46–0.54 on every symbol tried; --target volatility is learnable"


def describe(
    bars: Sequence[Bars],
    settings: DataSettings,
    *,
    labeller: Labeller,
    features: Mapping[str, Any],
    n_segments: Mapping[str, int],
    cuts: tuple[Any, Any],
    splits: Mapping[str, Windows],
    folds: Sequence[tuple[Fold, Sequence[tuple[Any, Any]]]],
    purged: NDArray[np.str_],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Return the content of data.json, as strict JSON.

    The entry ``sha256`` is a hash that changes if windows, labels or splits change.

    Args:
        bars: bars of all symbols.
        settings: settings of the data.
        labeller: the target, with the names of the classes and of the values.
        features: description of the inputs: their names, and the origin of the user's own inputs.
        n_segments: number of segments of each symbol's bars.
        cuts: first decision date of the validation split and of the test split.
        splits: windows of training, validation and test, by name.
        folds: folds of cross-validation, with the first and last decision date of each held-out block.
        purged: (purged windows,) symbol of each purged window.
        warnings: warnings of the source of the bars, and warnings about the data.
    """
    n_classes, source = len(labeller.class_names), open_source(settings)
    facts: dict[str, Any] = {
        "target": settings.target,
        "class_names": list(labeller.class_names),
        "value_name": labeller.value_name,
        **_label_settings(settings),
        "lookback": settings.lookback,
        "horizon": settings.horizon,
        "purge": _purge(settings),
        "max_gap_days": settings.max_gap_days,
        "train_share": settings.train_share,
        **features,
        "symbols": {each.symbol: _symbol(each, n_segments[each.symbol]) for each in bars},
        "cuts": {"validation": date_text(cuts[0]), "test": date_text(cuts[1])},
        "splits": {name: {**_stretch(each), **class_balance(each, n_classes)} for name, each in splits.items()},
        **_cross_validation(settings, folds),
        "windows": {each.symbol: _windows(each.symbol, splits, purged) for each in bars},
    }
    digest = hashlib.sha256(json.dumps(_hashed(facts), sort_keys=True, allow_nan=False).encode()).hexdigest()
    for each in bars:  # the wording of a finding does not change the data
        facts["symbols"][each.symbol]["problems"] = [problem.as_dict() for problem in each.problems]
    return {
        "source": source.name,
        "survivorship": source.survivorship,
        "best_attainable_accuracy": source.best_accuracy(settings.target, settings.horizon) if n_classes == 2 else None,
        **facts,
        "warnings": list(warnings),
        "sha256": digest,
    }


def _hashed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that identify the data.

    Groups of built-in features are left out, because they depend only on the bars. So the hash is that of earlier versions, which
    did not have these groups.
    """
    kept = [name for name in facts["features"] if name not in GROUP_FEATURES]
    return {name: value for name, value in facts.items() if name != "feature_groups"} | {"features": kept}


def data_warnings(
    bars: Sequence[Bars],
    settings: DataSettings,
    *,
    splits: Mapping[str, Windows],
    cuts: tuple[Any, Any],
    folds: Sequence[Fold],
) -> tuple[str, ...]:
    """Return warnings about the target, about the folds, and about symbols without windows in a split.

    Args:
        bars: bars of all symbols.
        settings: settings of the data.
        splits: windows of training, validation and test, by name.
        cuts: first decision date of the validation split and of the test split.
        folds: folds of cross-validation.
    """
    warnings = _without_windows(bars, settings, splits, cuts)
    if settings.target == "direction" and settings.source != "synthetic":
        warnings.append(_NEAR_NOISE)
    if settings.target == "volatility" and settings.lookback < (seen := HISTORY + settings.horizon - 1):
        warnings.append(
            f"data.lookback={settings.lookback} is less than the {seen} bars whose median range separates the classes of"
            f" target volatility, so windows do not contain this median; data.lookback: {seen} contains all these bars"
        )
    return (*warnings, *_fold_warnings(settings, folds))


def _fold_warnings(settings: DataSettings, folds: Sequence[Fold]) -> list[str]:
    if settings.cv_scheme == "combinatorial":
        if settings.embargo < settings.lookback:
            return [
                f"training windows after a held-out block contain its bars: the embargo of {settings.embargo} is shorter than the"
                f" lookback of {settings.lookback}; data.embargo: {settings.lookback} separates them"
            ]
        return []
    warnings = []
    if settings.embargo:
        warnings.append(
            f"data.embargo={settings.embargo} has no effect here: no training window follows a validation block;"
            " it matters with data.cv_scheme: combinatorial"
        )
    if len(folds) > 1 and len(folds[0].train) < len(folds[0].validation):
        warnings.append(
            f"the first of {len(folds)} folds trains on {len(folds[0].train)} windows and is"
            f" validated on {len(folds[0].validation)}; reduce data.cv_folds"
        )
    return warnings


def _without_windows(
    every: Sequence[Bars], settings: DataSettings, splits: Mapping[str, Windows], cuts: tuple[Any, Any]
) -> list[str]:
    """Return a warning for each split that has no windows of some symbols."""
    validation, test = map(date_text, cuts)
    spans = {
        "train": ("training", f"training ends before {validation}"),
        "validation": ("validation", f"validation runs from {validation} to {test}"),
        "test": ("test", f"the test set begins at {test}"),
    }
    warnings = []
    for part, (name, span) in spans.items():
        present = set(splits[part].symbols.tolist())
        missing = [
            f"{each.symbol} ({len(each.frame):,} bars, {date_text(each.index[0])} to {date_text(each.index[-1])})"
            for each in every
            if each.symbol not in present
        ]
        if missing:
            warnings.append(
                f"{counted(len(missing), 'symbol')} without {name} windows: {enumerated(missing)}; {span}, and the first"
                f" window of a symbol needs {bars_needed(settings)} bars without a hole"
            )
    return warnings


def _symbol(bars: Bars, segments: int) -> dict[str, Any]:
    return {
        "first": date_text(bars.index[0]),
        "last": date_text(bars.index[-1]),
        "bars": len(bars.frame),
        "segments": segments,
        "sha256": bars.sha256,
        "adjustment": bars.adjustment,
    }


def _windows(symbol: str, splits: Mapping[str, Windows], purged: NDArray[np.str_]) -> dict[str, int]:
    """Return the number of windows of a symbol in each split."""
    of = {**{name: splits[name].symbols for name in SPLIT_NAMES}, "purged": purged}
    return {name: int(np.count_nonzero(symbols == symbol)) for name, symbols in of.items()}


def _label_settings(settings: DataSettings) -> dict[str, Any]:
    """Return the settings that determine the labels of the target."""
    if settings.target == "triple_barrier":
        return {"barriers_atr": list(settings.barriers_atr)}
    if settings.target == "direction" and settings.direction_classes == 3:
        return {"dead_zone_atr": settings.dead_zone_atr}
    return {}


def _purge(settings: DataSettings) -> int | dict[str, Any]:
    """Return the number of purged bars before a boundary of splits: one number, or one for training and one for validation."""
    if settings.target == "triple_barrier" and settings.purge is None:
        return {"train": "as far as each label looks", "validation": settings.purge_bars}
    return settings.purge_bars


def _cross_validation(
    settings: DataSettings, folds: Sequence[tuple[Fold, Sequence[tuple[Any, Any]]]]
) -> dict[str, Any]:
    """Return the description of the folds for ``data.json``. The description is empty without cross-validation."""
    if settings.bar_folds == 1:
        return {}
    return {
        "cv_scheme": settings.cv_scheme,
        **({"embargo": settings.embargo} if settings.cv_scheme == "combinatorial" else {}),
        "folds": [
            {
                "train": _stretch(fold.train),
                "validation": {
                    "windows": len(fold.validation),
                    "blocks": [{"first": date_text(first), "last": date_text(last)} for first, last in blocks],
                },
            }
            for fold, blocks in folds
        ],
    }


def _stretch(windows: Windows) -> dict[str, Any]:
    """Return the first and the last decision date and the number of windows, as an entry of ``data.json``."""
    return {
        "first": date_text(windows.dates.min()),
        "last": date_text(windows.dates.max()),
        "windows": len(windows),
    }


def class_balance(windows: Windows, n_classes: int) -> dict[str, Any]:
    """Return the number of windows of each class, and the share of each class among all windows."""
    counts = windows.class_counts(n_classes)
    return {"class_counts": list(counts), "class_shares": [count / len(windows) for count in counts]}
