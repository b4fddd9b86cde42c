"""Single evaluation of finalists and baselines on the test set. No choice of models depends on the results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.periods import PeriodTable
from cnn_lstm_hyperopt.data.trades import TRADED
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import (
    CalibrationRow,
    Dependence,
    GroupRow,
    Interval,
    Judgement,
    Scores,
    Strategy,
    TradingRules,
    by_group,
    calibration_table,
    judge,
    level_text,
    long_flat,
    paired_interval,
    recommendation_text,
    score_interval,
    score_predictions,
    verdict_text,
    years,
)
from cnn_lstm_hyperopt.inference.conformal import Conformal
from cnn_lstm_hyperopt.inference.temperature import Calibrated
from cnn_lstm_hyperopt.metrics import as_scored, if_defined
from cnn_lstm_hyperopt.metrics import score as metric_score
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import BaselineForecasts, baseline_forecasts
from cnn_lstm_hyperopt.pipeline.calibration import CalibrationEffect
from cnn_lstm_hyperopt.pipeline.conformal_coverage import ConformalTest, conformal_test
from cnn_lstm_hyperopt.pipeline.ensemble_selection import Blend
from cnn_lstm_hyperopt.pipeline.own_baselines import Parts, forecasts_of
from cnn_lstm_hyperopt.pipeline.periods import PeriodPredictions, PeriodScores, TestPredictions, period_scores
from cnn_lstm_hyperopt.pipeline.recommendation import judged_ensemble
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.run_dir.paths import ENSEMBLE
from cnn_lstm_hyperopt.training import Predictions


@dataclass(frozen=True, eq=False)
class TestResult:
    """Test result of one model or baseline.

    Attributes:
        name: ``model 1`` …, ``ensemble``, or the name of a baseline.
        predictions: class probabilities. A finalist with a regression head also has values.
        scores: scores of the predictions by all metrics.
        score: score by the study's metric, where larger is better. The score is None if it is undefined, such as an AUC of a
            single class.
        interval: confidence interval of ``score``; None if there is no interval.
        intervals: confidence intervals of the score by the verdict's metric and of the accuracy, by name of the metric.
        against_best: paired interval of the difference: score minus score of the best baseline, both by the verdict's metric.
            The interval is None for the best baseline itself.
        seed_scores: score of each seed of a finalist by the study's metric; empty for a baseline.
        strategy: long/flat strategy of a finalist whose classes are directions; otherwise None.
        conformal: coverage of a finalist's conformal sets and intervals; None if it has no sets.
        scaling: effect of a model's temperature on the test windows; None for a baseline.
    """

    name: str
    predictions: Predictions
    scores: Scores
    score: float | None
    interval: Interval | None
    intervals: Mapping[str, Interval | None]
    against_best: Interval | None
    seed_scores: tuple[float | None, ...] = ()
    calibration: tuple[CalibrationRow, ...] = ()
    symbols: tuple[GroupRow, ...] = ()
    years: tuple[GroupRow, ...] = ()
    strategy: Strategy | None = None
    conformal: ConformalTest | None = None
    scaling: CalibrationEffect | None = None


@dataclass(frozen=True, eq=False)
class Verdict:
    """Results of all models and baselines on the test set.

    Attributes:
        judgement: judgement of model 1, the first of the confirmed candidates that could be retrained. Results of the
            other models are exploratory.
        finalists: test results of the finalists in order of rank; at least one.
        baselines: test results of the baselines, the majority class first. Persistence is included only if last labels are
            known.
        baseline_windows: number of training windows that the baselines used.
        skipped_baselines: names of baselines that are missing because their packages are not installed.
        windows: the test windows.
        metric: name of the study's metric. The judgement may use another metric.
        evaluations: number of evaluations on this test set so far, including this evaluation.
        ensemble: exploratory test result of the ensemble; None if there is no ensemble.
        ensemble_judgement: comparison of the ensemble with the best baseline and the majority class.
        recommends_ensemble: whether the ensemble is recommended instead of a single model. The test has no influence on this.
        periods: scores of each period of a walk-forward test; empty if the test set is one period.
        period_of: (windows,) number of each window's period, from 1; None if the test set is one period.
    """

    judgement: Judgement
    finalists: tuple[TestResult, ...]
    baselines: tuple[TestResult, ...]
    baseline_windows: int
    windows: Windows
    metric: str
    evaluations: int = 1
    ensemble: TestResult | None = None
    ensemble_judgement: Judgement | None = None
    recommends_ensemble: bool = False
    periods: tuple[PeriodScores, ...] = ()
    period_of: NDArray[np.int64] | None = None
    skipped_baselines: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Judgement as text, with notes about earlier evaluations and about candidates that could not be retrained."""
        first, text = self.finalists[0].name, verdict_text(self.judgement)
        if first != "model 1":
            text += f" The ranks before {first} could not be retrained."
        if self.periods:
            text += (
                f" The test set has {len(self.periods)} periods, and the models were trained again before each period."
            )
        if self.evaluations > 1:
            text += (
                f" This is evaluation {self.evaluations} of the test set, so the intervals have the level"
                f" {level_text(self.judgement.level)} instead of 95 %."
            )
        if self.recommends_ensemble and self.ensemble_judgement is not None:
            prefers_baseline = self.judgement.preferred_baseline is not None
            text += f" {recommendation_text(self.ensemble_judgement, prefers_baseline=prefers_baseline)}"
        return text


