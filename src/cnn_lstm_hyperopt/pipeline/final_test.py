"""Single evaluation of all finalists on the test set, and the writing of the results."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.errors import BaselineError, DataError
from cnn_lstm_hyperopt.inference.ensemble import Ensemble
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.inference.predictor import Predictor
from cnn_lstm_hyperopt.inference.refit import REFIT, REFIT_FAILURE
from cnn_lstm_hyperopt.inference.temperature import Calibrated
from cnn_lstm_hyperopt.metrics import if_defined, score
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.pipeline.advice import skipped_baselines
from cnn_lstm_hyperopt.pipeline.calibration import CalibrationEffect, HeldOut, calibrated, held_out
from cnn_lstm_hyperopt.pipeline.confirmation import Confirmed
from cnn_lstm_hyperopt.pipeline.earlier_results import ENSEMBLE_METHOD, EVALUATION, ensemble_method, evaluation_settings
from cnn_lstm_hyperopt.pipeline.ensemble_selection import Blend, blended
from cnn_lstm_hyperopt.pipeline.events import trainings
from cnn_lstm_hyperopt.pipeline.periods import PeriodPredictions
from cnn_lstm_hyperopt.pipeline.results.ensemble import ensemble_results
from cnn_lstm_hyperopt.pipeline.results.final_results import (
    baseline_results,
    confirmation_results,
    retrained_results,
    verdict_results,
)
from cnn_lstm_hyperopt.pipeline.results.model_card import model_cards
from cnn_lstm_hyperopt.pipeline.results.model_folders import save_models, write_retrained
from cnn_lstm_hyperopt.pipeline.results.refit_folder import kept_failure, kept_refit
from cnn_lstm_hyperopt.pipeline.results.walk_forward import walk_forward_results
from cnn_lstm_hyperopt.pipeline.retraining import Retrained, Retraining
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.pipeline.test_evaluation import TestResult, Verdict, evaluate_once
from cnn_lstm_hyperopt.pipeline.test_openings import record_opening
from cnn_lstm_hyperopt.pipeline.walk_forward import Refits
from cnn_lstm_hyperopt.progress import Decision
from cnn_lstm_hyperopt.run_dir.paths import resume_command
from cnn_lstm_hyperopt.training import Predictions
from cnn_lstm_hyperopt.training.latency import measure_latency


def evaluate_finalists(
    session: Session, confirmed: Confirmed, outcome: Retraining, refits: Refits
) -> list[dict[str, Any]]:
    """Test finalists, ensemble and baselines, then write the folders of the models. Record the evaluation before it begins.

    Args:
        session: session of the study. The session's attribute ``final`` receives the results, with the keys
            ``session.FINAL_KEYS``.
        confirmed: the candidates, ranked by their results with new seeds.
        outcome: the retrained finalists, at least one.
        refits: trainings for later periods of the test set, if it has several.

    Returns:
        An entry of ``results.json`` for each finalist; an empty list if the trainings for later periods were interrupted.

    Raises:
        OSError: the folders can't be written.
        BaselineError: a user's baseline violates a rule.
    """
    settings, dataset = session.settings, session.dataset
    known = held_out(outcome.done, dataset)
    labels = known.windows.labels.numpy()
    done = _calibrated(outcome, known, dataset.horizon)
    method = ensemble_method(session)
    found = blended(done, known, dataset, settings, session.study.n_finished(), method, session.events.on_warning)
    save_models(settings.save_dir, done, found)
    openings = record_opening(session.study.storage, done, periods=dataset.n_periods, ensemble=method)
    with trainings(session.events, "Walk-forward test") if dataset.n_periods > 1 else nullcontext():
        later = refits.run(done, found)
    if isinstance(later, Decision):
        session.events.on_walk_forward_interrupted(later.reason)
        return []
    verdict = _evaluated(done, session, found, openings, later)
    entries = retrained_results(done, verdict, settings.save_dir)
    for entry, each, predictions, tested in zip(entries, done, known.of_runs, verdict.finalists, strict=True):
        mean = each.mean(predictions)
        entry["validation"] = _scores(labels, mean.after, settings.study.metric)
        entry |= {"temperature_scaling": _scaling(each, labels, mean, tested), **_costs(each.model)}
    ensemble = _ensemble(found, verdict, labels, session)
    results = {
        "confirmation": confirmation_results(confirmed),
        "retrained_models": entries,
        "ensemble": ensemble,
        ENSEMBLE_METHOD: method,
        "retraining_failures": _failures(outcome),
        **_baselines(verdict),
        "verdict": verdict_results(verdict, done[0]),
        "walk_forward": walk_forward_results(verdict),
        "full_epochs": settings.retrain.full_epochs,
        "seeds": settings.retrain.seeds,
        EVALUATION: evaluation_settings(settings),
        "retrained_after_trials": session.study.n_finished(),
    }
    cards = model_cards(done, found, results, data=dataset.description, study=settings.study.name)
    write_retrained(settings.save_dir, done, verdict, entries, ensemble=ensemble, cards=cards)
    session.final.update({**results, **_refit_of_before(session, entries[0], done[0])})
    session.events.on_test(verdict, done, openings)
    return entries


def _refit_of_before(session: Session, entry: dict[str, Any], tested: Retrained) -> dict[str, Any]:
    """Return the entries of an earlier refit of the tested model, or of its failure. An entry is None if there is none."""
    best_epochs = [run.outcome.best_epoch for run in tested.in_order]
    return {
        REFIT: kept_refit(session.save_dir, session.final.get(REFIT), entry),
        REFIT_FAILURE: kept_failure(session.final.get(REFIT_FAILURE), entry, best_epochs),
    }


def _evaluated(
    done: Sequence[Retrained],
    session: Session,
    found: Blend | None,
    openings: int,
    later: Sequence[PeriodPredictions],
) -> Verdict:
    """Return the result of :func:`.evaluate_once`. An error of a user's baseline says how to continue."""
    settings = session.settings
    try:
        return evaluate_once(done, session.dataset, settings, blend=found, evaluations=openings, later=later)
    except DataError as error:
        text = f"{error}. The retrained models are saved; correct the function and continue with:"
        command = resume_command(settings.save_dir)
        raise BaselineError(f"{text} {command}", field=error.field, code=error.code) from error


