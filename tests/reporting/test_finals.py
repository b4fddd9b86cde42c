"""results.json after the search: keys, strict JSON, and the folders of the models."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from builders.finalists import confirmation, mostly, planted
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import LockedPeriod
from cnn_lstm_hyperopt.evaluation import BASELINES, Overfitting, probabilistic_sharpe
from cnn_lstm_hyperopt.evaluation.grades import COLOURS
from cnn_lstm_hyperopt.evaluation.selection_bias import DeflatedSharpe, TrialSeries
from cnn_lstm_hyperopt.pipeline.confirmation import TIME_IS_UP, Confirmed
from cnn_lstm_hyperopt.pipeline.results.final_results import (
    baseline_results,
    confirmation_results,
    retrained_results,
    selection_results,
    strategy_results,
    untested_verdict,
    verdict_results,
)
from cnn_lstm_hyperopt.pipeline.results.final_results import (
    test_metrics as metrics_of,  # its own name is that of a test
)
from cnn_lstm_hyperopt.pipeline.results.model_folders import holds_model, save_models, write_retrained
from cnn_lstm_hyperopt.pipeline.test_evaluation import evaluate_once
from cnn_lstm_hyperopt.progress import Action, Decision
from cnn_lstm_hyperopt.run_dir.paths import model_folder
from cnn_lstm_hyperopt.search import SkillThreshold
from cnn_lstm_hyperopt.utils.atomic_io import write_json


@pytest.fixture(scope="module")
def dataset(apple):
    """Its labels are taken for directions, so that there is a strategy, too."""
    return replace(apple(), target="direction")


@pytest.fixture(scope="module")
def models(dataset):
    """The first with three seeds, the second best on validation, and a fourth that failed; the second with values."""
    labels = dataset.test.open().labels.numpy()
    values = np.full(len(labels), dataset.value_mean)
    return [
        planted(
            1,
            *[mostly(labels, share, seed=seed) for seed, share in enumerate((0.6, 0.9, 0.7))],
            losses=(0.7, 0.6, 0.65),
            failures=("seed 4: out of memory",),
            confirmed=confirmation(3, 10, 0.66, 0.6, 0.62),
        ),
        planted(2, replace(mostly(labels, 0.5, seed=9), values=values)),
    ]


def judged(models, dataset, metric="accuracy"):
    return evaluate_once(models, dataset, load_settings({"study": {"metric": metric}}, environment={}))


@pytest.fixture(scope="module")
def verdict(models, dataset):
    return judged(models, dataset)


def strict(tree):
    """What other programs read of it."""
    return json.loads(json.dumps(tree, allow_nan=False))


# ---------------------------------------------------------------------- confirmation


def test_candidates_come_by_rank_and_those_that_failed_last():
    ranked = [confirmation(2, 7, 0.6, 0.61, 0.59), confirmation(1, 4, 0.7, 0.5, 0.52)]
    failed = confirmation(3, 9, 0.58, 0.6, failure="fresh seed 2: out of memory")
    found = strict(confirmation_results(Confirmed(ranked, [failed], None)))
    assert (found["seeds"], found["ended_by"]) == (2, None)
    keys = ("rank", "trial_number", "search_rank", "search_score", "scores", "mean", "standard_deviation", "failure")
    spread = [pytest.approx(np.std(scores, ddof=1)) for scores in ([0.61, 0.59], [0.5, 0.52])]
    assert found["candidates"] == [
        dict(zip(keys, row, strict=True))
        for row in (
            (1, 7, 2, 0.6, [0.61, 0.59], pytest.approx(0.6), spread[0], None),
            (2, 4, 1, 0.7, [0.5, 0.52], pytest.approx(0.51), spread[1], None),
            (None, 9, 3, 0.58, [0.6], 0.6, None, "fresh seed 2: out of memory"),
        )
    ]


def test_without_a_round_there_are_no_means():
    ended = Decision(Action.STOP, TIME_IS_UP)
    found = strict(confirmation_results(Confirmed([confirmation(1, 4, 0.7)], [], ended)))
    assert (found["seeds"], found["ended_by"]) == (0, "limits.retrain_seconds")
    assert (found["candidates"][0]["mean"], found["candidates"][0]["scores"]) == (None, [])
    assert strict(confirmation_results(Confirmed([], [], None))) == {"seeds": 0, "ended_by": None, "candidates": []}


# ---------------------------------------------------------------------- finalists


def test_an_entry_has_the_keys_of_the_specification_and_seeds_beside(models, verdict, tmp_path):
    first, second = strict(retrained_results(models, verdict, tmp_path))
    keys = "model_rank trial_number config_params training_results test_metrics seeds seed_failures spread_over_seeds"
    assert list(first) == [*keys.split(), "training_time", "model_path"]
    assert (first["model_rank"], first["trial_number"], second["model_rank"]) == (1, 10, 2)
    assert first["model_path"] == str(tmp_path / "retrained_model_1")
    assert isinstance(first["config_params"]["cnn.filter_sizes"], list)
    validation = dict.fromkeys(("validation_accuracy", "validation_score", "validation_loss"), 0.6)
    epochs = {"best_epoch": 1, "epochs": 2.0, "full_epochs": 2, "cut_short_by": None}
    assert first["training_results"] == {**epochs, **validation, "seed": 2}
    assert first["training_time"] == 3.5
    assert first["seed_failures"] == ["seed 4: out of memory"]
    assert second["seed_failures"] == []
    scores = [seed["test_score"] for seed in first["seeds"]]
    assert scores == list(verdict.finalists[0].seed_scores)
    assert [(seed["seed"], seed["validation_loss"]) for seed in first["seeds"]] == [(1, 0.7), (2, 0.6), (3, 0.65)]
    keys = ("mean", "standard_deviation", "min", "max")
    spread = [first["spread_over_seeds"][key] for key in keys]
    assert spread == pytest.approx([np.mean(scores), np.std(scores, ddof=1), min(scores), max(scores)])
    alone = second["seeds"][0]["test_score"]
    assert second["spread_over_seeds"] == dict(zip(keys, (alone, None, alone, alone), strict=True))
    cut = replace(models[1], runs=(replace(models[1].runs[0], cut_short=True),))
    entry = retrained_results([models[0], cut], verdict, tmp_path)[1]
    assert entry["training_results"]["cut_short_by"] == "limits.retrain_seconds"


def test_metrics_of_a_finalist_hold_its_rows_and_those_of_a_baseline_do_not(models, verdict, tmp_path):
    entry = retrained_results(models, verdict, tmp_path)[1]["test_metrics"]
    plain = metrics_of(verdict.finalists[1])
    assert list(entry) == [*plain, "calibration", "by_symbol", "by_year", "strategy"]
    keys = (
        "class_acc class_acc_interval reg_mse balanced_accuracy mcc auc log_loss calibration_error reg_mae"
        " reg_r2_against_persistence score score_interval"
    )
    assert list(plain) == [*(f"test_{key}" for key in keys.split()), "difference_to_best_baseline_interval"]
    assert list(entry["calibration"][0]) == ["low", "high", "n", "confidence", "right"]
    assert list(entry["by_symbol"][0]) == ["group", "n", "accuracy", "balanced_accuracy", "majority_share"]
    assert sum(row["n"] for row in entry["by_year"]) == len(verdict.windows)
    assert entry["test_reg_mse"] > 0
    baselines = strict(baseline_results(verdict))
    assert [each["name"] for each in baselines] == list(BASELINES)
    assert all(list(each["test_metrics"]) == list(plain) for each in baselines)
    best = next(each for each in baselines if each["name"] == verdict.judgement.best_baseline)
    assert best["test_metrics"]["difference_to_best_baseline_interval"] is None
    assert len(plain["difference_to_best_baseline_interval"]) == 2


def test_a_log_loss_is_told_as_usual_and_its_score_with_its_sign_turned(models, dataset, tmp_path):
    metrics = retrained_results(models, judged(models, dataset, "log_loss"), tmp_path)[0]["test_metrics"]
    assert metrics["test_log_loss"] > 0
    assert metrics["test_score"] == pytest.approx(-metrics["test_log_loss"])
    low, high = metrics["test_score_interval"]
    assert low < metrics["test_score"] < high < 0


def test_a_strategy_is_told_beside_holding(verdict):
    strategy = verdict.finalists[0].strategy
    found = strict(strategy_results(strategy))
    assert found["cost_bps"] == 5.0
    keys = ("periods", "mean_return", "sharpe", "annual_sharpe", "trades", "final_wealth")
    for name, each in (("long_flat", strategy.model), ("buy_and_hold", strategy.hold)):
        figures = len(each.returns), each.returns.mean(), each.sharpe, each.annual_sharpe, each.n_trades
        assert list(found[name]) == list(keys)
        assert list(found[name].values()) == pytest.approx([*figures, np.prod(1 + each.returns)])
    assert found["probabilistic_sharpe"] == pytest.approx(probabilistic_sharpe(strategy.model.returns))


# ---------------------------------------------------------------------- the verdict


def test_the_verdict_is_the_judgement_of_the_first_and_how_it_got_there(models, verdict):
    found = strict(verdict_results(verdict, models[0], openings=3))
    judgement = verdict.judgement
    against = judgement.against_best
    dates = len(np.unique(verdict.windows.dates))
    intervals = {"score_interval": list(judgement.interval), "difference_interval": list(against.interval)}
    expected = {
        "skill": judgement.skill,
        "grade": judgement.grade,
        "colour": COLOURS[judgement.grade],
        "sentence": verdict.sentence,
        "metric": "accuracy",
        "score": judgement.score,
        **intervals,
        "model_rank": 1,
        "trial_number": 10,
        "best_baseline": judgement.best_baseline,
        "difference": against.difference,
        "test_windows": len(verdict.windows),
        "test_units": {"kind": "dates", "number": dates},
        "test_dates": dates,
        "test_openings": 3,
    }
    assert {name: found[name] for name in expected} == expected
    assert found["skill"] is (found["grade"] == "better than every baseline")
    chance = {"metric": "balanced_accuracy", "score": 0.5, "interval": list(judgement.against_chance.interval)}
    assert {name: found["chance"][name] for name in chance} == chance
    assert [each["baseline"] for each in found["comparisons"]] == list(BASELINES)
    assert max(found["comparisons"], key=lambda each: each["score"])["baseline"] == found["best_baseline"]
    steps, score = found["shrinkage"], judgement.score
    assert list(steps) == ["search_score", "confirmed_score", "test_score", "search_to_test", "confirmed_to_test"]
    assert list(steps.values()) == pytest.approx([0.66, 0.61, score, 0.66 - score, 0.61 - score])


@pytest.mark.parametrize(("confirmed", "known"), [(None, None), (confirmation(1, 10, 0.66), 0.66)])
def test_what_was_not_confirmed_has_no_confirmed_score(models, verdict, confirmed, known):
    finalist = replace(models[0].finalist, confirmation=confirmed)
    found = strict(verdict_results(verdict, replace(models[0], finalist=finalist), openings=1))["shrinkage"]
    assert (found["search_score"], found["confirmed_score"], found["confirmed_to_test"]) == (known, None, None)
    assert (found["search_to_test"] is None) == (known is None)


def test_a_score_that_is_not_defined_is_null_in_strict_json(models, dataset, tmp_path):
    """An AUC of a test period of a single class; the file can be written all the same."""
    test = dataset.test.open()
    calm = replace(dataset, test=LockedPeriod(replace(test, labels=test.labels * 0)))
    verdict = judged(models, calm, "auc")
    entries = retrained_results(models, verdict, tmp_path)
    results = {
        "retrained_models": entries,
        "baselines": baseline_results(verdict),
        "verdict": verdict_results(verdict, models[0], openings=1),
    }
    write_json(tmp_path / "results.json", results)
    found = json.loads((tmp_path / "results.json").read_text())
    metrics = found["retrained_models"][0]["test_metrics"]
    assert (metrics["test_score"], metrics["test_auc"], metrics["test_score_interval"]) == (None, None, None)
    assert set(found["retrained_models"][0]["spread_over_seeds"].values()) == {None}
    verdict = found["verdict"]
    assert (verdict["score"], verdict["difference"], verdict["shrinkage"]["search_to_test"]) == (None, None, None)
    assert verdict["skill"] is False


@pytest.mark.parametrize(
    ("metric", "to_beat"), [("accuracy", "the majority class"), ("mcc", "the best constant prediction")]
)
def test_without_a_model_that_was_tested_the_grade_is_chance(metric, to_beat):
    skill = SkillThreshold.on(metric, [np.arange(100) % 2])
    found = untested_verdict(skill, 0.55, 40, 40)
    assert list(found) == ["grade", "colour", "skill", "sentence", "metric"]
    assert (found["grade"], found["colour"], found["skill"]) == ("no better than chance", "red", False)
    assert all(part in found["sentence"] for part in ("40 trials", to_beat, "0.5500", f"{skill.threshold:.4f}"))
    assert "3 trials" in untested_verdict(skill, 0.55, 3, 40)["sentence"]
    assert "0." not in untested_verdict(skill, None, 3, 40)["sentence"].replace(f"{skill.threshold:.4f}", "")


def test_windows_without_dates_are_not_called_dates(models, dataset):
    test = dataset.test.open()
    for changed, units in (
        ({"dated": False}, {"kind": "windows", "number": len(test)}),
        ({"groups": np.arange(len(test)) % 7}, {"kind": "groups", "number": 7}),
    ):
        other = replace(dataset, test=LockedPeriod(replace(test, **changed)))
        verdict = judged(models, other, "accuracy")
        found = strict(verdict_results(verdict, models[0], openings=1))
        assert (found["test_units"], found["test_dates"]) == (units, None)
        assert "dates" not in found["sentence"]


# ---------------------------------------------------------------------- selection


def test_overfitting_and_the_deflated_sharpe_ratio_are_told_with_what_they_are_of():
    overfitting = Overfitting(0.25, 40, 300, "dates", 12870, 0.61, 0.57, None)
    series = TrialSeries(tuple(range(40)), (41, 42), "accuracy", overfitting, ())
    found = strict(selection_results((series, DeflatedSharpe(7, 40, 0.05, 0.8, 0.42))))
    counts = {"trials": 40, "trials_without_predictions": [41, 42], "dates": 300, "combinations": 12870}
    values = {"value": 0.25, "in_sample": 0.61, "out_of_sample": 0.57, "why": None}
    units = {"of": "accuracy by date on validation", "units": {"kind": "dates", "number": 300}}
    assert found["pbo"] == {**counts, **values, **units}
    sharpe = {"sharpe": 0.05, "annual_sharpe": 0.8, "deflated": 0.42}
    assert found["deflated_sharpe"] == {"trial_number": 7, "n_trials": 40, **sharpe}


def test_what_is_not_known_of_overfitting_is_null_with_its_reason():
    overfitting = Overfitting(None, 40, 20, "dates", 0, None, None, "too few dates")
    few = selection_results((TrialSeries(tuple(range(40)), (), "accuracy", overfitting, None), None))
    assert (few["pbo"]["value"], few["pbo"]["why"], few["deflated_sharpe"]) == (None, "too few dates", None)
    nothing = selection_results(None)
    assert nothing["pbo"]["value"] is None
    assert nothing["pbo"]["why"]


# ---------------------------------------------------------------------- folders


def test_each_model_has_its_folder_with_metrics_and_predictions(models, verdict, tmp_path):
    entries = retrained_results(models, verdict, tmp_path)
    save_models(tmp_path, models)
    write_retrained(tmp_path, models, verdict, entries)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["retrained_model_1", "retrained_model_2"]
    windows = verdict.windows
    for entry, result in zip(entries, verdict.finalists, strict=True):
        folder = model_folder(tmp_path, entry["model_rank"])
        assert json.loads((folder / "metrics.json").read_text()) == strict(entry)
        frame = pd.read_csv(folder / "predictions.csv", parse_dates=["date"])
        values = ["value"] if result.predictions.values is not None else []
        first = ["date", "symbol", "label", "class", "class_name", "probability_0", "probability_1"]
        ranges = ["range_percent"] if values else []
        assert list(frame) == [*first, *values, *ranges, "target", "target_range_percent"]
        assert set(zip(frame["class"], frame["class_name"], strict=True)) <= {(0, "calm"), (1, "volatile")}
        np.testing.assert_array_equal(frame["label"], windows.labels)
        np.testing.assert_array_equal(frame["date"].to_numpy(), windows.dates)
        np.testing.assert_allclose(frame["probability_1"], result.predictions.probabilities[:, 1], rtol=1e-6)
        assert (frame["class"] == frame["label"]).mean() == pytest.approx(entry["test_metrics"]["test_class_acc"])
        np.testing.assert_allclose(frame["target"], windows.values, rtol=1e-6)


OURS, FOREIGN = {"old": "old", "model.json": "{}"}, {"notes.txt": "mine"}


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ({"retrained_model_1": OURS, "retrained_model_7": OURS, ".retrained_model_1.part": OURS}, []),
        ({"retrained_model_1": OURS, ".retrained_model_1.old": OURS, ".retrained_model_3.part": OURS}, []),
        (
            dict.fromkeys(names := ["retrained_model_9", "retrained_model_1_copy", ".retrained_model_1_mine"], FOREIGN),
            names,
        ),
        ({"retrained_model_1": FOREIGN}, ["retrained_model_1.kept"]),
    ],
    ids=["earlier models", "of a killed run", "named alike", "files of the user"],
)
def test_new_folders_replace_old_models_and_nothing_else(models, verdict, tmp_path, before, kept):
    for name, files in before.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    save_models(tmp_path, models)
    write_retrained(tmp_path, models, verdict, retrained_results(models, verdict, tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"retrained_model_1", "retrained_model_2", *kept}
    assert not list(tmp_path.glob("*/old"))
    assert all((tmp_path / name / "notes.txt").read_text() == "mine" for name in kept)
    assert not (tmp_path / "retrained_model_1" / "notes.txt").exists()


def test_a_folder_is_whole_or_not_there_and_what_was_there_stays(models, verdict, tmp_path, monkeypatch):
    """What was trained lies beside it all the while."""

    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    (tmp_path / "retrained_model_1").mkdir()
    (tmp_path / "retrained_model_1" / "old").write_text("old")
    save_models(tmp_path, models)
    with pytest.raises(OSError, match="no space"):
        write_retrained(tmp_path, models, verdict, retrained_results(models, verdict, tmp_path))
    assert [path.name for path in tmp_path.glob("retrained_model_*/*")] == ["old"]
    assert {path.name for path in tmp_path.glob(".*.part")} == {".retrained_model_1.part", ".retrained_model_2.part"}


def test_a_removed_directory_is_not_made_again(models, tmp_path):
    with pytest.raises(FileNotFoundError):
        save_models(tmp_path / "removed", models)
    assert not (tmp_path / "removed").exists()


@pytest.mark.parametrize(
    "damage", [None, "metrics.json", "model.json", "model.safetensors", "predictions.csv", "other", "cut"]
)
def test_a_folder_holds_a_model_when_it_is_whole_and_of_that_training(models, verdict, tmp_path, damage):
    entry = retrained_results(models, verdict, tmp_path)[0]
    folder = model_folder(tmp_path, 1)
    folder.mkdir()
    write_json(folder / "metrics.json", {**entry, "trial_number": 99} if damage == "other" else entry)
    for name in ("model.json", "model.safetensors", "predictions.csv"):
        (folder / name).touch()
    if damage == "cut":
        (folder / "metrics.json").write_text((folder / "metrics.json").read_text()[:100])
    elif damage not in (None, "other"):
        (folder / damage).unlink()
    assert holds_model(tmp_path, entry) == holds_model(tmp_path, strict(entry)) == (damage is None)


def test_every_number_is_finite(models, verdict, tmp_path):
    def numbers(tree):
        if isinstance(tree, dict):
            tree = list(tree.values())
        if isinstance(tree, list):
            return [number for each in tree for number in numbers(each)]
        return [tree] if isinstance(tree, float) else []

    found = numbers(strict(retrained_results(models, verdict, tmp_path)))
    assert len(found) > 50
    assert all(math.isfinite(number) for number in found)
