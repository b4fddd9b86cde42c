"""The verdict: the test period is opened once, everything is measured on the same windows, and skill needs proof."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    matthews_corrcoef,
    mean_absolute_error,
    mean_squared_error,
    roc_auc_score,
)

from builders.finalists import Planted, go_on, mostly, params, planted, runner_of, sure
from cnn_lstm_hyperopt.config import DataSettings, Settings, load_settings
from cnn_lstm_hyperopt.data.dataset import Dataset, LockedPeriod, prepare_dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import (
    BASELINES,
    Dependence,
    Grade,
    calibration_table,
    long_flat,
    paired_interval,
    score_interval,
    strategy_returns,
)
from cnn_lstm_hyperopt.inference.model import load_model
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline import test_evaluation as module
from cnn_lstm_hyperopt.pipeline.retraining import Finalist, retrain
from cnn_lstm_hyperopt.pipeline.test_evaluation import Verdict, evaluate_once

SCIKIT_LEARN = {
    "accuracy": lambda labels, said: accuracy_score(labels, said.argmax(axis=1)),
    "balanced_accuracy": lambda labels, said: balanced_accuracy_score(labels, said.argmax(axis=1)),
    "mcc": lambda labels, said: matthews_corrcoef(labels, said.argmax(axis=1)),
    "auc": lambda labels, said: roc_auc_score(labels, said[:, 1]),
    "log_loss": lambda labels, said: (
        -log_loss(labels, said / said.sum(axis=1, keepdims=True))
    ),  # float32 rows are not quite 1
}


def settings_of(metric: str = "accuracy", *, seed: int = 0, cost_bps: float = 5.0) -> Settings:
    given = {"study": {"metric": metric, "seed": seed}, "evaluation": {"cost_bps": cost_bps}}
    return load_settings(given, environment={})


def unopened(dataset: Dataset, **changed) -> Dataset:
    """With a test period that nobody has opened yet; its windows may be changed."""
    return replace(dataset, test=LockedPeriod(replace(dataset.test.open(), **changed)))


@pytest.fixture(scope="module", autouse=True)
def _few_trees() -> Iterator[None]:
    """So that a verdict is quick; baselines have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BASELINES["gradient boosting"], "MAX_TREES", 10)
        yield


@pytest.fixture(scope="module")
def apples(apple) -> Dataset:
    """The volatility of one symbol, two bars ahead."""
    return apple(horizon=2)


@pytest.fixture(scope="module")
def directions() -> Dataset:
    """The direction of two symbols, two bars ahead."""
    return prepare_dataset(
        DataSettings(
            source="embedded",
            symbols=("AAPL", "IBM"),
            target="direction",
            start=date(2004, 1, 3),
            end=date(2008, 12, 31),
            lookback=10,
            horizon=2,
        )
    )


def windows_of(dataset: Dataset) -> Windows:
    return dataset.test.open()


def labels_of(dataset: Dataset):
    return dataset.test.open().labels.numpy()


def finalists_of(dataset: Dataset):
    """The first with three seeds, of which the second is best on validation; the second with a regression."""
    labels = labels_of(dataset)
    values = np.random.default_rng(1).normal(dataset.value_mean, dataset.value_std, len(labels))
    first = [mostly(labels, share, seed=seed) for seed, share in enumerate((0.6, 0.9, 0.7))]
    return [
        planted(1, *first, losses=(0.7, 0.6, 0.65)),
        planted(2, replace(mostly(labels, 0.5, seed=9), values=values)),
    ]


@pytest.fixture(scope="module")
def models(apples):
    return finalists_of(apples)


@pytest.fixture(scope="module")
def verdict(models, apples) -> Verdict:
    return evaluate_once(models, apples, settings_of())


@pytest.fixture(scope="module")
def traded(directions) -> Verdict:
    return evaluate_once(finalists_of(directions), directions, settings_of(cost_bps=20.0))


def everybody(verdict: Verdict):
    return (*verdict.finalists, *verdict.baselines)


# ---------------------------------------------------------------------- once, in order, on the same windows