def _ensemble(
    found: Blend | None, verdict: Verdict, labels: NDArray[np.int64], session: Session
) -> dict[str, Any] | None:
    """Return the entry of the ensemble for ``results.json``; None if there is no ensemble."""
    if found is None or verdict.ensemble is None:
        return None
    costs = _sizes(found.ensemble)
    if found.latency_ms is not None:
        costs["latency"]["batch_1_ms"] = found.latency_ms  # the measured value that keeps the bound
    return {
        **ensemble_results(found, verdict.ensemble, verdict.ensemble_judgement, session.save_dir),
        "training_time": found.seconds,
        **costs,
        "temperature_scaling": _scaling(found.ensemble, labels, found.validation, verdict.ensemble),
    }


def _calibrated(outcome: Retraining, known: HeldOut, horizon: int) -> list[Retrained]:
    """Return the finalists with temperatures and conformal sets."""
    return [
        calibrated(each, each.mean(predictions).before, known.windows, horizon)
        for each, predictions in zip(outcome.done, known.of_runs, strict=True)
    ]


def _baselines(verdict: Verdict) -> dict[str, Any]:
    return {
        "baselines": baseline_results(verdict),
        "skipped_baselines": skipped_baselines(verdict.skipped_baselines),
    }


def _failures(outcome: Retraining) -> list[dict[str, Any]]:
    return [
        {"model_rank": finalist.rank, "trial_number": finalist.trial_number, "reason": reason}
        for finalist, reason in outcome.failures
    ]


def _scores(labels: NDArray[np.int64], predictions: Predictions, metric: str) -> dict[str, float | None]:
    """Return the study's metric and the log loss (nats) of a model's predictions for windows with the given classes.

    A score is None if it is undefined.
    """
    probabilities, weights = predictions.probabilities, predictions.decision_weights
    found = {
        "score": score(metric, labels, probabilities, weights),
        "log_loss": -score("log_loss", labels, probabilities),
    }
    return {name: if_defined(value) for name, value in found.items()}


def _scaling(
    model: Retrained | Ensemble, labels: NDArray[np.int64], known: Calibrated, tested: TestResult
) -> dict[str, Any]:
    """Return the entry about the temperature of a model. ``known`` has the predictions for validation windows with ``labels``."""
    return {
        "temperature": model.temperature,
        "validation": CalibrationEffect.of(labels, known).as_dict(),
        "test": None if tested.scaling is None else tested.scaling.as_dict(),
    }


def _costs(model: SavedModel) -> dict[str, Any]:
    """Return the size and the latency of a model with all its networks, and of one of its networks alone."""
    networks, lookback = [network for network, _ in model.parts()], model.description.lookback
    both = _sizes(model)
    single = measure_latency(networks[:1], lookback)._asdict() if len(networks) > 1 else both["latency"]
    return {
        **both,
        "one_network": {
            "size_mb": _size_mb(networks[:1], lookback),
            "latency": {name: single[name] for name in ("batch_1_ms", "batch_256_ms")},
        },
    }


def _sizes(model: Predictor) -> dict[str, Any]:
    """Return the size and the latency of a model with all its networks."""
    networks, lookback = [network for network, _ in model.parts()], model.description.lookback
    return {"size_mb": _size_mb(networks, lookback), "latency": measure_latency(networks, lookback)._asdict()}


def _size_mb(networks: Sequence[Network], lookback: int) -> float:
    return sum(each.config.cost(lookback=lookback).size_mb for each in networks)