def evaluate_once(
    retrained: Sequence[Retrained],
    dataset: Dataset,
    settings: Settings,
    *,
    blend: Blend | None = None,
    evaluations: int = 1,
    later: Sequence[PeriodPredictions] = (),
) -> Verdict:
    """Evaluate all finalists, their ensemble and the baselines on the test set. All periods are judged together.

    Args:
        retrained: retrained finalists in order of rank, at least one.
        dataset: data of the study. Baselines are fitted on its training windows and tuned on its validation windows.
        settings: metrics, seed of the baselines and cost of a trade.
        blend: the ensemble, selected on validation; None if there is no ensemble.
        evaluations: number of evaluations on this test set with this one, which determines the level of all intervals.
        later: predictions of the later periods of a walk-forward test, by models that were trained again.

    Raises:
        DataError: one of the user's baselines violates a rule.
    """
    test = dataset.test.open()
    dependence = Dependence.of(test, horizon=dataset.horizon).for_evaluation(evaluations)
    first_fit = _first_fit(retrained, dataset, test, blend, settings)
    said = _with_later(first_fit, dataset, later, settings)
    predicted = said.baselines.probabilities
    first = f"model {retrained[0].finalist.rank}"
    metric, labels, compared = settings.study.metric, test.labels.numpy(), settings.verdict_metric
    record = said.finalists[0].after
    ours, decision = record.probabilities, record.decision_weights  # baselines have the same decision rule
    judgement = judge(compared, labels, ours, predicted, dependence, model=first, decision_weights=decision)
    best = judgement.best_baseline
    scored = as_scored(compared, predicted[best], decision)
    whole = _Period(test, dependence, metric, compared, best, scored, said.baselines.references)
    strategy = TradingRules.of(dataset, settings.evaluation) if dataset.target == TRADED else None
    verdict = Verdict(
        judgement=judgement,
        ensemble_judgement=judged_ensemble(compared, labels, said.ensemble, predicted, best, dependence),
        recommends_ensemble=said.ensemble is not None and blend is not None and blend.recommended,
        finalists=tuple(
            whole.model(f"model {each.finalist.rank}", predictions, runs, strategy, each.conformal, own.after)
            for each, runs, predictions, own in zip(
                retrained, said.models, said.finalists, first_fit.finalists, strict=True
            )
        ),
        ensemble=None
        if blend is None or first_fit.ensemble is None or said.ensemble is None
        else whole.model(ENSEMBLE, said.ensemble, (), strategy, blend.ensemble.conformal, first_fit.ensemble.after),
        baselines=tuple(
            whole.result(name, Predictions(each.astype(np.float32), said.baselines.values.get(name), decision))
            for name, each in predicted.items()
        ),
        baseline_windows=said.baselines.n_training_windows,
        windows=test,
        metric=metric,
        evaluations=evaluations,
        skipped_baselines=said.baselines.not_installed,
    )
    return verdict if dataset.periods is None else _by_period(verdict, dataset.periods, later)


def _first_fit(
    retrained: Sequence[Retrained], dataset: Dataset, test: Windows, blend: Blend | None, settings: Settings
) -> TestPredictions:
    """Return the predictions of models, ensemble and baselines that were fitted on the training windows of the dataset."""
    models = [each.predictions(test) for each in retrained]
    baselines = _baselines(dataset, (dataset.train, dataset.validation, test), settings)
    finalists = [each.mean(runs) for each, runs in zip(retrained, models, strict=True)]
    return TestPredictions(models, finalists, None if blend is None else blend.mean(models, test), baselines)


