"""results.json after the search: keys, strict JSON, and the folders of the models."""

import json
import shutil
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from builders.finalists import confirmation
from cnn_lstm_hyperopt.evaluation import BASELINES, Overfitting, probabilistic_sharpe
from cnn_lstm_hyperopt.evaluation.grades import COLOURS
from cnn_lstm_hyperopt.evaluation.selection_bias import DeflatedSharpe, TrialSeries
from cnn_lstm_hyperopt.pipeline.confirmation import TIME_IS_UP, Confirmed
from cnn_lstm_hyperopt.pipeline.results import final_results
from cnn_lstm_hyperopt.pipeline.results.model_folders import holds_model, save_models, write_retrained
from cnn_lstm_hyperopt.progress import Action, Decision
from cnn_lstm_hyperopt.run_dir.paths import model_folder
from cnn_lstm_hyperopt.search import SkillThreshold
from cnn_lstm_hyperopt.utils.atomic_io import write_json


@pytest.fixture
def verdict(judged):
    return judged()


def strict(tree):
    """What other programs read of it."""
    return json.loads(json.dumps(tree, allow_nan=False))


def test_candidates_come_by_rank_and_those_that_failed_last():
    ranked = [confirmation(None, 7, 0.6, 0.61, 0.59), confirmation(1, 4, 0.7, 0.5, 0.52)]
    failed = confirmation(3, 9, 0.58, 0.6, failure="new seed 2: x")
    found = strict(final_results.confirmation_results(Confirmed(ranked, [failed], None)))
    assert (found["seeds"], found["ended_by"]) == (2, None)
    keys = ("rank", "trial_number", "search_rank", "search_score", "scores", "mean", "standard_deviation")
    keys += ("losses", "mean_loss", "failure")
    spread = [pytest.approx(np.std(scores, ddof=1)) for scores in ([0.61, 0.59], [0.5, 0.52])]
    assert [tuple(each) for each in found["candidates"]] == 3 * [keys]
    assert [tuple(each.values()) for each in found["candidates"]] == [
        (
            1,
            7,
            None,
            0.6,
            [0.61, 0.59],
            pytest.approx(0.6),
            spread[0],
            pytest.approx([0.39, 0.41]),
            pytest.approx(0.4),
            None,
        ),
        (2, 4, 1, 0.7, [0.5, 0.52], pytest.approx(0.51), spread[1], [0.5, 0.48], pytest.approx(0.49), None),
        (None, 9, 3, 0.58, [0.6], 0.6, None, [0.4], 0.4, "new seed 2: x"),
    ]
    ended = Decision(Action.STOP, TIME_IS_UP)
    found = strict(final_results.confirmation_results(Confirmed([confirmation(1, 4, 0.7)], [], ended)))
    assert (found["seeds"], found["ended_by"]) == (0, "limits.retrain_seconds")
    assert (found["candidates"][0]["mean"], found["candidates"][0]["scores"]) == (None, [])
    nothing = strict(final_results.confirmation_results(Confirmed([], [], None)))
    assert nothing == {"seeds": 0, "ended_by": None, "ranked_by": "log_loss", "candidates": []}


def test_an_entry_has_the_keys_of_the_specification_and_seeds_beside(models, verdict, tmp_path):
    first, second = strict(final_results.retrained_results(models, verdict, tmp_path))
    keys = "model_rank trial_number config_params training_results test_metrics seeds seed_failures spread_over_seeds"
    assert list(first) == [*keys.split(), "training_time", "networks", "model_path"]
    assert (first["model_rank"], first["trial_number"], second["model_rank"]) == (1, 10, 2)
    assert first["model_path"] == str(tmp_path / "retrained_model_1")
    assert isinstance(first["config_params"]["cnn.filter_sizes"], list)
    validation = dict.fromkeys(("validation_accuracy", "validation_score", "validation_loss"), 0.6)
    epochs = {"best_epoch": 1, "epochs": 2.0, "full_epochs": 2, "cut_short_by": None}
    assert first["training_results"] == {**epochs, **validation, "seed": 2}
    assert first["training_time"] == 3 * 3.5
    assert first["networks"] == ["model.safetensors", "seeds/1.safetensors", "seeds/3.safetensors"]
    assert first["seed_failures"] == ["seed 4: x"]
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
    entry = final_results.retrained_results([models[0], cut], verdict, tmp_path)[1]
    assert entry["training_results"]["cut_short_by"] == "limits.retrain_seconds"