def test_the_test_period_is_opened_exactly_once_for_all(models, apples):
    dataset = unopened(apples)
    evaluate_once(models, dataset, settings_of())
    assert dataset.test.times_opened == 1


def test_finalists_come_in_order_and_the_majority_class_is_the_first_baseline(verdict, apples):
    assert [result.name for result in verdict.finalists] == ["model 1", "model 2"]
    assert [result.name for result in verdict.baselines] == list(BASELINES)
    assert verdict.baselines[0].name == "majority class"
    assert verdict.windows is windows_of(apples)
    assert {len(result.predictions.probabilities) for result in everybody(verdict)} == {len(apples.test)}


def test_what_the_model_says_is_that_of_the_seed_best_on_validation(verdict, models):
    """The second of three; what seeds are worth on test is told, and nothing is chosen by it."""
    first = verdict.finalists[0]
    np.testing.assert_array_equal(first.predictions.probabilities, models[0].runs[1].model.probabilities)
    labels = verdict.windows.labels.numpy()
    right = [accuracy_score(labels, run.model.probabilities.argmax(axis=1)) for run in models[0].runs]
    assert first.seed_scores == pytest.approx(right)
    assert first.score == first.seed_scores[1]
    assert len(verdict.finalists[1].seed_scores) == 1
    assert all(result.seed_scores == () for result in verdict.baselines)


def test_the_best_seed_on_test_is_not_taken_when_another_was_best_on_validation(apples):
    labels = labels_of(apples)
    lucky = planted(1, mostly(labels, 0.95, seed=0), mostly(labels, 0.5, seed=1), losses=(0.7, 0.6))
    found = evaluate_once([lucky], apples, settings_of())
    assert max(found.finalists[0].seed_scores) > 0.9
    assert found.judgement.score == found.finalists[0].score == found.finalists[0].seed_scores[1] < 0.7


# ---------------------------------------------------------------------- numbers


