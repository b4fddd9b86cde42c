"""Evaluation on the test set: once, everything on the same windows, without learning from them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error

from builders.finalists import mostly, planted
from cnn_lstm_hyperopt.config import DataSettings, Settings, load_settings
from cnn_lstm_hyperopt.config.schema.retrain import EvaluationSettings
from cnn_lstm_hyperopt.data.dataset import Dataset, LockedPeriod, prepare_dataset
from cnn_lstm_hyperopt.evaluation import (
    BASELINES,
    Dependence,
    Grade,
    TradingRules,
    calibration_table,
    long_flat,
    paired_interval,
    score_interval,
    score_predictions,
)
from cnn_lstm_hyperopt.inference.temperature import Calibrated
from cnn_lstm_hyperopt.metrics import METRICS, score
from cnn_lstm_hyperopt.pipeline import baseline_forecasts
from cnn_lstm_hyperopt.pipeline.periods import PeriodPredictions
from cnn_lstm_hyperopt.pipeline.test_evaluation import Verdict, evaluate_once


def settings_of(metric: str = "accuracy", *, seed: int = 0, cost_bps: float = 5.0) -> Settings:
    config = {
        "study": {"metric": metric, "seed": seed},
        "evaluation": {"cost_bps": cost_bps, "verdict_metric": "study"},
    }
    return load_settings(config, environment={})


def locked(dataset: Dataset, **changed) -> Dataset:
    """With a test period that was never opened; its windows may be changed."""
    return replace(dataset, test=LockedPeriod(replace(dataset.test.open(), **changed)))


@pytest.fixture(scope="module", autouse=True)
def _few_trees() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BASELINES["gradient boosting"], "MAX_TREES", 10)
        yield


@pytest.fixture
def majority_alone(monkeypatch):
    only = {"majority class": BASELINES["majority class"]}
    monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.baselines.BASELINES", only)


@pytest.fixture(scope="module")
def apples(apple) -> Dataset:
    """The volatility of one symbol, two bars ahead."""
    return apple(horizon=2)


@pytest.fixture(scope="module")
def directions() -> Dataset:
    """The direction of two symbols, two bars ahead."""
    dates = {"start": date(2004, 1, 3), "end": date(2008, 12, 31), "lookback": 10, "horizon": 2}
    return prepare_dataset(DataSettings(source="embedded", symbols=("AAPL", "IBM"), target="direction", **dates))


def labels_of(dataset: Dataset):
    return dataset.test.open().labels.numpy()


def model_of(dataset: Dataset, share: float, seed: int = 0):
    return mostly(labels_of(dataset), share, seed=seed)


def finalists_of(dataset: Dataset):
    """The first with three seeds; the second with one seed and a regression."""
    values = np.random.default_rng(1).normal(dataset.value_mean, dataset.value_std, len(labels_of(dataset)))
    first = [model_of(dataset, share, seed) for seed, share in enumerate((0.6, 0.9, 0.7))]
    second = replace(model_of(dataset, 0.5, 9), values=values)
    return [planted(1, *first, losses=(0.7, 0.6, 0.65)), planted(2, second)]


@pytest.fixture(scope="module")
def models(apples):
    return finalists_of(apples)


@pytest.fixture(scope="module")
def verdict(models, apples) -> Verdict:
    return evaluate_once(models, apples, settings_of())


@pytest.fixture(scope="module")
def traded(directions) -> Verdict:
    return evaluate_once(finalists_of(directions), directions, settings_of(cost_bps=20.0), evaluations=3)


def everyone(verdict: Verdict):
    return (*verdict.finalists, *verdict.baselines)


def best_of(verdict: Verdict):
    return next(result for result in verdict.baselines if result.name == verdict.judgement.best_baseline)


def test_the_model_is_the_mean_of_its_seeds(verdict, models, apples):
    first, labels = verdict.finalists[0], labels_of(apples)
    mean = np.mean([run.model.probabilities for run in models[0].runs], axis=0)
    np.testing.assert_allclose(first.predictions.probabilities, mean, rtol=1e-6)
    right = [accuracy_score(labels, run.model.probabilities.argmax(axis=1)) for run in models[0].runs]
    assert first.seed_scores == pytest.approx(right)
    assert verdict.judgement.score == first.score == pytest.approx(accuracy_score(labels, mean.argmax(axis=1)))


@pytest.mark.parametrize("metric", METRICS)
def test_the_metric_of_the_study_is_judged(models, apples, metric):
    found, labels = evaluate_once(models, apples, settings_of(metric)), labels_of(apples)
    assert found.metric == found.judgement.metric == metric
    scores = {each.name: score(metric, labels, each.predictions.probabilities) for each in everyone(found)}
    for result in everyone(found):
        said = result.predictions
        assert result.score == pytest.approx(scores[result.name], rel=1e-6, abs=1e-12)
        assert result.scores.metrics == pytest.approx(score_predictions(labels, said.probabilities).metrics)
        assert result.scores.metrics["accuracy"] == pytest.approx(accuracy_score(labels, said.classes))
    judged, best = found.judgement, max(BASELINES, key=scores.__getitem__)
    assert (judged.score, judged.best_baseline) == (found.finalists[0].score, best)
    assert judged.against_best.difference == pytest.approx(scores["model 1"] - scores[best], rel=1e-5)
    assert [each.baseline for each in judged.comparisons] == list(BASELINES)


def test_the_metric_of_the_verdict_decides_and_the_second_evaluation_has_wider_intervals(models, apples):
    """Log loss by default, whatever the study maximises."""
    study = load_settings({"study": {"metric": "auc"}}, environment={})
    once, twice = (evaluate_once(models, apples, study, evaluations=k) for k in (1, 2))
    labels, first = labels_of(apples), once.finalists[0]
    assert (once.metric, once.judgement.metric, once.judgement.accuracy.metric) == ("auc", "log_loss", "accuracy")
    assert (once.judgement.level, twice.judgement.level) == (0.95, 0.975)
    assert first.score == pytest.approx(score("auc", labels, first.predictions.probabilities), rel=1e-6)
    assert once.judgement.best_baseline == min(once.baselines, key=lambda each: each.scores.metrics["log_loss"]).name
    assert ("evaluation 2" in twice.sentence, "97.5 % interval" in twice.sentence, "97.5" in once.sentence) == (1, 1, 0)
    for narrow, wide in zip(everyone(once), everyone(twice), strict=True):
        pairs = [(narrow.interval, wide.interval), (narrow.against_best, wide.against_best)]
        pairs += [(narrow.intervals[name], wide.intervals[name]) for name in ("log_loss", "accuracy")]
        assert all(a.low >= b.low and a.high <= b.high for a, b in pairs if a is not None)


@pytest.mark.parametrize("kind", ["dates", "integers", "groups", "windows"])
def test_intervals_are_by_group_by_date_or_of_independent_windows(models, apples, kind, majority_alone):
    test, labels = apples.test.open(), labels_of(apples)
    groups, numbers = np.arange(len(test)) % 12, np.arange(len(test))
    changed, dependence = {
        "groups": ({"groups": groups}, Dependence.by_group(groups, horizon=2)),
        "dates": ({}, Dependence.by_date(test.dates, horizon=2)),
        "integers": ({"dates": numbers}, Dependence.by_date(numbers, horizon=2)),
        "windows": ({"dated": False}, Dependence.independent(len(test), horizon=2)),
    }[kind]
    verdict = evaluate_once(models, locked(apples, **changed), settings_of())
    judged, best = verdict.judgement, best_of(verdict)
    assert (judged.units, best.against_best) == (dependence.units, None)
    assert (verdict.finalists[0].years == ()) == (kind in ("windows", "integers"))
    for result in verdict.finalists:
        said = result.predictions.probabilities
        assert result.interval == score_interval("accuracy", labels, said, dependence)
        by_hand = paired_interval("accuracy", labels, said, best.predictions.probabilities, dependence)
        assert result.against_best == pytest.approx(by_hand)
    first = verdict.finalists[0]
    assert (judged.interval, judged.against_best.interval) == (first.interval, first.against_best)


def test_groups_calibration_and_strategy_of_models_are_those_by_hand(verdict, traded, directions):
    """At the costs of the settings; baselines have none, and only directions are traded."""
    test, labels = directions.test.open(), labels_of(directions)
    year = test.dates.astype("datetime64[Y]").astype(int) + 1970
    rules = TradingRules(2, 20.0, {"AAPL": 2.0, "IBM": 2.0})
    for result in traded.finalists:
        right, said = result.predictions.classes == labels, result.predictions.probabilities
        assert [(row.group, row.n, row.accuracy) for row in result.symbols] == [
            (name, (test.symbols == name).sum(), pytest.approx(right[test.symbols == name].mean()))
            for name in ("AAPL", "IBM")
        ]
        assert [(int(row.group), row.n) for row in result.years] == [(y, (year == y).sum()) for y in np.unique(year)]
        assert result.calibration == calibration_table(labels, said)
        assert sum(row.n for row in result.calibration) == len(labels)
        by_hand = long_flat(said, test.traded, test.dates, test.symbols, rules)
        assert result.strategy.rules == rules
        for name in ("model", "hold"):
            np.testing.assert_allclose(getattr(result.strategy, name).returns, getattr(by_hand, name).returns)
        np.testing.assert_allclose(result.strategy.excess.returns.returns, by_hand.excess.returns.returns)
        third, narrow = result.strategy.excess, by_hand.excess
        assert (third.level, narrow.level) == (pytest.approx(1 - 0.05 / 3), 0.95)
        assert third.interval.low < narrow.interval.low < narrow.interval.high < third.interval.high
    for result in traded.baselines:
        assert (result.symbols, result.years, result.calibration, result.strategy) == ((), (), (), None)
    assert all(result.strategy is None for result in everyone(verdict))


def known_values(dataset: Dataset):
    """For each test window the value of the same symbol's window that begins ``horizon`` rows earlier, by search."""
    found = {}
    for part in (dataset.train, dataset.validation, dataset.test.open()):
        for symbol, start, value in zip(part.symbols, part.starts.tolist(), part.values.tolist(), strict=True):
            found[symbol, start] = value
    wanted = zip(part.symbols, (part.starts - dataset.horizon).tolist(), strict=True)
    return np.array([found.get(key, dataset.value_mean) for key in wanted])