def test_metrics_of_a_finalist_hold_its_rows_and_those_of_a_baseline_do_not(models, verdict, tmp_path):
    entry = final_results.retrained_results(models, verdict, tmp_path)[0]["test_metrics"]
    plain = final_results.test_metrics(verdict.finalists[0])
    assert list(entry) == [*plain, "calibration", "by_symbol", "by_year", "strategy", "conformal"]
    keys = (
        "class_acc reg_mse class_acc_interval balanced_accuracy mcc auc log_loss calibration_error reg_mae"
        " reg_r2_against_persistence reg_r2 reg_r2_interval reg_r2_reference score score_interval"
    )
    assert list(plain) == [*(f"test_{key}" for key in keys.split()), "difference_to_best_baseline_interval"]
    assert list(entry["calibration"][0]) == ["low", "high", "n", "confidence", "right"]
    assert list(entry["by_symbol"][0]) == ["group", "n", "accuracy", "balanced_accuracy", "majority_share"]
    assert sum(row["n"] for row in entry["by_year"]) == len(verdict.windows)
    assert entry["test_reg_mse"] > 0
    baselines = strict(final_results.baseline_results(verdict))
    assert [each["name"] for each in baselines] == list(BASELINES)
    assert all(list(each["test_metrics"]) == list(plain) for each in baselines)
    best = next(each for each in baselines if each["name"] == verdict.judgement.best_baseline)
    assert best["test_metrics"]["difference_to_best_baseline_interval"] is None
    assert len(plain["difference_to_best_baseline_interval"]) == 2


def test_a_log_loss_is_positive_and_its_score_has_the_opposite_sign(models, judged, tmp_path):
    metrics = final_results.retrained_results(models, judged("log_loss"), tmp_path)[0]["test_metrics"]
    low, high = metrics["test_score_interval"]
    assert metrics["test_score"] == pytest.approx(-metrics["test_log_loss"])
    assert low < metrics["test_score"] < high < 0


def test_a_strategy_is_reported_beside_holding(verdict):
    strategy = verdict.finalists[0].strategy
    found = strict(final_results.strategy_results(strategy))
    assert found["cost_bps"] == 2.5
    keys = ("periods", "mean_return", "sharpe", "annual_sharpe", "trades", "final_wealth")
    for name, each in (("long_flat", strategy.model), ("buy_and_hold", strategy.hold)):
        figures = len(each.returns), each.returns.mean(), each.sharpe, each.annual_sharpe, each.n_trades
        assert list(found[name]) == list(keys)
        assert list(found[name].values()) == pytest.approx([*figures, np.prod(1 + each.returns)])
    assert found["probabilistic_sharpe"] == pytest.approx(probabilistic_sharpe(strategy.model.returns))
    assert (found["execution"], found["half_spread_bps"]) == ("next_open", dict(strategy.rules.half_spreads))
    excess = strategy.excess
    assert found["excess"]["level"] == verdict.judgement.level
    assert found["excess"]["mean_return_interval"] == list(excess.interval)
    assert found["excess"]["annual_return_interval"] == list(excess.annual_interval)
    ratios = excess.returns.sharpe, excess.returns.annual_sharpe, probabilistic_sharpe(excess.returns.returns)
    figures = excess.exposure, excess.returns.mean, excess.annual_return, *ratios
    names = ("exposure", "mean_return", "annual_return", "sharpe", "annual_sharpe", "probabilistic_sharpe")
    assert [found["excess"][name] for name in names] == pytest.approx(figures)