def test_scores_equal_scikit_learns_on_the_test_windows(verdict, apples):
    labels = labels_of(apples)
    for result in everybody(verdict):
        said = result.predictions.probabilities.astype(np.float64)
        for name in ("accuracy", "balanced_accuracy", "mcc"):
            assert result.scores.metrics[name] == pytest.approx(SCIKIT_LEARN[name](labels, said), abs=1e-12)
        assert result.scores.metrics["auc"] == pytest.approx(SCIKIT_LEARN["auc"](labels, said))
        assert result.scores.metrics["log_loss"] == pytest.approx(-SCIKIT_LEARN["log_loss"](labels, said), rel=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_the_study_s_metric_is_what_is_judged(models, apples, metric):
    """More is better for all: a log loss has its sign turned."""
    found, labels = evaluate_once(models, apples, settings_of(metric)), labels_of(apples)
    assert found.metric == found.judgement.metric == metric
    scores = {}
    for result in everybody(found):
        said = result.predictions.probabilities.astype(np.float64)
        scores[result.name] = SCIKIT_LEARN[metric](labels, said)
        assert result.score == pytest.approx(scores[result.name], rel=1e-6, abs=1e-12)
    judged = found.judgement
    assert judged.score == found.finalists[0].score
    best = max(BASELINES, key=scores.__getitem__)
    assert judged.best_baseline == best
    assert judged.against_best.difference == pytest.approx(scores["model 1"] - scores[best], rel=1e-5)
    assert [each.baseline for each in judged.comparisons] == list(BASELINES)


def test_every_interval_holds_its_score_and_every_other_is_compared_with_the_best_baseline(verdict):
    best = next(result for result in verdict.baselines if result.name == verdict.judgement.best_baseline)
    assert best.against_best is None
    assert best.score == max(result.score for result in verdict.baselines)
    for result in everybody(verdict):
        assert 0 <= result.interval.low <= result.score <= result.interval.high <= 1
        if result is not best:
            assert result.against_best.low <= result.score - best.score <= result.against_best.high


@pytest.mark.parametrize("kind", ["dates", "groups", "windows"])
def test_intervals_are_by_group_by_date_or_of_independent_windows(models, apples, kind):
    test, labels = windows_of(apples), labels_of(apples)
    changed = {"groups": {"groups": np.arange(len(test)) % 12}, "dates": {}, "windows": {"dated": False}}[kind]
    verdict = evaluate_once(models, unopened(apples, **changed), settings_of())
    dependence = {
        "groups": Dependence.by_group(np.arange(len(test)) % 12, horizon=2),
        "dates": Dependence.by_date(test.dates, horizon=2),
        "windows": Dependence.independent(len(test), horizon=2),
    }[kind]
    assert verdict.judgement.units == dependence.units
    assert (verdict.finalists[0].years == ()) == (kind == "windows")
    best = next(result for result in verdict.baselines if result.name == verdict.judgement.best_baseline)
    for result in verdict.finalists:
        said = result.predictions.probabilities
        assert result.interval == score_interval("accuracy", labels, said, dependence)
        by_hand = paired_interval("accuracy", labels, said, best.predictions.probabilities, dependence)
        assert result.against_best == pytest.approx(by_hand)  # the baselines' probabilities are kept as float32
    assert verdict.judgement.interval == verdict.finalists[0].interval
    assert verdict.judgement.against_best.interval == verdict.finalists[0].against_best


def test_rows_by_symbol_and_year_and_the_calibration_are_of_all_windows(traded, directions):
    """And of finalists alone."""
    test, labels = windows_of(directions), labels_of(directions)
    year = test.dates.astype("datetime64[Y]").astype(int) + 1970
    for result in traded.finalists:
        right = result.predictions.classes == labels
        assert [(row.group, row.n, row.accuracy) for row in result.symbols] == [
            (name, (test.symbols == name).sum(), pytest.approx(right[test.symbols == name].mean()))
            for name in ("AAPL", "IBM")
        ]
        assert [(int(row.group), row.n) for row in result.years] == [(y, (year == y).sum()) for y in np.unique(year)]
        assert result.calibration == calibration_table(labels, result.predictions.probabilities)
        assert sum(row.n for row in result.calibration) == len(labels)
    assert all(result.symbols == result.years == result.calibration == () for result in traded.baselines)


# ---------------------------------------------------------------------- the regression


def known_values(dataset: Dataset):
    """For each test window the value of the window of the same symbol that begins ``horizon`` rows earlier, by search."""
    parts = (dataset.train, dataset.validation, dataset.test.open())
    found = {}
    for part in parts:
        for symbol, start, value in zip(part.symbols, part.starts.tolist(), part.values.tolist(), strict=True):
            found[symbol, start] = value
    test = parts[2]
    wanted = zip(test.symbols, (test.starts - dataset.horizon).tolist(), strict=True)
    return np.array([found.get(key, dataset.value_mean) for key in wanted])


@pytest.mark.parametrize("which", ["apples", "directions"])
def test_the_regression_is_measured_in_the_targets_units_against_the_last_known_value(which, request):
    dataset = request.getfixturevalue(which)
    models = finalists_of(dataset)
    found = evaluate_once(models, dataset, settings_of())
    truth, said = windows_of(dataset).values.numpy(), found.finalists[1].predictions.values
    scores = found.finalists[1].scores
    assert scores.mse == pytest.approx(mean_squared_error(truth, said), rel=1e-5)
    assert scores.mae == pytest.approx(mean_absolute_error(truth, said), rel=1e-5)
    usual = mean_squared_error(truth, known_values(dataset))
    assert scores.r2_against_persistence == pytest.approx(1 - mean_squared_error(truth, said) / usual, rel=1e-5)
    for result in (found.finalists[0], *found.baselines):  # none of them says a value
        assert (result.scores.mse, result.scores.mae, result.scores.r2_against_persistence) == (None, None, None)


def test_saying_the_last_known_value_is_worth_as_much_as_persistence(apples):
    copy = replace(mostly(labels_of(apples), 0.5, seed=0), values=known_values(apples))
    scores = evaluate_once([planted(1, copy)], apples, settings_of()).finalists[0].scores
    assert scores.r2_against_persistence == pytest.approx(0, abs=1e-6)


def test_without_regression_there_is_none_and_no_strategy(directions):
    bare = unopened(replace(directions, value_name=None, value_mean=0.0, value_std=1.0), values=None)
    bare = replace(bare, train=replace(bare.train, values=None), validation=replace(bare.validation, values=None))
    found = evaluate_once([planted(1, mostly(labels_of(directions), 0.6, seed=0))], bare, settings_of())
    assert found.finalists[0].scores.mse is None
    assert found.finalists[0].strategy is None


# ---------------------------------------------------------------------- money


def test_a_strategy_is_there_for_directions_alone(verdict, traded):
    assert all(result.strategy is None for result in everybody(verdict))
    assert all(result.strategy is not None for result in traded.finalists)
    assert all(result.strategy is None for result in traded.baselines)


def test_the_strategy_is_that_of_the_kept_seed_at_the_costs_of_the_settings(traded, directions):
    test = windows_of(directions)
    facts = {"horizon": directions.horizon, "cost_bps": 20.0}
    for result in traded.finalists:
        said = result.predictions.probabilities
        by_hand = long_flat(said, test.values.numpy(), test.dates, test.symbols, **facts)
        assert result.strategy.cost_bps == 20.0
        np.testing.assert_allclose(result.strategy.model.returns, by_hand.model.returns)
        np.testing.assert_allclose(result.strategy.hold.returns, by_hand.hold.returns)
        up = (said[:, 1] > said[:, 0]).astype(float)
        again = strategy_returns(up, test.values.numpy(), test.dates, test.symbols, **facts)
        np.testing.assert_allclose(result.strategy.model.returns, again.returns)


# ---------------------------------------------------------------------- nothing is learnt from the test period


def test_nothing_is_learnt_from_test_labels(models, apples, verdict):
    """With its labels inverted every classifier is wrong where it was right. Persistence alone says the last known label, which
    may be one of the test period: it follows, and is right as often as before, but for the first windows."""
    other = evaluate_once(models, unopened(apples, labels=1 - windows_of(apples).labels), settings_of())
    for before, after in zip(everybody(verdict), everybody(other), strict=True):
        assert before.name == after.name
        if before.name != "persistence":
            np.testing.assert_array_equal(after.predictions.probabilities, before.predictions.probabilities)
            assert after.scores.metrics["accuracy"] == pytest.approx(1 - before.scores.metrics["accuracy"])


def test_persistence_knows_the_label_that_was_last_known_and_none_after(apples):
    """A label looks two bars ahead, so on each test window the last known one is that of two windows before."""
    test = windows_of(apples)
    said = evaluate_once([planted(1, mostly(labels_of(apples), 0.5, seed=0))], apples, settings_of())
    persistence = next(result for result in said.baselines if result.name == "persistence")
    place = {start: position for position, start in enumerate(test.starts.tolist())}
    earlier = [place.get(start - 2, -1) for start in test.starts.tolist()]
    known = [(position, last) for position, last in enumerate(earlier) if last >= 0]
    assert len(known) >= len(test) - 2
    for position, last in known:
        assert persistence.predictions.classes[position] == int(test.labels[last])


def test_baselines_learn_from_training_and_choose_on_validation(apples, models, monkeypatch):
    seen = SimpleNamespace()

    def spy(train, validation, **facts):
        seen.train, seen.validation, seen.facts = train, validation, facts
        return real(train, validation, **facts)

    real = module.fit_baselines
    monkeypatch.setattr(module, "fit_baselines", spy)
    evaluate_once(models, apples, settings_of(seed=7))
    assert seen.facts == {"n_classes": 2, "seed": 7}
    for sample, part in ((seen.train, apples.train), (seen.validation, apples.validation)):
        np.testing.assert_array_equal(sample.labels, part.labels)
        np.testing.assert_array_equal(sample.inputs, part.gather(np.arange(len(part))))
        place = {start: position for position, start in enumerate(part.starts.tolist())}
        for start, last in zip(part.starts.tolist(), sample.last_labels.tolist(), strict=True):
            if start - 2 in place:
                assert last == int(part.labels[place[start - 2]])


def test_baselines_learn_from_no_more_windows_than_fit(apples, models, monkeypatch):
    """Evenly spread."""
    samples, labels = [], labels_of(apples)
    monkeypatch.setattr(module, "BASELINE_WINDOWS", 100)
    real = module.fit_baselines
    monkeypatch.setattr(module, "fit_baselines", lambda *parts, **facts: samples.extend(parts) or real(*parts, **facts))
    found = evaluate_once(models, apples, settings_of())
    train, validation = samples
    assert (len(train.labels), len(train.inputs), len(train.last_labels)) == (100, 100, 100)
    assert len(validation.labels) == 100 < len(apples.validation)
    assert all(len(result.predictions.probabilities) == len(labels) > 100 for result in found.baselines)
    chosen = [
        int(np.flatnonzero((apples.train.gather(np.arange(len(apples.train))).numpy() == row).all(axis=(1, 2)))[0])
        for row in train.inputs[::10]
    ]
    steps = np.diff(chosen)
    assert steps.min() > 0
    assert steps.max() - steps.min() <= 2  # 660 windows: about 66 between every tenth
    np.testing.assert_array_equal(train.labels[::10], apples.train.labels[chosen])
    np.testing.assert_array_equal(train.last_labels[::10][1:], apples.train.labels[np.array(chosen[1:]) - 2])


def test_baselines_are_asked_of_all_test_windows_in_parts_that_change_nothing(apples, models, monkeypatch):
    fitted, real = {}, module.fit_baselines
    monkeypatch.setattr(
        module, "fit_baselines", lambda *parts, **facts: fitted or fitted.update(real(*parts, **facts)) or fitted
    )
    whole = evaluate_once(models, apples, settings_of())
    monkeypatch.setattr(module, "BASELINE_WINDOWS", 60)  # 141 test windows: the last part is smaller
    parts = evaluate_once(models, apples, settings_of())
    for one, other in zip(whole.baselines, parts.baselines, strict=True):
        np.testing.assert_allclose(one.predictions.probabilities, other.predictions.probabilities, rtol=1e-6)


# ---------------------------------------------------------------------- the sentence


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.95])
def test_skill_is_never_said_without_an_interval_above_0(apples, monkeypatch, metric, share):
    """Against the majority class alone, so that it is quick."""
    only = {"majority class": BASELINES["majority class"]}
    monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.baselines.BASELINES", only)
    for seed in range(2):
        model = mostly(labels_of(apples), share, seed=seed)
        found = evaluate_once([planted(1, model)], apples, settings_of(metric))
        judged = found.judgement
        interval = judged.against_best.interval
        assert judged.skill == (interval is not None and interval.low > 0)
        assert judged.grade is not Grade.WORSE  # than a constant prediction, which is chance
        assert (judged.grade is Grade.CHANCE) == (not judged.against_chance.is_better)
        assert found.sentence.startswith("Model 1 has a")
        assert "constant prediction" in found.sentence or "majority class" in found.sentence
        if share == 0.95:
            assert judged.skill
        if share <= 0.5:
            assert not judged.skill


