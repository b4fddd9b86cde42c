"""Updates of a retrained model from Python."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_lstm_hyperopt.api.estimators.bars import tables_by_symbol
from cnn_lstm_hyperopt.config.schema.data import BadBars
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.inference.metadata import Features
from cnn_lstm_hyperopt.inference.versions import Policy
from cnn_lstm_hyperopt.pipeline.updates.publish import rollback
from cnn_lstm_hyperopt.pipeline.updates.reading import ReadBars, files_reader, tables_reader
from cnn_lstm_hyperopt.pipeline.updates.replay import replay
from cnn_lstm_hyperopt.pipeline.updates.replay_results import Replay
from cnn_lstm_hyperopt.pipeline.updates.update import UpdateResult, update
from cnn_lstm_hyperopt.utils.text import shown

log = logging.getLogger(__name__)


def update_model(
    model: str | Path,
    bars: str | Path | pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    policy: Policy = "refit",
    dry_run: bool = False,
    features: Features | None = None,
    on_bad_bars: BadBars = "error",
) -> UpdateResult:
    """Measure a retrained model on bars that arrived since, and create a new version if it is not worse.

    ``load_model`` then loads the new version. ``print(result)`` shows a short table.

    Args:
        model: folder of a retrained model in the directory of its study, such as ``hyperopt_results/retrained_model_1``.
        bars: the old and the new bars: a folder with ``SYMBOL.csv`` or ``SYMBOL.parquet`` files, or tables as for
            :func:`.search_bars`.
        policy: how the candidate is trained. ``refit``: new networks of the same configuration on the newest windows.
            ``finetune``: the present networks for 5 more epochs at a tenth of the learning rate, on the new windows and some old
            ones. ``none``: only measure.
        dry_run: True to measure, train and compare without writing anything.
        features: user's function that computes features, if the model needs it.
        on_bad_bars: what to do with invalid bars: ``error``, ``drop`` or ``keep``.

    Raises:
        InputError: the model can't be updated, there are no new bars, or the bars are invalid.
    """
    return update(_folder(model), _reader(bars, on_bad_bars), policy=policy, dry_run=dry_run, features=features)


def evaluate_model(
    model: str | Path,
    bars: str | Path | pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    walk_forward: int,
    refit: bool = False,
    features: Features | None = None,
    on_bad_bars: BadBars = "error",
) -> Replay:
    """Measure a tested model over past periods and, with ``refit``, say whether updates would have paid. Nothing is written.

    The periods begin with the study's test set. Each policy predicts a period with the version that serves then, before anything
    is trained on the period. ``print(result)`` shows a table; ``result.as_dict()`` has all figures.

    Args:
        model: folder of a retrained model in the directory of its study, such as ``hyperopt_results/retrained_model_1``.
        bars: the bars of the study and all later ones: a folder with ``SYMBOL.csv`` or ``SYMBOL.parquet`` files, or tables as for
            :func:`.search_bars`.
        walk_forward: number of periods. Each needs 20 dates.
        refit: True to replay updates by the policies ``finetune`` and ``refit``, and to compare them with no updates.
        features: user's function that computes features, if the model needs it.
        on_bad_bars: what to do with invalid bars: ``error``, ``drop`` or ``keep``.

    Raises:
        InputError: the model can't be updated, the bars are invalid, or there are too few for the periods.
    """
    if not isinstance(walk_forward, int) or isinstance(walk_forward, bool):
        text = f"walk_forward must be a whole number, but got {shown(walk_forward)}"
        raise ConfigError(text, field="walk_forward", code="not-a-number")
    return replay(_folder(model), _reader(bars, on_bad_bars), walk_forward=walk_forward, refit=refit, features=features)


def rollback_model(model: str | Path) -> int:
    """Return to the version of a model that served before the present one. Return the number of the version that serves now.

    Raises:
        SaveDirError: version 1 serves, or another process uses the directory of the study.
    """
    return rollback(_folder(model)).current


def _folder(model: Any) -> Path:
    if not isinstance(model, (str, os.PathLike)) or not str(model):
        text = f"model must be the path of a model's directory, but got {shown(model)}"
        raise ConfigError(text, field="model", code="not-a-path")
    return Path(model)


def _reader(bars: Any, on_bad_bars: BadBars) -> ReadBars:
    if isinstance(bars, (str, os.PathLike)):
        return files_reader(Path(bars), on_bad_bars, log.warning)
    return tables_reader(tables_by_symbol(bars), on_bad_bars)
