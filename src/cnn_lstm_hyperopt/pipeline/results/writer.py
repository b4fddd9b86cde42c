"""Writer of ``results.json`` and ``trials.csv``."""

import contextlib
from typing import Any

from cnn_lstm_hyperopt.inference.refit import REFIT, REFIT_FAILURE
from cnn_lstm_hyperopt.pipeline.final_phase import delete_final_phase_state
from cnn_lstm_hyperopt.pipeline.results.final_results import selection_results, untested_verdict
from cnn_lstm_hyperopt.pipeline.results.search_results import (
    cost_model_facts,
    environment,
    search_facts,
    search_results,
)
from cnn_lstm_hyperopt.pipeline.results.selection import SelectionBias
from cnn_lstm_hyperopt.pipeline.results.trials_csv import trials_csv
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, RESULTS_FILE, TRIALS_FILE
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search.constraints import nearest_infeasible
from cnn_lstm_hyperopt.utils.atomic_io import write_json, write_text

_NOT_ESTIMATED = {
    "pbo": {"value": None, "why": "the run was interrupted before the estimate; a resumed run computes it"},
    "deflated_sharpe": None,
}


def selection_is_due(session: Session) -> bool:
    """Return True if the selection bias is known or can be estimated now.

    The bias is not estimated after the user interrupted the run.
    """
    return not session.interrupted or session.selection.knows(session.study.n_finished())


def selection_bias(session: Session) -> SelectionBias | None:
    """Return the selection bias of the trials, or None if there are no validation predictions yet."""
    return session.selection.estimate(session.study, session.final.get("confirmation"))


def write_results(session: Session) -> dict[str, Any]:
    """Write ``results.json`` and ``trials.csv``. Return the content of ``results.json``.

    Raises:
        StorageFailedError: the files can't be written.
    """
    study, save_dir = session.study, session.save_dir
    results = _results(session)
    table = trials_csv(
        study.records(),
        study.plan.space,
        study.plan.skill,
        train_share=session.dataset.train_share,
        estimated_memory=(lambda params: study.plan.cost(params).memory_mb) if study.plan.estimated_time else None,
    )
    with storage_faults(save_dir):
        write_json(save_dir / RESULTS_FILE, results, make_folder=False)
        write_text(save_dir / TRIALS_FILE, table, make_folder=False)
    session.events.on_results(study, results)
    study.storage.fold_log()
    study.storage.back_up()
    if session.final_over:
        delete_final_phase_state(save_dir, study.storage)
    with contextlib.suppress(OSError):  # the folder is not empty: it has checkpoints of interrupted trials
        (save_dir / CHECKPOINTS).rmdir()
    return results


def _results(session: Session) -> dict[str, Any]:
    study = session.study
    records, plan = study.records(), study.plan
    found = search_results(session.settings.study.name, records, plan.skill, plan.space)
    best = next(iter(found["best_trials"]), None)
    untested = None
    if (best is None or not best["above_chance"]) and nearest_infeasible(records) is None:
        broken = sum(not record.feasible for record in records)
        done = sum(record.finished for record in records) - broken
        score = best and best["values"][0]
        untested = untested_verdict(plan.skill, score, done, plan.n_trials, infeasible=broken) if done else None
    bias = selection_results(selection_bias(session)) if selection_is_due(session) else _NOT_ESTIMATED
    return {
        **found,
        "feature_selection": None,
        "confirmation": None,
        "retrained_models": [],
        "ensemble": None,
        "ensemble_method": None,
        "baselines": [],
        "skipped_baselines": [],
        "verdict": untested,
        "walk_forward": [],
        REFIT: None,
        REFIT_FAILURE: None,
        **session.final,
        "overfitting": bias,
        "test_openings": study.storage.attribute("test_openings") or [],
        **search_facts(records, plan),
        "cost_model": cost_model_facts(session.runner.speeds, records, plan.max_epochs),
        "environment": environment(str(session.runner.device), plan.seed),
    }
