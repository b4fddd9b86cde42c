"""The present version of a model with the facts of its study, and the windows of new bars."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.labels import Labeller, labeller
from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.data.window_table import WindowTable, window_table
from cnn_lstm_hyperopt.errors import DataError, SaveDirError
from cnn_lstm_hyperopt.execution import PASSES
from cnn_lstm_hyperopt.inference.metadata import Features
from cnn_lstm_hyperopt.inference.model import SavedModel, load_model
from cnn_lstm_hyperopt.inference.versions import History, read_history
from cnn_lstm_hyperopt.pipeline.results.training_record import SeedRecord, read_training_record
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, DATA_FILE, TRAINING_FILE
from cnn_lstm_hyperopt.search import StudyStorage, database_of
from cnn_lstm_hyperopt.search.study_space import read_description
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.utils.text import enumerated, printable, shown_names


@dataclass(frozen=True)
class Present:
    """The version of a model that serves, and what an update needs to know about it.

    Attributes:
        folder: folder of the model.
        history: versions and events so far.
        model: the version that serves, with the user's function.
        settings: settings of the study.
        records: trainings of the first version, one for each seed.
        symbols: symbols of the study.
        seen_until: first date of which a window is unseen by the version.
        known_until: last decision date that the study or an update measured.
        tried_until: last decision date at which a candidate was or could be trained.
        rolling_dates: number of decision dates of the version's training.
    """

    folder: Path
    history: History
    model: SavedModel
    settings: Settings
    records: tuple[SeedRecord, ...]
    symbols: tuple[str, ...]
    seen_until: np.datetime64
    known_until: np.datetime64
    tried_until: np.datetime64
    rolling_dates: int

    @property
    def labelling(self) -> Labeller:
        """Target of the study."""
        return labeller(self.settings.data)

    def table(self, bars: Sequence[Bars]) -> WindowTable:
        """Return the labelled windows of checked bars, with the inputs of the model.

        Raises:
            DataError: the bars are too few, are of another frequency, or begin after the windows that are known.
        """
        for each in bars:
            self.model.require_frequency(each.frame, each.symbol)
        self._require_overlap(bars)
        inputs = self.model.description.feature_set(self.model.features)
        return window_table(bars, self.settings.data, self.labelling, inputs)

    def _require_overlap(self, bars: Sequence[Bars]) -> None:
        late = [each for each in bars if each.index[0] > self.known_until]
        if late:
            named = enumerated([f"{printable(each.symbol)} from {date_text(each.index[0])}" for each in late])
            raise DataError(
                f"the bars must overlap the known period, which ends {date_text(self.known_until)}, but some begin after it:"
                f" {named}; give all bars again, the old and the new ones",
                field="--data-dir",
                code="bars-do-not-overlap",
            )


def load_present(folder: Path, features: Features | None = None, *, tested: bool = False) -> Present:
    """Load the version of a model that serves, with the settings of its study.

    Args:
        folder: folder of a retrained model in the directory of its study.
        features: user's function that computes features, if the model needs it.
        tested: True to load the tested model without its final refit, later versions and history.

    Raises:
        SaveDirError: the folder holds no single model, the model reads no bars, or files of its study are missing.
    """
    model = load_model(folder, features, tested=tested)
    if not isinstance(model, SavedModel):
        raise SaveDirError(
            f"--model {printable(str(folder))} is an ensemble, and updates need a single model; name a folder such as"
            " retrained_model_1",
            field="--model",
            code="not-a-single-model",
        )
    model.require_bars()
    save_dir = folder.absolute().parent
    _require_files(folder, save_dir)
    settings = load_settings(save_dir / CONFIG_FILE, environment={}).model_copy(update={"save_dir": save_dir})
    data = read_description(save_dir)
    about = model.description
    ours = (settings.data.target, settings.data.lookback, settings.data.horizon)
    if ours != (about.target, about.lookback, about.horizon):
        raise SaveDirError(
            f"{save_dir / CONFIG_FILE} is of another study than the model (target, lookback and horizon are"
            f" {ours}, the model has {(about.target, about.lookback, about.horizon)}); keep the model in its study's directory",
            field=CONFIG_FILE,
            code="other-study",
        )
    history = History() if tested else read_history(folder)
    first, splits = history.present, data["splits"]
    parts = ("train",) if model.refit is None else ("train", "validation")
    windows = data["windows"].values()
    known = np.datetime64(splits["test"]["last"], "ns")
    return Present(
        folder=folder,
        history=history,
        model=model,
        settings=settings,
        records=read_training_record(folder),
        symbols=tuple(data["symbols"]),
        seen_until=np.datetime64(data["cuts"]["test"] if first is None else first.seen_until, "ns"),
        known_until=_last(history, known, measured_only=True),
        tried_until=_last(history, known, measured_only=False),
        rolling_dates=max(sum(each[part] for part in parts) for each in windows) if first is None else first.dates,
    )


def _last(history: History, known: np.datetime64, *, measured_only: bool) -> np.datetime64:
    """Return the last measured date of all updates, or of those that were not only measurements."""
    updates = [each for each in history.events if each.get("event") == "update"]
    chosen = updates if measured_only else [each for each in updates if each.get("policy") != "none"]
    dates: list[np.datetime64] = [np.datetime64(each["measured_until"], "ns") for each in chosen]
    return max([known, *dates])


def _require_files(folder: Path, save_dir: Path) -> None:
    missing = [name for name in (CONFIG_FILE, DATA_FILE) if not (save_dir / name).is_file()]
    if missing:
        raise SaveDirError(
            f"--model {printable(str(folder))} is not in the directory of its study: {shown_names(missing)} is missing beside it;"
            " name the model in the study's directory, or copy these files, too",
            field="--model",
            code="study-missing",
        )
    if not (folder / TRAINING_FILE).is_file():
        raise SaveDirError(
            f"--model {printable(str(folder))} has no {TRAINING_FILE}, so the number of epochs is unknown: an earlier version"
            " trained this model; retrain it, or name another model",
            field="--model",
            code="file-missing",
        )


def speeds_and_passes(settings: Settings) -> tuple[CostModel, int]:
    """Return the speeds of the study's device and the number of passes in an epoch, which the study's database has.

    Raises:
        SaveDirError: the database is missing or damaged.
    """
    with contextlib.closing(StudyStorage(database_of(settings, resume=True))) as storage:
        return CostModel.from_dict(storage.attribute("speeds")), int(storage.attribute(PASSES) or 1)
