"""The selection bias of a study whose trials ended at different times."""

import numpy as np
import pytest

from builders.records import make_plan
from builders.studies import SKILL
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.execution.validation_files import write_validation
from cnn_lstm_hyperopt.pipeline.results.selection import SelectionTracker
from cnn_lstm_hyperopt.run_dir.paths import STUDY_FILE, VALIDATION
from cnn_lstm_hyperopt.search import State, Study, StudyStorage, Values
from cnn_lstm_hyperopt.training import Predictions


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    data = {"source": "embedded", "symbols": ["IBM"], "end": "2003-12-31", "lookback": 10, "target": "volatility"}
    return load_settings({"data": data, "save_dir": str(tmp_path_factory.mktemp("run"))}, environment={})


def finished(study, dataset, folder, values, attributes):
    assignment = study.next_assignment()
    if folder is not None:
        labels = dataset.folds[0].validation.labels.numpy()
        up = np.random.default_rng(assignment.number).random(len(labels))
        probabilities = np.column_stack([1 - up, up]).astype(np.float32)
        write_validation(folder, assignment.number, dataset.folds, Predictions(probabilities, None))
    study.finish(assignment, State.COMPLETE if values else State.PRUNED, values, attributes)
    return assignment.number


def test_only_trials_that_must_have_predictions_are_reported_as_missing(settings):
    """A trial that a limit ended within its first epoch has no best epoch; a trial with one has lost its file."""
    dataset, folder, warnings = prepare_dataset(settings.data), settings.save_dir / VALIDATION, []
    storage = StudyStorage(settings.save_dir / STUDY_FILE, create="study")
    study = Study(storage, make_plan(skill=SKILL))
    tracker = SelectionTracker(settings, dataset, warnings.append)
    complete = {"epochs": 3.0, "best_epoch": 2}
    for _ in range(3):
        finished(study, dataset, folder, Values(0.7, 30.0, 1.0), complete)
    finished(study, dataset, None, None, {"epochs": 0.3, "best_epoch": 0, "reason": "limit: too slow"})
    series, _ = tracker.estimate(study, None)
    assert (series.numbers, series.missing, warnings) == ((0, 1, 2), (), [])
    assert tracker.knows(4)
    lost = finished(study, dataset, None, Values(0.6, 30.0, 1.0), complete)
    assert not tracker.knows(5)
    series, _ = tracker.estimate(study, None)
    assert (series.numbers, series.missing, len(warnings)) == ((0, 1, 2), (lost,), 1)
    storage.close()
