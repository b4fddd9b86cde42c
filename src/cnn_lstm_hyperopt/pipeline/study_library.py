"""The results of a finished search as an entry of a study library."""

import logging

from cnn_lstm_hyperopt.data.characteristics import characteristics
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.search import ranked_front
from cnn_lstm_hyperopt.search.initial_trials.entries import full_configuration
from cnn_lstm_hyperopt.search.initial_trials.library import LibraryStudy, LibraryTrial, add, identity
from cnn_lstm_hyperopt.search.pareto_front import feasible_trials

log = logging.getLogger(__name__)


def add_to_library(session: Session) -> None:
    """Write the results of the search into the library of the settings, if there is one. A failure is only a warning."""
    folder = session.settings.study.library
    if folder is None:
        return
    plan, records = session.study.plan, session.study.records()
    front = {record.number for record in ranked_front(records, plan.skill)}
    if not front:
        session.events.on_warning(f"study.library: no trial beats chance, so nothing was added to {folder}")
        return
    trials = [
        LibraryTrial(full_configuration(plan.space, record.params), *record.values, record.number in front)
        for record in feasible_trials(records)
        if record.values is not None
    ]
    study = LibraryStudy(
        session.study.storage.study.study_name,
        identity(session.setup.made_with),
        session.dataset.target,
        characteristics(session.runner.data),
        trials,
    )
    try:
        path = add(folder, study)
    except OSError as error:
        session.events.on_warning(
            f"study.library: nothing was added to {folder}: {error.strerror}; resume writes it again"
        )
    else:
        log.info("library: %d trials in %s", len(trials), path)