def test_the_verdict_is_about_the_first_however_good_the_others_are(apples):
    labels = labels_of(apples)
    found = evaluate_once(
        [planted(1, mostly(labels, 0.5, seed=0)), planted(2, mostly(labels, 0.97, seed=1))], apples, settings_of()
    )
    assert found.finalists[1].score > 0.9
    assert not found.judgement.skill
    assert found.sentence.startswith("Model 1 has an accuracy of ")


def test_where_the_first_could_not_be_retrained_the_next_is_named(apples):
    found = evaluate_once([planted(2, mostly(labels_of(apples), 0.95, seed=0))], apples, settings_of())
    assert found.sentence.startswith("Model 2 has ")
    assert found.sentence.endswith(" The ranks before model 2 could not be retrained.")


def test_where_no_last_label_is_known_persistence_is_no_baseline(apples):
    """As with a user's own loaders, whose windows come in an order that nobody knows."""
    test = apples.test.open()
    apart = replace(test, starts=torch.arange(len(test)) * test.lookback, series=test.series.repeat(30, 1))
    alone = replace(apples, test=LockedPeriod(apart))
    for part in ("train", "validation"):
        windows = getattr(apples, part)
        alone = replace(alone, **{part: replace(windows, symbols=np.full(len(windows), "other"))})
    found = evaluate_once([planted(1, mostly(labels_of(apples), 0.6, seed=0))], alone, settings_of())
    assert [result.name for result in found.baselines] == [
        "majority class",
        "logistic regression",
        "gradient boosting",
        "MiniRocket",
    ]
    assert found.finalists[0].scores.r2_against_persistence is None


