"""Trials that the final phase confirms, and trials that it retrains."""

from cnn_lstm_hyperopt.pipeline.confirmation import Candidate, Confirmed
from cnn_lstm_hyperopt.pipeline.retraining import Finalist
from cnn_lstm_hyperopt.pipeline.session import Session
from cnn_lstm_hyperopt.search import chosen_trials, confirmation_candidates, with_fixed


def find_candidates(session: Session) -> list[Candidate]:
    """Return the candidates for the confirmation with their full configurations and their ranks in the Pareto front.

    A warning names the trials of ``retrain.also`` that can't be candidates.
    """
    study, settings = session.study, session.settings.retrain
    records, skill = study.records(), study.plan.skill
    if unknown := [str(each) for each in settings.also if not chosen_trials(records, skill, [each])]:
        session.events.on_warning(
            f"retrain.also: {', '.join(unknown)} is not retrained: it must be a COMPLETE trial that keeps all constraints"
        )
    ranks = {record.number: rank for rank, record in enumerate(study.front(), start=1)}
    return [
        Candidate(
            ranks.get(record.number), record.number, with_fixed(study.plan.space, record.params), record.values.score
        )
        for record in confirmation_candidates(records, skill, settings.top_k, settings.also)
        if record.values is not None
    ]


def choose_finalists(session: Session, confirmed: Confirmed) -> list[Finalist]:
    """Return the best ``retrain.top_k`` confirmed candidates, and after them the other trials of ``retrain.also``."""
    study, settings = session.study, session.settings.retrain
    also = {record.number for record in chosen_trials(study.records(), study.plan.skill, settings.also)}
    best, rest = confirmed.ranked[: settings.top_k], confirmed.ranked[settings.top_k :]
    chosen = [*best, *(each for each in rest if each.candidate.trial_number in also)]
    return [
        Finalist(rank, each.candidate.trial_number, each.candidate.params, each)
        for rank, each in enumerate(chosen, start=1)
    ]