@pytest.mark.parametrize("which", ["apples", "directions"])
def test_the_regression_is_measured_in_the_targets_units_against_the_best_simple_forecast(which, request, monkeypatch):
    quick = {name: BASELINES[name] for name in ("majority class", "persistence", "ridge regression")}
    monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.baselines.BASELINES", quick)
    dataset = request.getfixturevalue(which)
    copy = replace(model_of(dataset, 0.5), values=known_values(dataset))
    found = evaluate_once([*finalists_of(dataset), planted(3, copy)], dataset, settings_of())
    truth, said = dataset.test.open().values.numpy(), found.finalists[1].predictions.values
    scores, usual = found.finalists[1].scores, mean_squared_error(truth, known_values(dataset))
    assert scores.mse == pytest.approx(mean_squared_error(truth, said), rel=1e-5)
    assert scores.mae == pytest.approx(mean_absolute_error(truth, said), rel=1e-5)
    assert scores.r2_against_persistence == pytest.approx(1 - mean_squared_error(truth, said) / usual, rel=1e-5)
    assert found.finalists[2].scores.r2_against_persistence == pytest.approx(0, abs=1e-6)  # persistence itself
    mean, persistence, ridge = (result.scores.mse for result in found.baselines)
    assert (mean, persistence) == pytest.approx((np.mean((truth - dataset.value_mean) ** 2), usual), rel=1e-5)
    best = "ridge regression" if which == "apples" else "training mean"  # nothing forecasts a direction
    assert min(mean, persistence, ridge) == (ridge if which == "apples" else mean)
    assert scores.r2.reference == best
    assert scores.r2.value == pytest.approx(1 - scores.mse / min(mean, persistence, ridge))
    assert scores.r2.interval.low < scores.r2.value < scores.r2.interval.high
    assert (found.finalists[0].scores.mse, found.finalists[0].scores.r2) == (None, None)