def test_to_copy_the_best_baseline_is_no_skill(apples, verdict):
    best = next(result for result in verdict.baselines if result.name == verdict.judgement.best_baseline)
    copy = planted(1, Planted(best.predictions.probabilities))
    found = evaluate_once([copy], apples, settings_of())
    assert not found.judgement.skill
    assert found.judgement.against_best.difference == 0
    assert "which contains 0" in found.sentence


def test_a_score_that_is_not_defined_is_none_and_no_skill(apples):
    """An AUC where all test windows are of one class."""
    test = windows_of(apples)
    calm = unopened(apples, labels=test.labels * 0)
    model = planted(1, mostly(labels_of(apples), 0.9, seed=0), mostly(labels_of(apples), 0.9, seed=1))
    found = evaluate_once([model], calm, settings_of("auc"))
    assert [result.score for result in everybody(found)] == [None] * (1 + len(BASELINES))
    assert found.finalists[0].seed_scores == (None, None)
    assert found.finalists[0].interval is None
    assert not found.judgement.skill
    assert found.judgement.grade is Grade.CHANCE
    assert "is not defined" in found.sentence


def test_dates_that_are_mere_integers_have_no_years(apples):
    """As those of a user's own loaders."""
    test = windows_of(apples)
    found = evaluate_once(
        [planted(1, mostly(labels_of(apples), 0.9, seed=0))],
        unopened(apples, dates=np.arange(len(test))),
        settings_of(),
    )
    assert found.finalists[0].years == ()
    assert [row.group for row in found.finalists[0].symbols] == ["AAPL"]


