"""The part of ``results.json`` about the final phase: confirmation, finalists, ensemble, baselines and verdict."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.config import readable
from cnn_lstm_hyperopt.evaluation import Grade, Interval, Judgement, Returns, Strategy, probabilistic_sharpe, shrinkage
from cnn_lstm_hyperopt.evaluation.grades import COLOURS
from cnn_lstm_hyperopt.evaluation.selection_bias import DeflatedSharpe, TrialSeries
from cnn_lstm_hyperopt.inference.network_files import network_files
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.confirmation import RANKED_BY, TIME_IS_UP, Confirmation, Confirmed
from cnn_lstm_hyperopt.pipeline.conformal_coverage import ConformalTest
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.pipeline.test_evaluation import TestResult, Verdict
from cnn_lstm_hyperopt.run_dir.paths import ENSEMBLE, model_folder
from cnn_lstm_hyperopt.search import SkillThreshold
from cnn_lstm_hyperopt.utils.text import counted

METRICS_FILE, PREDICTIONS = "metrics.json", "predictions.csv"
"""Names of the two files with test results that each model's folder has."""


def confirmation_results(confirmed: Confirmed) -> dict[str, Any]:
    """Return an entry for each candidate, with its score in the search and its scores with new seeds.

    Failed candidates come last and have no rank.
    """

    def entry(confirmation: Confirmation, rank: int | None) -> dict[str, Any]:
        candidate = confirmation.candidate
        return {
            "rank": rank,
            "trial_number": candidate.trial_number,
            "search_rank": candidate.rank,
            "search_score": candidate.score,
            "scores": list(confirmation.scores),
            "mean": confirmation.mean if confirmation.scores else None,
            "standard_deviation": confirmation.deviation,
            "losses": list(confirmation.losses),
            "mean_loss": confirmation.mean_loss if confirmation.losses else None,
            "failure": confirmation.failure,
        }

    ranked = [entry(each, rank) for rank, each in enumerate(confirmed.ranked, start=1)]
    return {
        "seeds": max((len(each.scores) for each in confirmed.ranked), default=0),
        "ended_by": confirmed.ended.reason if confirmed.ended is not None else None,
        "ranked_by": RANKED_BY,
        "candidates": [*ranked, *(entry(each, None) for each in confirmed.dropped)],
    }


def retrained_results(retrained: Sequence[Retrained], verdict: Verdict, save_dir: Path) -> list[dict[str, Any]]:
    """Return an entry of ``results.json`` for each finalist, in the order of their ranks."""
    return [_retrained(each, result, save_dir) for each, result in zip(retrained, verdict.finalists, strict=True)]


def _retrained(retrained: Retrained, result: TestResult, save_dir: Path) -> dict[str, Any]:
    kept = retrained.kept
    best = kept.outcome.best
    return {
        "model_rank": retrained.finalist.rank,
        "trial_number": retrained.finalist.trial_number,
        "config_params": readable(retrained.finalist.params),
        "training_results": {
            "best_epoch": kept.outcome.best_epoch,
            "epochs": kept.outcome.epochs,
            "full_epochs": kept.epochs,
            "cut_short_by": TIME_IS_UP if kept.cut_short else None,
            "validation_accuracy": best.accuracy if best else None,
            "validation_score": best.score if best else None,
            "validation_loss": best.loss if best else None,
            "seed": kept.seed,
        },
        "test_metrics": model_metrics(result),
        "seeds": [
            {
                "seed": run.seed,
                **({} if run.fold is None else {"fold": run.fold + 1}),
                "validation_score": run.outcome.best.score if run.outcome.best else None,
                "validation_loss": run.loss,
                "test_score": score,
                "training_time": run.outcome.seconds,
            }
            for run, score in zip(retrained.runs, result.seed_scores, strict=True)
        ],
        "seed_failures": list(retrained.failures),
        "spread_over_seeds": _spread(result.seed_scores),
        "training_time": sum(run.outcome.seconds for run in retrained.runs),
        "networks": network_files([run.seed for run in retrained.in_order]),
        "model_path": str(model_folder(save_dir, retrained.finalist.rank)),
    }


def _spread(scores: Sequence[float | None]) -> dict[str, Any]:
    known = [score for score in scores if score is not None]
    if not known:
        return {"mean": None, "standard_deviation": None, "min": None, "max": None}
    return {
        "mean": float(np.mean(known)),
        "standard_deviation": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "min": min(known),
        "max": max(known),
    }