def test_a_test_period_is_opened_once_and_nothing_is_learnt_from_its_labels(models, apples, verdict):
    """With inverted labels every classifier is wrong where it was right, except those which follow them."""
    inverted = locked(apples, labels=1 - apples.test.open().labels)
    opened = inverted.test.times_opened
    other = evaluate_once(models, inverted, settings_of())
    assert inverted.test.times_opened == opened + 1
    assert [result.name for result in everyone(other)] == ["model 1", "model 2", *BASELINES]
    for before, after in zip(everyone(verdict), everyone(other), strict=True):
        assert (before.name, len(after.predictions.probabilities)) == (after.name, len(apples.test))
        if before.name not in ("persistence", "rolling frequency"):
            np.testing.assert_array_equal(after.predictions.probabilities, before.predictions.probabilities)
            assert after.scores.metrics["accuracy"] == pytest.approx(1 - before.scores.metrics["accuracy"])


def known_labels(windows):
    """Of each window, by search: the label of the window that starts the horizon of two rows earlier, or None."""
    place = {start: position for position, start in enumerate(windows.starts.tolist())}
    found = [place.get(start - 2) for start in windows.starts.tolist()]
    return [None if position is None else int(windows.labels[position]) for position in found]


def test_persistence_predicts_the_last_known_label_and_none_after(apples, verdict):
    persistence = next(result for result in verdict.baselines if result.name == "persistence")
    expected = known_labels(apples.test.open())
    assert expected.count(None) <= 2
    pairs = zip(persistence.predictions.classes.tolist(), expected, strict=True)
    assert all(found == known for found, known in pairs if known is not None)


