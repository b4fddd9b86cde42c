"""Reader of the study and the results in ``save_dir`` for a report. The reader also works during a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from cnn_lstm_hyperopt.config import SearchSpace, Settings, load_settings
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.execution import stored_pruner
from cnn_lstm_hyperopt.models import size_parameters
from cnn_lstm_hyperopt.pipeline.results.final_results import PREDICTIONS
from cnn_lstm_hyperopt.pipeline.results.stored_results import read_results
from cnn_lstm_hyperopt.run_dir.lock import is_running
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, RESULTS_FILE, STUDY_FILE, model_folder
from cnn_lstm_hyperopt.search import (
    SkillThreshold,
    State,
    StudyStorage,
    TrialRecord,
    above_chance,
    database_in,
    read_description,
    reported_front,
    study_space,
    with_fixed,
)
from cnn_lstm_hyperopt.search.importance import importances
from cnn_lstm_hyperopt.utils.text import one_line


@dataclass(frozen=True)
class Content:
    """Study and results that a report shows.

    Attributes:
        n_trials: total number of trials that the study is to run.
        running: True if a run is active.
        openings: how often models were evaluated on the test set.
        times: start and end of each trial in local time; None if a time is not stored.
        results: content of ``results.json``; empty before this file is written.
        data: content of ``data.json``; empty without this file.
        importances: importances of the parameters for each objective; see :func:`.importances`.
        predictions: predictions of the retrained models on the test windows, by rank of the model.
        outside: sentences about trials in ``study.db`` that other programs added or changed.
    """

    save_dir: Path
    name: str
    settings: Settings
    skill: SkillThreshold
    n_trials: int
    running: bool
    openings: int
    records: list[TrialRecord]
    times: Mapping[int, tuple[datetime | None, datetime | None]]
    results: Mapping[str, Any]
    data: Mapping[str, Any]
    importances: Mapping[str, Mapping[str, float]]
    predictions: Mapping[int, pd.DataFrame]
    outside: Sequence[str] = ()

    @property
    def space(self) -> SearchSpace:
        """Search space of the study, as its trials used it."""
        return study_space(self.settings, self.data)

    @property
    def front(self) -> list[TrialRecord]:
        """Non-dominated trials in the order of their ranks; see :func:`.reported_front`."""
        return reported_front(self.records, self.skill)

    @property
    def above_chance(self) -> bool:
        """True if the trials of the Pareto front beat chance."""
        return bool(self.front) and above_chance(self.front[0], self.skill)

    @property
    def models(self) -> list[dict[str, Any]]:
        """Entries of ``results.json`` about the retrained models, in the order of their ranks."""
        found: list[dict[str, Any]] = self.results.get("retrained_models") or []
        return found


def read_content(save_dir: Path, *, running: bool | None = None) -> Content:
    """Read the study and its results from ``save_dir``.

    Args:
        save_dir: results directory of the study.
        running: True if a run is active; None: the lock file shows whether a run is active.

    Raises:
        SaveDirError: there is no study, or a file is damaged.
        ConfigError: ``config.yaml`` is invalid.
    """
    database = database_in(save_dir)
    storage = StudyStorage(database)
    try:
        records, times = storage.records(), storage.times()
        stored, n_trials, name = (
            storage.attribute("skill_gate"),
            storage.attribute("n_trials"),
            storage.study.study_name,
        )
        if not isinstance(stored, dict) or not isinstance(n_trials, int):
            raise SaveDirError(
                f"{database.shown} has a study of another program: there is nothing to report",
                field=STUDY_FILE,
                code="study-not-ours",
            )
        skill, openings = SkillThreshold(**stored), len(storage.attribute("test_openings") or ())
        settings, data = load_settings(save_dir / CONFIG_FILE, environment={}), read_description(save_dir)
        settings = settings.model_copy(update={"pruner": stored_pruner(settings, storage)})
        important = importances(storage, skill, of_size=_size_parameters(records, study_space(settings, data)))
        outside = storage.news()
    finally:
        storage.close()
    try:
        results = read_results(save_dir / RESULTS_FILE) or {}
    except ValueError as error:
        path = save_dir / RESULTS_FILE
        raise SaveDirError(
            f"{path} is damaged: {error}. Remove it, then resume.", field=RESULTS_FILE, code="results-damaged"
        ) from error
    return Content(
        save_dir=save_dir,
        name=name,
        settings=settings,
        skill=skill,
        n_trials=n_trials,
        running=is_running(save_dir) if running is None else running,
        openings=openings,
        records=records,
        times=times,
        results=results,
        data=data,
        importances=important,
        predictions=_predictions(save_dir, results),
        outside=outside,
    )


def _size_parameters(records: Sequence[TrialRecord], space: SearchSpace) -> set[str]:
    """Return the parameters that can change the model size, found with the configurations of the completed trials."""
    known = [record for record in records if record.state is State.COMPLETE and set(record.params) <= set(space.specs)]
    return size_parameters(with_fixed(space, record.params) for record in known)


def _predictions(save_dir: Path, results: Mapping[str, Any]) -> dict[int, pd.DataFrame]:
    """Return the predictions of the retrained models on the test set, by rank. Missing and damaged files are skipped."""
    found = {}
    for entry in results.get("retrained_models") or []:
        path = model_folder(save_dir, entry["model_rank"]) / PREDICTIONS
        if path.is_file():
            try:
                frame = pd.read_csv(path, usecols=["label", "class"])
            except ValueError as error:
                raise SaveDirError(
                    f"{path} is damaged: {one_line(error)}", field=path.name, code="file-damaged"
                ) from error
            found[entry["model_rank"]] = frame
    return found