def _with_later(
    first_fit: TestPredictions, dataset: Dataset, later: Sequence[PeriodPredictions], settings: Settings
) -> TestPredictions:
    """Return the predictions for all test windows, with new predictions for the later periods.

    Baselines are also fitted again for each period.
    """
    said = first_fit
    for each in later:
        period = dataset.period(each.number, with_purged=True)
        forecasts = _baselines(period, (period.train, period.validation, period.test.open()), settings)
        said = said.with_period(dataset.positions(each.number), each, forecasts)
    return said


def _baselines(dataset: Dataset, parts: Parts, settings: Settings) -> BaselineForecasts:
    """Return the forecasts of the built-in and of the user's own baselines for the test windows, which come last in ``parts``."""
    found = baseline_forecasts(dataset, parts, seed=settings.study.seed)
    for reference in settings.evaluation.baselines:
        found = found.joined_by(reference, forecasts_of(reference, dataset, parts, settings))
    return found


def _by_period(verdict: Verdict, table: PeriodTable, later: Sequence[PeriodPredictions]) -> Verdict:
    """Return a copy of the verdict to which the scores of each period are added."""
    results = (*verdict.finalists, *verdict.baselines)
    positions = [table.positions(number) for number in range(1, len(table.periods) + 1)]
    period_of = np.empty(len(verdict.windows), dtype=np.int64)
    for number, there in enumerate(positions, start=1):
        period_of[there] = number
    scores = period_scores(
        verdict.windows,
        positions,
        [(len(each.train), len(each.validation)) for each in table.periods],
        {result.name: result.predictions.probabilities for result in results},
        {each.number: each.kept for each in later},
        results[0].predictions.decision_weights,
    )
    return replace(verdict, periods=scores, period_of=period_of)


@dataclass(frozen=True, eq=False)
class _Period:
    """Test set, with the references with which models and baselines are compared.

    Attributes:
        metric, verdict_metric: name of the study's metric, and name of the verdict's metric.
        best_name, best: name of the best baseline, and what the verdict's metric scores of it, ``(windows, classes)``.
        references: simple forecasts of the regression target ``(windows,)``, by name; empty without regression.
    """

    test: Windows
    dependence: Dependence
    metric: str
    verdict_metric: str
    best_name: str
    best: NDArray[np.floating]
    references: Mapping[str, NDArray[np.float32]]

    def result(self, name: str, predictions: Predictions) -> TestResult:
        """Return the test result of a model or baseline, with its scores and intervals."""
        ours, labels, values = predictions.as_scored, self.test.labels.numpy(), self.test.values
        targets = None if values is None else values.numpy()
        return TestResult(
            name=name,
            predictions=predictions,
            scores=score_predictions(
                labels,
                predictions.probabilities,
                targets=targets,
                values=predictions.values,
                references=self.references,
                dependence=self.dependence,
                decision_weights=predictions.decision_weights,
            ),
            score=if_defined(metric_score(self.metric, labels, ours(self.metric))),
            interval=score_interval(self.metric, labels, ours(self.metric), self.dependence),
            intervals={
                each: score_interval(each, labels, ours(each), self.dependence)
                for each in (self.verdict_metric, "accuracy")
            },
            against_best=None
            if name == self.best_name
            else paired_interval(self.verdict_metric, labels, ours(self.verdict_metric), self.best, self.dependence),
        )

    def model(
        self,
        name: str,
        both: Calibrated,
        runs: Sequence[Predictions],
        strategy: TradingRules | None,
        conformal: Conformal | None,
        saved: Predictions,
    ) -> TestResult:
        """Return the test result of a model, with the results for its seeds, calibration, groups, strategy and prediction sets.

        Args:
            name: name of the model.
            both: predictions of the model, which are the mean over its seeds, before and after temperature scaling. All results
                are of the predictions after it.
            runs: predictions of the network of each seed.
            strategy: trading rules of the strategy; None without a strategy.
            conformal: conformal prediction sets of the model; None if it has no sets.
            saved: predictions of the saved model. In a walk-forward test, this is the model of the first period.
        """
        predictions = both.after
        test, labels, decided = self.test, self.test.labels.numpy(), predictions.decided
        traded = None
        if strategy is not None and test.traded is not None:
            traded = long_flat(decided, test.traded, test.dates, test.symbols, strategy, self.dependence.level)
        return replace(
            self.result(name, predictions),
            seed_scores=tuple(
                if_defined(metric_score(self.metric, labels, run.as_scored(self.metric))) for run in runs
            ),
            calibration=calibration_table(labels, predictions.probabilities),
            symbols=by_group(labels, decided, test.symbols),
            years=by_group(labels, decided, year) if test.dated and (year := years(test.dates)) is not None else (),
            strategy=traded,
            conformal=conformal_test(conformal, saved, test, self.dependence),
            scaling=CalibrationEffect.of(labels, both),
        )