@pytest.mark.parametrize("limit", [10**6, 100])
def test_baselines_learn_from_evenly_spread_training_windows_and_choose_on_validation(
    apples, models, monkeypatch, limit
):
    seen, real = [], baseline_forecasts.fit_baselines
    spy = lambda *parts, **facts: seen.append((parts, facts)) or real(*parts, **facts)  # noqa: E731
    monkeypatch.setattr(baseline_forecasts, "fit_baselines", spy)
    monkeypatch.setattr(baseline_forecasts, "BASELINE_WINDOWS", limit)
    evaluate_once(models, apples, settings_of(seed=7))
    ((samples, facts),) = seen
    assert facts == {"n_classes": 2, "seed": 7, "kinds": None}
    for sample, part in zip(samples, (apples.train, apples.validation), strict=True):
        inputs, known = part.gather(np.arange(len(part))).numpy(), known_labels(part)
        chosen = [int(np.flatnonzero((inputs == row).all(axis=(1, 2)))[0]) for row in sample.inputs]
        assert len(sample.labels) == len(chosen) == min(limit, len(part))
        assert 0 < min(np.diff(chosen)) <= max(np.diff(chosen)) <= min(np.diff(chosen)) + 1
        np.testing.assert_array_equal(sample.labels, part.labels[chosen])
        last = zip(sample.last_labels.tolist(), (known[place] for place in chosen), strict=True)
        assert all(found == expected for found, expected in last if expected is not None)


def test_parts_of_the_test_windows_change_no_prediction(apples, models, monkeypatch):
    fitted, real = {}, baseline_forecasts.fit_baselines
    fit_once = lambda *parts, **facts: fitted or fitted.update(real(*parts, **facts)) or fitted  # noqa: E731
    monkeypatch.setattr(baseline_forecasts, "fit_baselines", fit_once)
    whole = evaluate_once(models, apples, settings_of())
    monkeypatch.setattr(baseline_forecasts, "BASELINE_WINDOWS", 60)
    parts = evaluate_once(models, apples, settings_of())
    for one, other in zip(whole.baselines, parts.baselines, strict=True):
        np.testing.assert_allclose(one.predictions.probabilities, other.predictions.probabilities, rtol=1e-6)