def test_the_verdict_is_the_judgement_of_the_first_model(models, verdict):
    found = strict(final_results.verdict_results(verdict, models[0]))
    judgement, n_dates = verdict.judgement, len(np.unique(verdict.windows.dates))
    names = ("skill", "grade", "score", "best_baseline")
    expected = {name: getattr(judgement, name) for name in names} | {
        "colour": COLOURS[judgement.grade],
        "sentence": verdict.sentence,
        "score_interval": list(judgement.interval),
        "difference": judgement.against_best.difference,
        "difference_interval": list(judgement.against_best.interval),
        "test_windows": len(verdict.windows),
        "test_units": {"kind": "dates", "number": n_dates},
    }
    expected |= {"metric": "accuracy", "model_rank": 1, "trial_number": 10, "test_dates": n_dates, "test_openings": 1}
    assert {name: found[name] for name in expected} == expected
    assert found["skill"] is (found["grade"] == "better than every baseline")
    chance = {"metric": "balanced_accuracy", "score": 0.5, "interval": list(judgement.against_chance.interval)}
    assert {name: found["chance"][name] for name in chance} == chance
    assert [each["baseline"] for each in found["comparisons"]] == list(BASELINES)
    assert max(found["comparisons"], key=lambda each: each["score"])["baseline"] == found["best_baseline"]
    steps, score = found["shrinkage"], judgement.score
    assert steps.pop("metric") == "accuracy"
    assert list(steps) == ["search_score", "confirmed_score", "test_score", "search_to_test", "confirmed_to_test"]
    assert list(steps.values()) == pytest.approx([0.66, 0.61, score, 0.66 - score, 0.61 - score])
    for fresh, known in ((None, None), (confirmation(1, 10, 0.66), 0.66)):  # not confirmed
        finalist = replace(models[0].finalist, confirmation=fresh)
        found = final_results.verdict_results(verdict, replace(models[0], finalist=finalist))["shrinkage"]
        assert (found["search_score"], found["confirmed_score"], found["confirmed_to_test"]) == (known, None, None)
        assert (found["search_to_test"] is None) == (known is None)


def test_a_score_that_is_not_defined_is_null_in_strict_json(models, judged, tested, tmp_path):
    """An AUC of a test set of a single class."""
    one_class = judged("auc", labels=tested.test.open().labels * 0)
    model = strict(final_results.retrained_results(models, one_class, tmp_path))[0]
    strict(final_results.baseline_results(one_class))
    assert {model["test_metrics"][f"test_{key}"] for key in ("score", "auc", "score_interval")} == {None}
    assert set(model["spread_over_seeds"].values()) == {None}
    found = strict(final_results.verdict_results(one_class, models[0]))
    assert (found["score"], found["difference"], found["shrinkage"]["search_to_test"]) == (None, None, None)
    assert found["skill"] is False


@pytest.mark.parametrize("metric", ["accuracy", "mcc"])
def test_without_a_model_that_was_tested_the_grade_is_chance(metric):
    skill = SkillThreshold.on(metric, [np.arange(100) % 2])
    found = final_results.untested_verdict(skill, 0.55, 40, 40)
    assert list(found) == ["grade", "colour", "skill", "sentence", "metric"]
    assert (found["grade"], found["colour"], found["skill"]) == ("no better than chance", "red", False)
    assert all(part in found["sentence"] for part in ("40 trials", "0.5500", f"{skill.threshold:.4f}"))
    assert "3 trials" in final_results.untested_verdict(skill, 0.55, 3, 40)["sentence"]
    assert final_results.untested_verdict(skill, None, 3, 40)["sentence"].count("0.") == 1  # the threshold alone


def test_windows_without_dates_are_not_called_dates(models, judged, tested):
    n_windows = len(tested.test.open())
    for changed, units in (
        ({"dated": False}, {"kind": "windows", "number": n_windows}),
        ({"groups": np.arange(n_windows) % 7}, {"kind": "groups", "number": 7}),
    ):
        found = strict(final_results.verdict_results(judged(**changed), models[0]))
        assert (found["test_units"], found["test_dates"]) == (units, None)
        assert "dates" not in found["sentence"]


