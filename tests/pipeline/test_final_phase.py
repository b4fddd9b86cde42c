"""The final phase on planted studies: confirmation, retraining and one evaluation on the test set, with planted trainings."""

import errno
import json
import shutil
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pandas as pd
import pytest
import yaml

from builders.finalists import CPU, outcome, plant
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.errors import InterruptedRunError, StorageFailedError
from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.inference.model import load_model
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.pipeline.advice import skipped_baselines_text
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART, TIME_IS_UP, Measurement
from cnn_lstm_hyperopt.pipeline.events import RunEvents, to_all
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.retraining import SeedTraining
from cnn_lstm_hyperopt.pipeline.run import run
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.progress import CONTINUE, ProgressReport
from cnn_lstm_hyperopt.reporting.console.run_console import RunConsole
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.search import StudyStorage
from cnn_lstm_hyperopt.training import NonFiniteLossError
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork, TrialRunner
from cnn_lstm_hyperopt.utils.text import install_command

pytestmark = pytest.mark.usefixtures("quick_final_round")

SCORES = tuple(0.9 - 0.01 * place for place in range(8))
ORDER = [5, 0, 3, 1, 4, 2]
"""Trials by their fresh seeds; with top_k = 2 trials 6 and 7 are no candidates."""
NAN = "the loss became nan in epoch 1"