def test_metrics(result: TestResult) -> dict[str, Any]:
    """Return the test metrics of one model or baseline, with confidence intervals.

    ``test_score`` is the study's metric in the form in which larger is better. So a log loss is negated in ``test_score``,
    but not in ``test_log_loss`` and its interval.
    """
    scores = result.scores
    intervals = {f"{METRICS[name].key}_interval": _shown(name, each) for name, each in result.intervals.items()}
    return {
        "test_class_acc": scores.metrics["accuracy"],
        "test_reg_mse": scores.mse,
        **intervals,
        **{each.key: scores.metrics[name] for name, each in METRICS.items() if name != "accuracy"},
        "test_calibration_error": scores.calibration_error,
        "test_reg_mae": scores.mae,
        "test_reg_r2_against_persistence": scores.r2_against_persistence,
        "test_reg_r2": None if scores.r2 is None else scores.r2.value,
        "test_reg_r2_interval": None if scores.r2 is None else _listed(scores.r2.interval),
        "test_reg_r2_reference": None if scores.r2 is None else scores.r2.reference,
        "test_score": result.score,
        "test_score_interval": _listed(result.interval),
        "difference_to_best_baseline_interval": _listed(result.against_best),
    }


def model_metrics(result: TestResult) -> dict[str, Any]:
    """Return the test metrics of a model, with the results that baselines do not have."""
    return {
        **test_metrics(result),
        "calibration": [row._asdict() for row in result.calibration],
        "by_symbol": [row._asdict() for row in result.symbols],
        "by_year": [row._asdict() for row in result.years],
        "strategy": None if result.strategy is None else strategy_results(result.strategy),
        "conformal": None if result.conformal is None else _conformal(result.conformal),
    }


def _conformal(test: ConformalTest) -> dict[str, Any]:
    """Return the coverage of conformal sets and intervals on test."""
    classes, values = test.classes, test.values
    return {
        "level": test.conformal.level,
        "calibration_windows": test.conformal.windows,
        "coverage": classes.share,
        "coverage_interval": _listed(classes.interval),
        "mean_set_size": classes.size,
        "singletons": test.singletons,
        "value_coverage": None if values is None else values.share,
        "value_coverage_interval": None if values is None else _listed(values.interval),
        "mean_width": None if values is None else values.size,
    }


def strategy_results(strategy: Strategy) -> dict[str, Any]:
    """Return the profits, after costs, of a long/flat strategy, of buy-and-hold, and of the strategy's timing (excess)."""

    def returns(each: Returns) -> dict[str, Any]:
        return {
            "periods": len(each.returns),
            "mean_return": each.mean,
            "sharpe": each.sharpe,
            "annual_sharpe": each.annual_sharpe,
            "trades": each.n_trades,
            "final_wealth": each.final_wealth,
        }

    excess = strategy.excess
    return {
        "cost_bps": strategy.rules.cost_bps,
        "execution": strategy.rules.execution,
        "half_spread_bps": dict(strategy.rules.half_spreads),
        "long_flat": returns(strategy.model),
        "buy_and_hold": returns(strategy.hold),
        "probabilistic_sharpe": probabilistic_sharpe(strategy.model.returns),
        "excess": {
            "exposure": excess.exposure,
            "level": excess.level,
            "mean_return": excess.returns.mean,
            "mean_return_interval": _listed(excess.interval),
            "annual_return": excess.annual_return,
            "annual_return_interval": _listed(excess.annual_interval),
            "sharpe": excess.returns.sharpe,
            "annual_sharpe": excess.returns.annual_sharpe,
            "probabilistic_sharpe": probabilistic_sharpe(excess.returns.returns),
        },
    }


def baseline_results(verdict: Verdict) -> list[dict[str, Any]]:
    """Return an entry of ``results.json`` for each baseline."""
    return [
        {"name": result.name, "training_windows": verdict.baseline_windows, "test_metrics": test_metrics(result)}
        for result in verdict.baselines
    ]