def test_overfitting_and_the_deflated_sharpe_ratio_have_their_counts():
    overfitting = Overfitting(0.25, 40, 300, "dates", 12870, 0.61, 0.57, None)
    series = TrialSeries(tuple(range(40)), (41, 42), "accuracy", overfitting, ())
    found = strict(final_results.selection_results((series, DeflatedSharpe(7, 40, 0.05, 0.8, 0.42, 0.5, 0.02, 0.3))))
    counts = {"trials": 40, "trials_without_predictions": [41, 42], "dates": 300, "combinations": 12870}
    values = {"value": 0.25, "in_sample": 0.61, "out_of_sample": 0.57, "why": None}
    units = {"of": "accuracy by date on validation", "units": {"kind": "dates", "number": 300}}
    assert found["pbo"] == {**counts, **values, **units}
    sharpe = {"sharpe": 0.05, "annual_sharpe": 0.8, "deflated": 0.42, "exposure": 0.5}
    sharpe |= {"excess_sharpe": 0.02, "excess_annual_sharpe": 0.3}
    assert found["deflated_sharpe"] == {"trial_number": 7, "n_trials": 40, **sharpe}
    unknown = replace(series, overfitting=Overfitting(None, 40, 20, "dates", 0, None, None, "too few dates"))
    few, nothing = final_results.selection_results((unknown, None)), final_results.selection_results(None)
    assert (few["pbo"]["value"], few["pbo"]["why"], few["deflated_sharpe"]) == (None, "too few dates", None)
    assert nothing["pbo"]["value"] is None
    assert nothing["pbo"]["why"]


def test_each_model_has_its_folder_with_metrics_and_predictions(models, verdict, tmp_path):
    entries = final_results.retrained_results(models, verdict, tmp_path)
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
ALIKE = ["retrained_model_9", "retrained_model_1_copy", ".retrained_model_1_mine"]


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (dict.fromkeys(["retrained_model_1", "retrained_model_7", ".retrained_model_1.part"], OURS), []),
        (dict.fromkeys(["retrained_model_1", ".retrained_model_1.old", ".retrained_model_3.part"], OURS), []),
        (dict.fromkeys(ALIKE, FOREIGN), ALIKE),
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
    write_retrained(tmp_path, models, verdict, final_results.retrained_results(models, verdict, tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"retrained_model_1", "retrained_model_2", *kept}
    assert not list(tmp_path.glob("*/old"))
    assert all((tmp_path / name / "notes.txt").read_text() == "mine" for name in kept)
    assert not (tmp_path / "retrained_model_1" / "notes.txt").exists()


def test_a_folder_is_whole_or_not_there_and_what_was_there_stays(models, verdict, tmp_path, monkeypatch):
    monkeypatch.setattr(pd.DataFrame, "to_csv", Mock(side_effect=OSError("no space left on device")))
    (tmp_path / "retrained_model_1").mkdir()
    (tmp_path / "retrained_model_1" / "old").write_text("old")
    save_models(tmp_path, models)
    with pytest.raises(FileNotFoundError):
        save_models(tmp_path / "removed", models)  # it is not made again
    with pytest.raises(OSError, match="no space"):
        write_retrained(tmp_path, models, verdict, final_results.retrained_results(models, verdict, tmp_path))
    assert [path.name for path in tmp_path.glob("retrained_model_*/*")] == ["old"]
    assert {path.name for path in tmp_path.glob(".*.part")} == {".retrained_model_1.part", ".retrained_model_2.part"}


WHOLE = (
    "metrics.json",
    "model.json",
    "model.safetensors",
    "seeds/1.safetensors",
    "seeds/3.safetensors",
    "predictions.csv",
)


@pytest.mark.parametrize("damage", [None, *WHOLE, "other", "cut", "earlier version"])
def test_a_folder_holds_a_model_when_it_is_whole_and_of_that_training(models, verdict, tmp_path, damage):
    entry = final_results.retrained_results(models, verdict, tmp_path)[0]
    folder = model_folder(tmp_path, 1)
    (folder / "seeds").mkdir(parents=True)
    for name in WHOLE:
        (folder / name).touch()
    write_json(folder / "metrics.json", {**entry, "trial_number": 99} if damage == "other" else entry)
    if damage == "cut":
        (folder / "metrics.json").write_text((folder / "metrics.json").read_text()[:100])
    elif damage in WHOLE:
        (folder / damage).unlink()
    if damage == "earlier version":  # with three seeds, of which one network was stored
        del entry["networks"]
        write_json(folder / "metrics.json", entry)
        shutil.rmtree(folder / "seeds")
    expected = damage in (None, "earlier version")
    assert holds_model(tmp_path, entry) == holds_model(tmp_path, strict(entry)) == expected