class World:
    """A study whose trial 0 is the first of the front, and the results of the trainings to come.

    Attributes:
        fresh: fresh score, or score and loss, of (trial, seed); an exception is raised. By default the loss is 1 − score.
        losses: retraining loss of (trial, seed) or (trial, seed, period); an exception is raised.
        confirmed, retrained: (trial, seed) of the trainings, in order.
        interrupt_at, at_its_end: training, perhaps with its period, that SIGTERM interrupts, and whether before its last report.
        takes, now: seconds of each training, and the clock.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.save_dir = config, Path(config["save_dir"])
        self.fresh: dict[tuple[int, int], Any] = {}
        self.losses: dict[tuple[int, ...], Any] = {}
        self.confirmed: list[tuple[int, int]] = []
        self.retrained: list[tuple[int, int]] = []
        self.interrupt_at: tuple[Any, ...] | None = None
        self.at_its_end, self.takes, self.now = False, 0.0, 0.0
        self.stop = StopSignal()

    def run(self, **retrain):
        """Resume the study: confirm, retrain, test and write the results."""
        self.confirmed.clear()
        self.retrained.clear()
        self.stop = StopSignal()
        self.config["retrain"].update(retrain)
        settings = load_settings(self.config, environment={})
        dataset = prepare_dataset(settings.data, evaluation=settings.evaluation)
        events = create_autospec(RunEvents, instance=True)
        with open_session(settings, dataset, resume=True, events=to_all([events, RunConsole(Terminal())])) as session:
            entries = run_final_phase(session, self.stop)
            results = write_results(session)
        assert self.stored() == json.loads(json.dumps(results))
        opened = dataset.test.times_opened
        return SimpleNamespace(entries=entries, results=results, opened=opened, events=events)

    def run_periods(self, count):
        """Resume the study with another number of periods of the test set."""
        self.config["evaluation"] = {"test_periods": count}
        return self.run()

    def stored(self):
        """Content of results.json, which is strict JSON."""
        return json.loads((self.save_dir / "results.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)

    def confirm(self, runner, number, params, on_report, **_):
        trial, seed = divmod(number, SEEDS_APART)
        self.confirmed.append((trial, seed))
        found = self.fresh.get((trial, seed), 0.6 - 0.01 * ORDER.index(trial) if trial in ORDER else 0.5)
        score, loss = (
            (found, 1 - found) if isinstance(found, float) else found if isinstance(found, tuple) else (found, 0)
        )
        decision = self._report(on_report, score, loss, ("confirm", trial, seed))
        return SimpleNamespace(outcome=outcome(loss, score, decision=decision))

    def retrain(self, runner, number, params, fold, epochs, on_report, **_):
        trial, seed = divmod(number, SEEDS_APART)
        self.retrained.append((trial, seed))
        period = self.retrained.count((trial, seed))
        loss = self.losses.get((trial, seed, period), self.losses.get((trial, seed), 0.6 + 0.01 * seed))
        decision = self._report(on_report, 0.6, loss, ("retrain", trial, seed, period)[: 3 + (period > 1)])
        network = build_network(runner.costs.network_config(params), seed=number, device=CPU)
        return TrainedNetwork((network,), outcome(loss, decision=decision), None, "float32")

    def _report(self, on_report, score, loss, which):
        """Two reports; the last one has an evaluation."""
        for result in (score, loss):
            if isinstance(result, BaseException):
                raise result
        self.now += self.takes
        if self.interrupt_at == which and not self.at_its_end:
            self.stop.end("SIGTERM")
        decision = on_report(ProgressReport(0.5, 0.5, 1.0))
        if decision != CONTINUE:
            return decision
        if self.interrupt_at == which:
            self.stop.end("SIGTERM")
        return on_report(ProgressReport(1.0, 1.0, 1.0, score, loss, last=True))


@pytest.fixture(scope="module")
def config(tiny_settings):
    return {
        **tiny_settings,
        "study": {"n_trials": len(SCORES), "portfolio": False},
        "sampler": {"type": "random"},
        "pruner": {"type": "none"},
        "retrain": {"enabled": True, "top_k": 2, "full_epochs": 2, "confirm_seeds": 2, "seeds": 2},
    }


@pytest.fixture(scope="module")
def planted_study(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "results"
    plant({**config, "save_dir": str(folder)}, SCORES)
    return folder


@pytest.fixture
def make_world(config, planted_study, tmp_path, monkeypatch):
    def make(scores=SCORES, off_front=(), **changed):
        own = {**config, "retrain": dict(config["retrain"]), "save_dir": str(tmp_path / "results"), **changed}
        if scores == SCORES and not (changed or off_front):
            shutil.copytree(planted_study, tmp_path / "results")
        else:
            plant(own, scores, off_front)
        world = World(own)
        for name in ("confirm", "retrain"):
            method = getattr(world, name)
            monkeypatch.setattr(TrialRunner, name, lambda *about, method=method, **facts: method(*about, **facts))
        return world

    return make


@pytest.fixture
def world(make_world):
    return make_world()


def rounds(trials, *seeds):
    return [(trial, seed) for seed in seeds for trial in trials]


ROUNDS = [*rounds(range(6), 1), *rounds((0, 3, 5), 2)]
"""Trainings of the confirmation: the better half gets the second seed."""


def trials_of(entries):
    return [(entry["model_rank"], entry["trial_number"]) for entry in entries]


def test_three_times_top_k_of_the_front_are_confirmed_and_the_best_of_them_retrained(world):
    found = world.run()
    assert world.confirmed == ROUNDS
    assert world.retrained == [(5, 1), (5, 2), (0, 1), (0, 2)]
    assert trials_of(found.entries) == [(1, 5), (2, 0)]
    verdict, steps = found.results["verdict"], found.results["verdict"]["shrinkage"]
    assert trials_of([verdict]) == [(1, 5)]
    assert found.results["retrained_models"] == found.entries
    (opening,) = found.results["test_openings"]
    assert (found.opened, opening["trials"]) == (1, [5, 0])
    assert opening["ensemble"] == found.results["ensemble_method"] == "stack"
    registered = {"seeds": [1, 2], "epochs": [2, 2], "prediction": "mean of the seeds"}
    assert opening["models"] == [{"trial_number": trial, **registered} for trial in (5, 0)]
    assert date.fromisoformat(opening["time"][:10])
    assert found.events.on_test.call_args.args[2] == 1
    assert steps == {
        "search_score": pytest.approx(0.85),
        "confirmed_score": pytest.approx(0.6),
        "metric": "accuracy",
        "test_score": (accuracy := verdict["accuracy"]["score"]),
        "search_to_test": pytest.approx(0.85 - accuracy),
        "confirmed_to_test": pytest.approx(0.6 - accuracy),
    }


@pytest.mark.slow
def test_the_second_best_score_off_the_front_is_confirmed_and_can_be_retrained(make_world):
    world = make_world(off_front=(1, 2))
    world.fresh = {(1, seed): Measurement(0.55, 0.3) for seed in (1, 2)}  # a lower accuracy, but a lower log loss
    found = world.run(top_k=1)
    assert world.confirmed == [*rounds((0, 1, 3), 1), *rounds((0, 1), 2)]
    confirmation = found.results["confirmation"]
    rows = [(row["trial_number"], row["search_rank"], row["mean_loss"]) for row in confirmation["candidates"]]
    assert rows == [(1, None, pytest.approx(0.3)), (0, 1, pytest.approx(0.41)), (3, 2, pytest.approx(0.42))]
    assert (confirmation["ranked_by"], trials_of(found.entries)) == ("log_loss", [(1, 1)])


@pytest.mark.slow
def test_a_smaller_front_is_confirmed_as_a_whole(make_world):
    found = make_world([0.9, 0.8, 0.7]).run(top_k=5)
    assert trials_of(found.entries) == [(1, 0), (2, 1), (3, 2)]
    found.events.on_fewer_finalists.assert_called_once_with(3, 5)


def test_chosen_trials_are_confirmed_and_retrained_after_the_best(world):
    """Trial 6 is no candidate otherwise, trial 0 is one of the best, and there is no trial 99."""
    found = world.run(also=[6, 0, "best_score", 99])
    assert world.confirmed[:7] == rounds(range(7), 1)
    assert trials_of(found.entries) == [(1, 5), (2, 0), (3, 6)]
    assert world.retrained == [(trial, seed) for trial in (5, 0, 6) for seed in (1, 2)]
    (warning,) = [call.args[0] for call in found.events.on_warning.call_args_list if "retrain.also" in call.args[0]]
    assert "99" in warning
    assert "6" not in warning


def test_results_have_the_search_and_fresh_scores_of_every_candidate(world):
    world.fresh = {(3, 1): 0.58, (3, 2): 0.60}  # the same mean as that of trial 0, which is ahead in the search
    confirmation = world.run().results["confirmation"]
    assert (confirmation["seeds"], confirmation["ended_by"]) == (2, None)
    rows = confirmation["candidates"]
    ranks = [(row["rank"], row["trial_number"], row["search_rank"]) for row in rows]
    assert ranks == [(1, 5, 6), (2, 0, 1), (3, 3, 4), (4, 1, 2), (5, 4, 5), (6, 2, 3)]
    assert (rows[2]["scores"], rows[2]["mean"]) == ([0.58, 0.60], pytest.approx(0.59))
    assert [len(row["scores"]) for row in rows] == [2, 2, 2, 1, 1, 1]
    assert rows[2]["standard_deviation"] == pytest.approx(0.01 * 2**0.5)
    assert rows[0]["search_score"] == pytest.approx(0.85)
    assert {row["failure"] for row in rows} == {None}


@pytest.mark.slow
def test_strategy_and_overfitting_are_about_the_confirmed_first(make_world, config):
    world = make_world(data={**config["data"], "target": "direction"})
    before, after = world.stored()["overfitting"], world.run().results["overfitting"]
    assert (before["deflated_sharpe"]["trial_number"], after["deflated_sharpe"]["trial_number"]) == (0, 5)
    assert after["deflated_sharpe"]["n_trials"] == len(SCORES)
    assert after["pbo"] == before["pbo"]
    assert after["pbo"]["value"] is None  # 8 trials are too few


def test_a_second_run_neither_trains_nor_evaluates_the_test_set(world):
    first, second = world.run(), world.run()
    assert (world.confirmed, world.retrained, second.opened) == ([], [], 0)
    second.events.on_results_kept.assert_called_once_with(first.results["verdict"])
    before, after = (json.loads(json.dumps({**each.results, "timestamp": None})) for each in (first, second))
    assert after == before


@pytest.mark.slow
def test_changed_evaluation_settings_judge_the_stored_models_again_in_the_same_evaluation(make_world, config):
    world = make_world(data={**config["data"], "target": "direction"})
    first = world.run()
    world.config["evaluation"] = {"cost_bps": 50.0, "verdict_metric": "accuracy"}
    again = world.run()
    assert (world.confirmed, world.retrained, again.opened) == ([], [], 1)
    (changes,) = again.events.on_verdict_again.call_args.args
    assert [each.split()[0] for each in changes] == ["evaluation.verdict_metric", "evaluation.cost_bps"]
    assert again.results["test_openings"] == first.results["test_openings"]
    assert (again.results["verdict"]["metric"], again.results["verdict"]["test_openings"]) == ("accuracy", 1)
    for before, after in zip(first.entries, again.entries, strict=True):
        for key in ("config_params", "training_results", "seeds", "spread_over_seeds", "networks", "validation"):
            assert after[key] == before[key]
        old, new = before["test_metrics"], after["test_metrics"]
        assert (new["test_log_loss"], new["test_class_acc"]) == (old["test_log_loss"], old["test_class_acc"])
        assert (old["strategy"]["cost_bps"], new["strategy"]["cost_bps"]) == (5.0, 50.0)
    del world.config["evaluation"]
    back = world.run()
    for each in (first, back):  # measured again
        del each.results["ensemble"]["latency"], each.results["ensemble"]["training_time"]
    before, after = ({key: each.results[key] for key in ("verdict", "baselines", "ensemble")} for each in (first, back))
    assert json.dumps(after) == json.dumps(before)


@pytest.mark.slow
def test_another_method_of_the_ensemble_combines_the_stored_models_and_counts_as_another_evaluation(world):
    first = world.run(ensemble="none")
    folder = world.save_dir / "ensemble"
    assert (first.results["ensemble"], first.results["verdict"]["recommended_model"]) == (None, "model 1")
    assert not folder.exists()
    stacked = world.run(ensemble="stack")
    assert (world.confirmed, world.retrained) == ([], [])
    (changes,) = stacked.events.on_verdict_again.call_args.args
    assert [each.split()[0] for each in changes] == ["retrain.ensemble"]
    (before,), (same, added) = (each.results["test_openings"] for each in (first, stacked))
    assert (before["ensemble"], added["ensemble"]) == ("none", "stack")
    assert (same, {**added, "time": None, "ensemble": None}) == (before, {**before, "time": None, "ensemble": None})
    entry = stacked.results["ensemble"]
    assert (entry["weighting"], entry["pooling"]) == ("stacked", "logarithmic")
    assert sum(each["weight"] for each in entry["members"]) == pytest.approx(1)
    weights = [(each.weight, each.value_weight) for each in load_model(folder).members]
    assert weights == [(each["weight"], each["value_weight"]) for each in entry["members"]]
    assert world.run(ensemble="auto").opened == 0  # the method of before
    again = world.run(ensemble="none").results  # evaluates no other model
    assert (again["ensemble"], len(again["test_openings"])) == (None, 2)
    assert not folder.exists()


@pytest.mark.slow
def test_a_baseline_whose_package_is_installed_later_is_added_to_the_results(world, monkeypatch):
    kind = BASELINES["persistence"]
    monkeypatch.setattr(kind, "package", "no_such_package")
    monkeypatch.setattr(kind, "extra", "some")
    skipped = world.run().results
    assert [each["name"] for each in skipped["baselines"]] == ["majority class"]
    assert skipped["skipped_baselines"] == [{"name": "persistence", "extra": "some"}]
    assert "persistence" in (text := skipped_baselines_text(skipped["skipped_baselines"]))
    assert install_command("some") in text
    monkeypatch.setattr(kind, "package", None)
    added = world.run()
    assert ([each["name"] for each in added.results["baselines"]], added.opened) == (
        ["majority class", "persistence"],
        1,
    )
    assert (added.results["skipped_baselines"], added.results["test_openings"]) == ([], skipped["test_openings"])


@pytest.mark.slow
def test_a_walk_forward_test_keeps_its_verdict_after_a_change_and_says_so(world):
    first = world.run_periods(2)
    world.config["evaluation"] = {"test_periods": 2, "verdict_metric": "accuracy"}
    again = world.run()
    assert (world.retrained, again.opened, again.results["verdict"]) == (
        [],
        0,
        json.loads(json.dumps(first.results["verdict"])),
    )
    (line,) = [str(call.args[0]) for call in again.events.on_warning.call_args_list]
    assert line.startswith("evaluation.verdict_metric is accuracy, but the stored results have log_loss")


@pytest.mark.slow
def test_fresh_seeds_are_added_and_change_the_finalists_only_with_the_order(world):
    world.run()
    again = world.run(confirm_seeds=3)
    assert world.confirmed == rounds((0, 5), 3)
    assert (world.retrained, again.opened) == ([], 0)
    confirmation, steps = again.results["confirmation"], again.results["verdict"]["shrinkage"]
    assert (confirmation["seeds"], steps["confirmed_score"]) == (3, confirmation["candidates"][0]["mean"])
    assert steps["confirmed_to_test"] == pytest.approx(steps["confirmed_score"] - steps["test_score"])
    world.fresh = {(0, 4): 0.99}
    changed = world.run(confirm_seeds=4)
    assert (trials_of(changed.entries), changed.opened) == ([(1, 0), (2, 5)], 1)
    assert len(changed.results["test_openings"]) == 2


@pytest.mark.mostly_slow(1)
@pytest.mark.mostly_thorough(4)
@pytest.mark.parametrize(
    ("phase", "trial", "seed", "at_its_end"),
    [
        ("confirm", 3, 1, False),
        ("retrain", 5, 2, False),
        ("confirm", 3, 2, True),
        ("retrain", 0, 2, True),
        ("confirm", 0, 1, False),
        ("confirm", 0, 2, False),
        ("confirm", 5, 2, False),
    ],
)
def test_an_interrupted_training_is_repeated_unless_at_its_end_and_the_test_set_stays_locked(
    world, phase, trial, seed, at_its_end
):
    world.interrupt_at, world.at_its_end, at = (phase, trial, seed), at_its_end, (trial, seed)
    cut = world.run()
    assert (cut.entries, cut.opened, cut.results["verdict"], cut.results["test_openings"]) == ([], 0, None, [])
    assert not list(world.save_dir.glob("retrained_model_*"))
    assert (cut.results["confirmation"] is None) == (phase == "confirm")
    if not at_its_end:
        assert (world.confirmed if phase == "confirm" else world.retrained)[-1] == at
        names = {"confirm": "on_confirmation_interrupted", "retrain": "on_retraining_interrupted"}
        getattr(cut.events, names[phase]).assert_called_once_with("SIGTERM")
    world.interrupt_at = None
    again = world.run()
    assert world.confirmed == (ROUNDS[ROUNDS.index(at) + at_its_end :] if phase == "confirm" else [])
    assert (trials_of(again.entries), again.opened) == ([(1, 5), (2, 0)], 1)


def test_a_run_that_is_interrupted_after_the_search_ends_as_interrupted(world, monkeypatch):
    world.interrupt_at = ("confirm", 1, 1)
    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.run.StopSignal", lambda timeout: world.stop)
    with pytest.raises(InterruptedRunError) as caught:
        run(load_settings(world.config, environment={}), RunEvents(), resume=True)
    assert (caught.value.code, caught.value.exit_code) == ("interrupted", 130)
    assert world.stored()["test_openings"] == world.stored()["retrained_models"] == []


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize(
    ("changed", "confirmed"), [({"seeds": 3}, []), ({"full_epochs": 3}, []), ({"top_k": 1}, [(1, 2)])]
)
def test_an_evaluation_of_other_models_is_counted(world, changed, confirmed):
    first, second = world.run(), world.run(**changed)
    assert (world.confirmed, second.opened) == (confirmed, 1)
    assert [len(found.results["test_openings"]) for found in (first, second)] == [1, 2]
    assert second.results["verdict"]["test_openings"] == second.events.on_test.call_args.args[2] == 2


@pytest.mark.slow
def test_an_evaluation_of_an_earlier_version_without_its_models_is_counted(world):
    storage = StudyStorage(world.save_dir / "study.db")
    storage.set_attribute("test_openings", [{"time": "2026-01-01T00:00:00+00:00", "trials": [5, 0]}])
    storage.close()
    assert len(world.run().results["test_openings"]) == 2


@pytest.mark.slow
@pytest.mark.mostly_thorough(2)
@pytest.mark.parametrize("lost", ["metrics.json", "seeds/2.safetensors", ""])
def test_a_lost_model_is_made_again_which_is_the_same_evaluation(world, lost):
    first = world.run()
    path = world.save_dir / "retrained_model_2" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = world.run()
    assert world.retrained == [(5, 1), (5, 2), (0, 1), (0, 2)]
    assert path.exists()
    for key in ("test_openings", "verdict"):
        assert again.results[key] == first.results[key]


def test_a_candidate_that_diverges_is_replaced_by_the_next_and_not_tried_again(world):
    world.fresh = {(5, 2): NonFiniteLossError(NAN)}
    found = world.run()
    assert trials_of(found.entries) == [(1, 0), (2, 3)]
    last = found.results["confirmation"]["candidates"][-1]
    failure = f"new seed 2: {NAN}"
    assert (last["rank"], last["trial_number"], last["scores"], last["failure"]) == (None, 5, [0.6], failure)
    assert found.events.on_warning.call_count == 1
    second = world.run()
    assert (world.confirmed, world.retrained, second.opened) == ([], [], 0)
    assert second.results["confirmation"] == found.results["confirmation"]


def test_a_finalist_that_diverges_is_reported_and_not_tried_again(world):
    world.losses = {(5, seed): NonFiniteLossError(NAN) for seed in (1, 2)}
    found = world.run()
    assert trials_of(found.entries) == trials_of([found.results["verdict"]]) == [(2, 0)]
    assert found.results["retraining_failures"] == [{"model_rank": 1, "trial_number": 5, "reason": NAN}]
    assert found.events.on_warning.call_count == 1
    assert (world.run().opened, world.retrained) == (0, [])


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("phase", ["fresh", "losses"])
def test_if_all_trainings_of_a_phase_lack_memory_the_test_set_stays_locked_and_they_are_tried_again(world, phase):
    errors = {1: MemoryError(), 2: RuntimeError("out of\n  memory")}
    setattr(world, phase, {(trial, seed): errors[seed] for trial in range(6) for seed in (1, 2)})
    found = world.run()
    assert (found.entries, found.opened, found.results["test_openings"]) == ([], 0, [])
    failures = [row["failure"] for row in found.results["confirmation"]["candidates"]]
    assert failures == [None if phase == "losses" else "new seed 1: MemoryError"] * 6
    setattr(world, phase, {})
    again = world.run()
    assert (trials_of(again.entries), again.opened) == ([(1, 5), (2, 0)], 1)


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("error", [KeyError("a bug"), OSError(errno.ENOSPC, "full"), StorageFailedError("full")])
@pytest.mark.parametrize("phase", ["fresh", "losses"])
def test_errors_of_the_program_or_the_storage_are_raised(world, phase, error):
    setattr(world, phase, {(5, 1): error})
    with pytest.raises((type(error), StorageFailedError)):
        world.run()


def test_the_mean_of_seeds_is_tested_and_stored_and_a_failed_seed_reported(world):
    world.losses = {(5, 1): 0.7, (5, 2): 0.5, (0, 2): RuntimeError("out of memory")}
    found = world.run()
    first, second = found.entries
    assert (first["training_results"]["seed"], first["training_results"]["validation_loss"]) == (2, 0.5)
    assert [seed["validation_loss"] for seed in first["seeds"]] == [0.7, 0.5]
    assert first["networks"] == ["model.safetensors", "seeds/1.safetensors"]
    assert second["networks"] == ["model.safetensors"]
    assert first["training_time"] == sum(seed["training_time"] for seed in first["seeds"]) == 7.0
    assert first["size_mb"] == 2 * first["one_network"]["size_mb"]
    for entry in found.entries:
        loaded, table = load_model(entry["model_path"]), pd.read_csv(Path(entry["model_path"]) / "predictions.csv")
        test = prepare_dataset(load_settings(world.config, environment={}).data).test.open()
        np.testing.assert_allclose(loaded.predict_windows(test).probabilities[:, 1], table["probability_1"], atol=1e-6)
        assert (table["class"] == table["label"]).mean() == pytest.approx(entry["test_metrics"]["test_class_acc"])
        sets, conformal = table[["set_0", "set_1"]].to_numpy(), entry["test_metrics"]["conformal"]
        assert sets[np.arange(len(table)), table["label"]].mean() == pytest.approx(conformal["coverage"])
        assert conformal["coverage_interval"][0] <= conformal["coverage"] <= conformal["coverage_interval"][1]
        assert conformal["mean_set_size"] == pytest.approx(sets.sum(axis=1).mean())
        assert conformal["singletons"] == pytest.approx((sets.sum(axis=1) == 1).mean())
        inside = table["target"].between(table["value_low"], table["value_high"])
        assert inside.mean() == pytest.approx(conformal["value_coverage"], abs=0.01)
        assert conformal["mean_width"] == pytest.approx((table["value_high"] - table["value_low"]).mean(), rel=1e-4)
        assert list(table)[:3] == ["date", "symbol", "label"]
    assert ([seed["seed"] for seed in second["seeds"]], second["training_results"]["seed"]) == ([1], 1)
    assert (first["seed_failures"], second["seed_failures"]) == ([], ["seed 2: out of memory"])
    assert found.events.on_warning.call_count == 1


@pytest.fixture
def clock(world, monkeypatch):
    """A world with 100 s for the final phase, whose clock only trainings move."""
    for module in ("execution.stop", "pipeline.confirmation", "pipeline.retraining"):
        monkeypatch.setattr(f"cnn_lstm_hyperopt.{module}.time", SimpleNamespace(monotonic=lambda: world.now))
    world.config["limits"] = {"retrain_seconds": 100.0}
    return world


def test_the_confirmation_has_half_of_the_time_and_a_resumed_run_the_rest(clock):
    clock.takes, clock.interrupt_at = 4.0, ("confirm", 2, 1)
    clock.run()
    clock.interrupt_at, clock.takes = None, 6.0
    assert clock.run().results["confirmation"]["ended_by"] == TIME_IS_UP
    assert len(clock.confirmed) == 7  # in 38 s
    clock.takes = 1.0
    found = clock.run(confirm_seeds=9)  # a new round with all its time
    assert (found.results["confirmation"]["ended_by"], found.results["confirmation"]["seeds"]) == (None, 9)


@pytest.mark.slow
def test_a_confirmation_without_time_is_not_continued(clock):
    """Its second round was incomplete, and the run was interrupted in the retraining."""
    clock.takes, clock.interrupt_at = 6.0, ("retrain", 5, 1)
    cut = clock.run()
    assert len(clock.confirmed) == 9
    clock.interrupt_at, clock.takes = None, 1.0
    found = clock.run()
    assert found.results["confirmation"] == cut.results["confirmation"]
    assert (clock.confirmed, found.results["confirmation"]["ended_by"]) == ([], TIME_IS_UP)
    assert trials_of(found.entries) == [(1, 5), (2, 0)]


def test_a_trial_without_predictions_is_named_in_a_warning(world):
    (world.save_dir / "validation" / "trial_00003.parquet").unlink()
    (warning,) = world.run().events.on_warning.call_args_list
    assert warning.args[0].endswith(": 3")


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("enabled", [True, False])
def test_a_front_below_chance_is_tested_if_retraining_was_asked_for(make_world, enabled):
    world = make_world([0.51, 0.52, 0.5, 0.49, 0.52, 0.51, 0.53, 0.5])
    world.config["retrain"]["enabled"] = enabled
    (world.save_dir / "config.yaml").write_text(yaml.safe_dump(world.config), encoding="utf-8")
    assert main(["resume", "--save-dir", str(world.save_dir)]) == 0
    results, models = world.stored(), world.stored()["retrained_models"]
    assert (results["verdict"]["grade"], results["verdict"]["skill"]) == ("no better than chance", False)
    assert results["best_trials"][0]["trial_number"] == 6
    assert {trial["above_chance"] for trial in results["best_trials"]} == {False}
    assert [(Path(model["model_path"]) / "model.safetensors").is_file() for model in models] == [True, True] * enabled
    assert [len(opening["trials"]) for opening in results["test_openings"]] == [2] * enabled
    assert enabled or (results["baselines"], world.confirmed, world.retrained) == ([], [], [])


def test_before_a_trial_is_finished_there_is_no_verdict(make_world):
    results = make_world([]).stored()
    assert (results["verdict"], results["overfitting"]["pbo"]["value"]) == (None, None)


WALK = {"evaluation": {"test_periods": 3}}
FINALISTS = [(5, 1), (5, 2), (0, 1), (0, 2)]


def predictions_of(world, rank=1):
    return pd.read_csv(world.save_dir / f"retrained_model_{rank}" / "predictions.csv")


def test_a_walk_forward_test_trains_again_before_each_period_and_is_one_evaluation(make_world):
    world = make_world(**WALK)
    found = world.run()
    assert world.retrained == 3 * FINALISTS
    (opening,) = found.results["test_openings"]
    assert (found.opened, opening["periods"], found.events.on_period_start.call_count) == (1, 3, 2)
    frame, periods = predictions_of(world), found.results["walk_forward"]
    assert sum(each["windows"] for each in periods) == len(frame) == found.results["verdict"]["test_windows"]
    sizes = [each["train_windows"] for each in periods]
    assert sizes == sorted(set(sizes))
    for each in periods:
        rows = frame[frame["period"] == each["period"]]
        assert [rows["date"].min(), rows["date"].max(), len(rows)] == [each["first"], each["last"], each["windows"]]
        said = rows[["probability_0", "probability_1"]].to_numpy()
        scores = [
            -np.log(np.take_along_axis(said, rows[["label"]].to_numpy(), 1)).mean(),
            (rows["class"] == rows["label"]).mean(),
        ]
        assert [each["finalists"][0][name] for name in ("log_loss", "accuracy")] == pytest.approx(scores, rel=1e-4)
        assert (each["best_baseline"]["name"], each["kept_models"]) == (found.results["verdict"]["best_baseline"], [])
    assert (world.run().opened, world.retrained) == (0, [])
    other = world.run_periods(2)
    assert (other.opened, len(other.results["test_openings"]), len(other.results["walk_forward"])) == (1, 2, 2)


@pytest.mark.slow
def test_an_interrupted_walk_forward_test_is_the_same_evaluation_when_it_is_resumed(make_world):
    world = make_world(**WALK)
    world.interrupt_at = ("retrain", 0, 1, 2)
    cut = world.run()
    assert (cut.entries, cut.results["verdict"], len(cut.results["test_openings"])) == ([], None, 1)
    cut.events.on_walk_forward_interrupted.assert_called_once_with("SIGTERM")
    world.interrupt_at = None
    again = world.run()
    assert (trials_of(again.entries), len(again.results["test_openings"])) == ([(1, 5), (2, 0)], 1)


@pytest.mark.slow
def test_a_model_of_the_period_before_predicts_a_period_whose_training_fails(make_world):
    world = make_world(**WALK)
    whole, before = world.run(), predictions_of(world, 2)
    shutil.rmtree(world.save_dir / "retrained_model_1")
    world.losses = {(5, 2, 2): NonFiniteLossError(NAN)}
    found = world.run()
    kept = {"model_rank": 1, "seed": 2, "trained_for": 1, "reason": NAN}
    assert [each["kept_models"] for each in found.results["walk_forward"]] == [[], [kept], []]
    assert len(found.events.on_warning.call_args_list) == 1
    assert predictions_of(world, 2).equals(before)
    assert whole.results["test_openings"] == found.results["test_openings"]


@pytest.mark.slow
def test_the_trainings_of_all_periods_share_the_time_equally(make_world, monkeypatch):
    """Each training takes exactly its part of the 120 s; confirmations take no time."""
    world, parts, real = make_world(**WALK, limits={"retrain_seconds": 120.0}), [], SeedTraining.decide
    for module in ("execution.stop", "pipeline.confirmation", "pipeline.retraining"):
        monkeypatch.setattr(f"cnn_lstm_hyperopt.{module}.time", SimpleNamespace(monotonic=lambda: world.now))

    def decide(training, state, full_epochs, budget):
        parts.append(budget)
        world.now += budget
        return real(training, state, full_epochs, budget)

    monkeypatch.setattr(SeedTraining, "decide", decide)
    world.run()
    assert parts == pytest.approx([10.0] * 12)