def verdict_results(verdict: Verdict, retrained: Retrained) -> dict[str, Any]:
    """Return the verdict about ``retrained``, the first of the confirmed candidates that could be retrained.

    Results of other models are exploratory.
    """
    judgement, test_score = verdict.judgement, verdict.finalists[0].score
    chance, confirmation = judgement.against_chance, retrained.finalist.confirmation
    validation = confirmation.mean if confirmation is not None and confirmation.scores else None
    return {
        "grade": judgement.grade.value,
        "colour": COLOURS[judgement.grade],
        "skill": judgement.skill,
        "sentence": verdict.sentence,
        "model_rank": retrained.finalist.rank,
        "trial_number": retrained.finalist.trial_number,
        "recommended_model": ENSEMBLE if verdict.recommends_ensemble else f"model {retrained.finalist.rank}",
        "metric": judgement.metric,
        **compared_results(judgement),
        "accuracy": compared_results(judgement.accuracy or judgement),
        "mean_confidence": judgement.mean_confidence,
        "preferred_baseline": judgement.preferred_baseline,
        "level": judgement.level,
        "chance": {
            "baseline": chance.baseline,
            "metric": judgement.chance_metric,
            "score": chance.score,
            "difference": chance.difference,
            "interval": _listed(chance.interval),
        },
        "comparisons": [
            {
                "baseline": each.baseline,
                "score": each.score,
                "difference": each.difference,
                "interval": _listed(each.interval),
            }
            for each in judgement.comparisons
        ],
        "shrinkage": {
            "metric": verdict.metric,
            "search_score": None if confirmation is None else confirmation.candidate.score,
            "confirmed_score": validation,
            "test_score": test_score,
            "search_to_test": None
            if confirmation is None or test_score is None
            else shrinkage(confirmation.candidate.score, test_score),
            "confirmed_to_test": None
            if validation is None or test_score is None
            else shrinkage(validation, test_score),
        },
        "test_windows": judgement.units.n_windows,
        "test_dates": judgement.units.number if judgement.units.kind == "dates" else None,
        "test_units": {"kind": judgement.units.kind, "number": judgement.units.number},
        "test_openings": verdict.evaluations,
    }


def compared_results(judgement: Judgement) -> dict[str, Any]:
    """Return a model's score by one metric, and its comparison with the baseline that is best by this metric."""
    against = judgement.against_best
    return {
        "score": judgement.score,
        "score_interval": _listed(judgement.interval),
        "best_baseline": against.baseline,
        "difference": against.difference,
        "difference_interval": _listed(against.interval),
    }


def untested_verdict(
    skill: SkillThreshold, best: float | None, done: int, n_trials: int, *, infeasible: int = 0
) -> dict[str, Any]:
    """Return the verdict of a study in which no trial beats chance on validation, so no model was tested.

    Args:
        skill: the skill threshold, which a score must exceed to beat chance.
        best: best score of a completed trial; None if no trial is complete.
        done: number of finished trials of the study, without infeasible trials.
        n_trials: total number of trials that the study is to run.
        infeasible: number of trials that break a constraint.
    """
    so_far = " that break no constraint" if infeasible else ""
    so_far += "" if done + infeasible >= n_trials else " so far"
    reached = "no trial was completed" if best is None else f"the best trial has {best:.4f}"
    return {
        "grade": Grade.CHANCE.value,
        "colour": COLOURS[Grade.CHANCE],
        "skill": False,
        "sentence": f"None of {counted(done, 'trial')}{so_far} is clearly better than {skill.to_beat} on validation: {reached},"
        f" and {METRICS[skill.metric].article} {skill.words} above {skill.threshold:.4f} is needed. No model was tested.",
        "metric": skill.metric,
    }


def selection_results(bias: tuple[TrialSeries, DeflatedSharpe | None] | None) -> dict[str, Any]:
    """Return the probability of backtest overfitting and the deflated Sharpe ratio.

    Both numbers are estimated from the validation predictions of all trials.
    """
    if bias is None:
        reason = "no trial has left predictions on validation"
        return {"pbo": {"value": None, "why": reason}, "deflated_sharpe": None}
    series, strategy = bias
    found = series.overfitting
    return {
        "pbo": {
            "value": found.probability,
            "of": f"{series.of} by {found.unit.removesuffix('s')} on validation",
            "trials": found.n_trials,
            "trials_without_predictions": list(series.missing),
            "dates": found.n_units if found.unit == "dates" else None,
            "units": {"kind": found.unit, "number": found.n_units},
            "combinations": found.n_combinations,
            "in_sample": found.in_sample,
            "out_of_sample": found.out_of_sample,
            "why": found.reason,
        },
        "deflated_sharpe": None if strategy is None else asdict(strategy),
    }


def _shown(metric: str, interval: Interval | None) -> list[float] | None:
    """Return an interval with the usual sign of the metric. For example, a log loss is positive."""
    return None if interval is None else sorted(METRICS[metric].shown(end) for end in interval)


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