def test_the_verdict_is_about_the_first_model_however_good_the_others_are(apples, majority_alone):
    both = [planted(1, model_of(apples, 0.5)), planted(2, model_of(apples, 0.97, 1))]
    found = evaluate_once(both, apples, settings_of())
    assert found.finalists[1].score > 0.9
    assert (found.judgement.model, found.judgement.skill) == ("model 1", False)
    alone = evaluate_once(both[1:], apples, settings_of())  # the first could not be retrained
    assert alone.judgement.model == "model 2"
    assert alone.sentence.count("odel 2") == 2


def test_baselines_of_last_labels_and_of_bars_need_these(apples):
    test = apples.test.open()
    apart = replace(test, starts=torch.arange(len(test)) * test.lookback, series=test.series.repeat(30, 1))
    alone = replace(apples, test=LockedPeriod(apart), market=None)
    for part in ("train", "validation"):
        windows = getattr(apples, part)
        alone = replace(alone, **{part: replace(windows, symbols=np.full(len(windows), "other"))})
    found = evaluate_once([planted(1, model_of(apples, 0.6))], alone, settings_of())
    assert [result.name for result in found.baselines] == [
        name for name in BASELINES if name not in ("persistence", "rolling frequency", "GARCH")
    ]
    assert found.finalists[0].scores.r2_against_persistence is None


def test_an_undefined_score_is_none_and_no_skill(apples):
    """An AUC of test windows of one class."""
    calm = locked(apples, labels=apples.test.open().labels * 0)
    found = evaluate_once([planted(1, model_of(apples, 0.9), model_of(apples, 0.9, 1))], calm, settings_of("auc"))
    assert [result.score for result in everyone(found)] == [None] * (1 + len(BASELINES))
    assert (found.finalists[0].seed_scores, found.finalists[0].interval) == ((None, None), None)
    assert (found.judgement.skill, found.judgement.grade) == (False, Grade.CHANCE)


def test_each_period_has_the_predictions_of_its_own_models_and_baselines_and_all_are_judged_together(monkeypatch):
    quick = {name: BASELINES[name] for name in ("majority class", "persistence")}
    monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.baselines.BASELINES", quick)
    settings = DataSettings(source="embedded", symbols=("AAPL", "IBM"), target="volatility", lookback=10, horizon=2)
    dataset = prepare_dataset(settings, evaluation=EvaluationSettings(test_periods=3))
    first, later, there = model_of(dataset, 0.7), [], [dataset.positions(number) for number in (1, 2, 3)]
    for number in (2, 3):
        model = mostly(labels_of(dataset)[there[number - 1]], 0.6, seed=number)
        said = model.predict_windows(dataset.period(number).test.open())
        later.append(PeriodPredictions(number, [[said]], [Calibrated(said, said)], None, ()))
    found = evaluate_once([planted(1, first)], dataset, settings_of(), later=later)
    labels, pooled = labels_of(dataset), first.probabilities.copy()
    for each in later:
        pooled[there[each.number - 1]] = each.models[0][0].probabilities
    np.testing.assert_allclose(found.finalists[0].predictions.probabilities, pooled, rtol=1e-6)
    assert found.finalists[0].score == pytest.approx((pooled.argmax(axis=1) == labels).mean())
    assert found.sentence.endswith("The test set has 3 periods, and the models were trained again before each period.")
    majority, persistence = (result.predictions for result in found.baselines)
    for number, (period, rows) in enumerate(zip(found.periods, there, strict=True), start=1):
        trained = dataset.period(number).train
        shares = np.bincount(trained.labels.numpy()) / len(trained)
        np.testing.assert_allclose(majority.probabilities[rows], np.tile(shares, (len(rows), 1)), rtol=1e-4)
        assert (found.period_of[rows] == number).all()
        assert (period.windows, period.train_windows) == (len(rows), len(trained))
        assert period.log_loss["model 1"] == pytest.approx(log_loss(labels[rows], pooled[rows].astype(float)), rel=1e-5)
        assert period.accuracy["model 1"] == pytest.approx(accuracy_score(labels[rows], pooled[rows].argmax(axis=1)))
    known = known_labels(dataset.test.open())
    pairs = [
        (said, label) for said, label in zip(persistence.classes.tolist(), known, strict=True) if label is not None
    ]
    assert all(said == label for said, label in pairs)  # also the labels that are known at the begin of a period