# ---------------------------------------------------------------------- real models


def test_a_finalist_that_was_saved_and_loaded_gets_the_same_verdict(apples, tmp_path):
    work = retrain(
        [Finalist(1, 0, params())],
        runner_of(apples),
        apples,
        full_epochs=2,
        max_gap_days=10.0,
        checkpoints=tmp_path / "checkpoints",
        known={},
        on_report=go_on,
        on_seed_state=go_on,
        seeds=2,
    )
    found = evaluate_once(work.done, apples, settings_of())
    test = windows_of(apples)
    runs = []
    for run in work.done[0].runs:
        run.model.save(tmp_path / str(run.seed))
        runs.append(replace(run, model=load_model(tmp_path / str(run.seed))))
        said = runs[-1].model.predict_windows(test)
        assert found.finalists[0].seed_scores[run.seed - 1] == pytest.approx(
            accuracy_score(test.labels, said.probabilities.argmax(axis=1))
        )
    again = evaluate_once([replace(work.done[0], runs=tuple(runs))], apples, settings_of())
    assert again.finalists[0].scores == found.finalists[0].scores
    assert again.judgement == found.judgement
    assert all(math.isfinite(value) for value in again.finalists[0].predictions.values)


def test_confidence_counts_for_a_log_loss(apples):
    """Right as often, and sure of it or not."""
    labels = labels_of(apples)
    guesses = mostly(labels, 0.9, seed=0).probabilities.argmax(axis=1)
    bold, shy = (
        evaluate_once([planted(1, Planted(sure(guesses, confidence=share)))], apples, settings_of("log_loss"))
        for share in (0.9, 0.51)
    )
    assert bold.finalists[0].scores.metrics["accuracy"] == shy.finalists[0].scores.metrics["accuracy"]
    assert bold.judgement.score > shy.judgement.score
    assert shy.judgement.score == pytest.approx(-log_loss(labels, sure(guesses, confidence=0.51)), rel=1e-6)
