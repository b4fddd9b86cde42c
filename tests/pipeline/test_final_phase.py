"""What follows the search: confirmation, retraining, one look at the test period.

On studies whose trials are planted, so that the front is known; what trainings give is planted, too, by trial and seed.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from builders.finalists import CPU, outcome, plant
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.errors import InterruptedRunError
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.pipeline import final_phase, final_test
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART, TIME_IS_UP
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.run import run
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.progress import CONTINUE, Decision, ProgressReport
from cnn_lstm_hyperopt.reporting.console.run_console import RunConsole
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.search import StudyStorage
from cnn_lstm_hyperopt.training import NonFiniteLossError
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork, TrialRunner

pytestmark = pytest.mark.usefixtures("quick_final_round")

FRONT = 8
SCORES = tuple(0.9 - 0.01 * place for place in range(FRONT))
ORDER = [5, 0, 3, 1, 4, 2]
"""Trials by what fresh seeds say of them; of trials 6 and 7 nobody asks with top_k = 2."""


class World:
    """A study of eight trials on the front, of which trial 0 is the search's first; and what trainings will give.

    Attributes:
        fresh: a fresh score for (trial, seed); an exception is raised. Unless it is changed, trials go by :data:`ORDER`.
        losses: validation loss for (trial, seed) of a retraining; an exception is raised.
        confirmed, retrained: (trial, seed) that were trained, in order.
        interrupt_at: Ctrl-C is pressed within this training; None: never.
        reason: that is told instead of Ctrl-C.
        at_its_end: whether it is pressed when that training is over but for its last report.
        takes: seconds of each training, by the clock of the limits.
    """

    def __init__(self, config: dict[str, Any], capsys: Any) -> None:
        self.config, self.capsys = config, capsys
        self.fresh: dict[tuple[int, int], Any] = {}
        self.losses: dict[tuple[int, int], Any] = {}
        self.confirmed: list[tuple[int, int]] = []
        self.retrained: list[tuple[int, int]] = []
        self.interrupt_at: tuple[str, int, int] | None = None
        self.reason, self.at_its_end = "Ctrl-C", False
        self.takes, self.now = 0.0, 0.0
        self.stop = StopSignal()

    def settings(self, **retrain: Any) -> Any:
        self.config["retrain"].update(retrain)
        return load_settings(self.config, environment={})

    @property
    def save_dir(self) -> Path:
        return Path(self.config["save_dir"])

    def run(self, **retrain: Any) -> SimpleNamespace:
        """Confirms, retrains and tests, as a run that goes on with the study does."""
        self.confirmed.clear()
        self.retrained.clear()
        self.stop = StopSignal()
        settings = self.settings(**retrain)
        dataset = prepare_dataset(settings.data)
        with open_session(settings, dataset, resume=True, events=RunConsole(Terminal())) as session:
            entries = run_final_phase(session, self.stop)
            results = write_results(session)
        on_disk = (self.save_dir / "results.json").read_text(encoding="utf-8")

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        assert json.loads(on_disk, parse_constant=refuse) == json.loads(json.dumps(results))
        opened = dataset.test.times_opened
        return SimpleNamespace(entries=entries, results=results, opened=opened, text=self.capsys.readouterr().out)

    def confirm(
        self, runner: TrialRunner, number: int, params: dict[str, Any], on_report: Any, *, checkpoint: Path
    ) -> Any:
        """In the place of TrialRunner.confirm."""
        trial, seed = divmod(number, SEEDS_APART)
        self.confirmed.append((trial, seed))
        score = self.fresh.get((trial, seed), 0.6 - 0.01 * ORDER.index(trial) if trial in ORDER else 0.5)
        if isinstance(score, BaseException):
            raise score
        decision = self._tell(on_report, score, 0.6, ("confirm", trial, seed))
        return SimpleNamespace(outcome=outcome(0.6, score, decision=decision))

    def retrain(
        self,
        runner: TrialRunner,
        number: int,
        params: dict[str, Any],
        fold: Any,
        epochs: int,
        on_report: Any,
        *,
        checkpoint: Path,
    ) -> TrainedNetwork:
        """In the place of TrialRunner.retrain: a network that was not trained at all."""
        trial, seed = divmod(number, SEEDS_APART)
        self.retrained.append((trial, seed))
        loss = self.losses.get((trial, seed), 0.6 + 0.01 * seed)
        if isinstance(loss, BaseException):
            raise loss
        decision = self._tell(on_report, 0.6, loss, ("retrain", trial, seed))
        network = build_network(runner.costs.network_config(params), seed=number, device=CPU)
        return TrainedNetwork((network,), outcome(loss, decision=decision), None, "float32")

    def _tell(self, on_report: Any, score: float, loss: float, which: tuple[str, int, int]) -> Decision:
        """Two reports, of which the last comes with an evaluation."""
        self.now += self.takes
        if self.interrupt_at == which and not self.at_its_end:
            self.stop.end(self.reason)
        decision: Decision = on_report(ProgressReport(0.5, 0.5, 1.0))
        if decision != CONTINUE:
            return decision
        if self.interrupt_at == which:
            self.stop.end(self.reason)
        last: Decision = on_report(ProgressReport(1.0, 1.0, 1.0, score, loss, last=True))
        return last


@pytest.fixture(scope="module")
def config(tiny_settings) -> dict[str, Any]:
    return {
        **tiny_settings,
        "study": {"n_trials": FRONT, "portfolio": False},
        "sampler": {"type": "random"},
        "pruner": {"type": "none"},
        "retrain": {"enabled": True, "top_k": 2, "full_epochs": 2, "confirm_seeds": 2, "seeds": 2},
    }


@pytest.fixture(scope="module")
def planted_study(config, tmp_path_factory) -> Path:
    """The study that most tests begin with, made once."""
    folder = tmp_path_factory.mktemp("planted") / "results"
    plant({**config, "save_dir": str(folder)}, SCORES)
    return folder


@pytest.fixture
def make_world(config, planted_study, tmp_path, monkeypatch, capsys) -> Callable[..., World]:
    def make(scores: Sequence[float] = SCORES, **changed: Any) -> World:
        folder = tmp_path / "results"
        own = {**config, "retrain": dict(config["retrain"]), "save_dir": str(folder), **changed}
        if scores == SCORES and not changed:
            shutil.copytree(planted_study, folder)
        else:
            plant(own, scores)
        world = World(own, capsys)
        monkeypatch.setattr(
            TrialRunner, "confirm", lambda runner, *about, **kept: world.confirm(runner, *about, **kept)
        )
        monkeypatch.setattr(
            TrialRunner, "retrain", lambda runner, *about, **kept: world.retrain(runner, *about, **kept)
        )
        return world

    return make


@pytest.fixture
def world(make_world) -> World:
    return make_world()


def rounds(trials, *seeds):
    return [(trial, seed) for seed in seeds for trial in trials]


# ---------------------------------------------------------------------- who is confirmed, retrained and judged


def test_three_times_top_k_of_the_front_are_confirmed_and_the_best_of_them_retrained(world):
    found = world.run()
    assert world.confirmed == rounds(range(6), 1, 2)
    assert world.retrained == [(5, 1), (5, 2), (0, 1), (0, 2)]
    assert [(entry["model_rank"], entry["trial_number"]) for entry in found.entries] == [(1, 5), (2, 0)]
    assert found.results["retrained_models"] == found.entries
    assert (found.results["verdict"]["model_rank"], found.results["verdict"]["trial_number"]) == (1, 5)
    assert found.opened == 1
    (opening,) = found.results["test_openings"]
    assert opening["trials"] == [5, 0]
    assert date.fromisoformat(opening["time"][:10])


def test_a_front_that_is_smaller_is_confirmed_as_a_whole(make_world):
    world = make_world([0.9, 0.8, 0.7])
    found = world.run(top_k=5)
    assert world.confirmed == rounds(range(3), 1, 2)
    assert [entry["trial_number"] for entry in found.entries] == [0, 1, 2]
    assert "Retraining 3 candidates, not 5: the front and its confirmation left no more." in found.text


def test_results_tell_of_every_candidate_what_the_search_and_fresh_seeds_said(world):
    world.fresh = {(2, 1): 0.55, (2, 2): 0.57}  # its mean is 0.56, as that of trial 4, which the search has after it
    confirmation = world.run().results["confirmation"]
    assert (confirmation["seeds"], confirmation["ended_by"]) == (2, None)
    rows = confirmation["candidates"]
    assert [(row["rank"], row["trial_number"], row["search_rank"]) for row in rows] == [
        (1, 5, 6),
        (2, 0, 1),
        (3, 3, 4),
        (4, 1, 2),
        (5, 2, 3),
        (6, 4, 5),
    ]
    assert rows[4]["scores"] == [0.55, 0.57]
    assert rows[4]["mean"] == pytest.approx(0.56)
    assert rows[4]["standard_deviation"] == pytest.approx(0.01 * 2**0.5)
    assert rows[0]["search_score"] == pytest.approx(0.85)
    assert {row["failure"] for row in rows} == {None}


def test_the_terminal_tells_of_confirmation_seeds_and_verdict(world):
    text = world.run().text
    assert "Confirming the first 6 of the front on validation, each with 2 fresh seeds (12 trainings) …" in text
    assert "Confirmed with fresh seeds: accuracy on validation" in text
    assert "Retraining rank 2 (trial 0) on all training windows, seed 2 of 2 …" in text
    assert "Verdict: no better than chance" in text
    assert "Model 1 has an accuracy of " in text
    assert "The other models are exploratory" in text
    assert "The test period was opened once." in text


def test_shrinkage_leads_from_the_search_over_confirmation_to_the_test(world):
    results = world.run().results
    steps = results["verdict"]["shrinkage"]
    assert steps["search_score"] == pytest.approx(0.85)
    assert steps["confirmed_score"] == pytest.approx(0.6)
    assert steps["test_score"] == results["verdict"]["score"]
    assert steps["search_to_test"] == pytest.approx(0.85 - steps["test_score"])
    assert steps["confirmed_to_test"] == pytest.approx(0.6 - steps["test_score"])


def test_the_strategy_and_overfitting_are_about_the_confirmed_first(make_world, config):
    world = make_world(data={**config["data"], "target": "direction"})
    before = json.loads((world.save_dir / "results.json").read_text())["overfitting"]
    assert before["deflated_sharpe"]["trial_number"] == 0  # the search's first, as long as nothing is confirmed
    after = world.run().results["overfitting"]
    assert after["deflated_sharpe"]["trial_number"] == 5
    assert after["deflated_sharpe"]["n_trials"] == FRONT
    assert after["pbo"] == before["pbo"]
    assert (after["pbo"]["value"], after["pbo"]["why"]) == (
        None,
        f"too few trials: {FRONT}, and at least 10 are needed",
    )


# ---------------------------------------------------------------------- what is done is not done again


def test_a_second_run_neither_trains_nor_opens_the_test_again(world):
    first, second = world.run(), world.run()
    assert (world.confirmed, world.retrained, second.opened) == ([], [], 0)
    assert second.entries == json.loads(json.dumps(first.entries))
    assert "These finalists are already retrained and tested; their results are kept." in second.text
    assert first.results["verdict"]["sentence"] in " ".join(second.text.split())
    changing = {"timestamp"}
    assert {k: v for k, v in second.results.items() if k not in changing} == json.loads(
        json.dumps({k: v for k, v in first.results.items() if k not in changing})
    )


@pytest.mark.parametrize("changed", [{"seeds": 3}, {"full_epochs": 3}])
def test_more_seeds_or_epochs_open_the_test_again_and_that_is_told(world, changed):
    first, second = world.run(), world.run(**changed)
    assert world.confirmed == []
    assert second.opened == 1
    assert len(world.retrained) == 2 * changed.get("seeds", 2)
    assert [len(found.results["test_openings"]) for found in (first, second)] == [1, 2]
    assert second.results["verdict"]["test_openings"] == 2
    assert "Warning: test set evaluated 2 times; results are no longer unbiased" in second.text
    assert "The test period was opened once." not in second.text


def test_more_fresh_seeds_are_added_to_those_there_are(world):
    """And where they change nothing in the order the test stays closed."""
    world.run()
    again = world.run(confirm_seeds=3)
    assert world.confirmed == rounds(range(6), 3)
    assert (world.retrained, again.opened) == ([], 0)
    confirmation, steps = again.results["confirmation"], again.results["verdict"]["shrinkage"]
    assert confirmation["seeds"] == 3
    assert steps["confirmed_score"] == confirmation["candidates"][0]["mean"]
    assert steps["confirmed_to_test"] == pytest.approx(steps["confirmed_score"] - steps["test_score"])


def test_fresh_seeds_that_change_the_order_change_the_finalists(world):
    world.run()
    world.fresh = {(2, 3): 0.9}
    again = world.run(confirm_seeds=3)
    assert [entry["trial_number"] for entry in again.entries] == [2, 5]
    assert again.opened == 1
    assert len(again.results["test_openings"]) == 2


def test_a_model_of_an_earlier_round_goes_away(world):
    world.run()
    assert {path.name for path in world.save_dir.glob("retrained_model_*")} == {
        "retrained_model_1",
        "retrained_model_2",
    }
    world.run(top_k=1, seeds=1)
    assert {path.name for path in world.save_dir.glob("*retrained_model_*")} == {"retrained_model_1"}


# ---------------------------------------------------------------------- interrupted


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("at", [(0, 1), (3, 1), (2, 2), (5, 2)])
def test_an_interrupted_confirmation_leaves_the_test_closed_and_is_gone_on_with(world, at):
    world.interrupt_at = ("confirm", *at)
    cut = world.run()
    assert (cut.entries, cut.opened, world.retrained) == ([], 0, [])
    assert world.confirmed[-1] == at
    assert "Confirmation ended by Ctrl-C; the test period stays closed." in cut.text
    assert cut.results["confirmation"] is None
    assert cut.results["verdict"] is None
    assert cut.results["test_openings"] == []
    done = world.confirmed[:-1]

    world.interrupt_at = None
    again = world.run()
    assert world.confirmed == rounds(range(6), 1, 2)[len(done) :]
    assert f"({12 - len(done)} training{'s' * (len(done) < 11)}) …" in again.text
    assert [entry["trial_number"] for entry in again.entries] == [5, 0]
    assert again.opened == 1


def test_an_interrupted_retraining_leaves_the_test_closed_and_keeps_the_confirmation(world):
    world.interrupt_at = ("retrain", 5, 2)
    cut = world.run()
    assert (cut.entries, cut.opened) == ([], 0)
    assert world.retrained == [(5, 1), (5, 2)]
    assert "Retraining ended by Ctrl-C; the test period stays closed." in cut.text
    assert cut.results["confirmation"]["candidates"][0]["trial_number"] == 5
    assert not list(world.save_dir.glob("retrained_model_*"))
    world.interrupt_at = None
    again = world.run()
    assert world.confirmed == []
    assert again.opened == 1


@pytest.mark.parametrize("reason", ["Ctrl-C", "SIGTERM"])
def test_what_has_ended_it_is_told(world, reason):
    world.reason, world.interrupt_at = reason, ("confirm", 0, 1)
    assert f"Confirmation ended by {reason}; the test period stays closed." in world.run().text
    world.interrupt_at = ("retrain", 5, 1)
    assert f"Retraining ended by {reason}; the test period stays closed." in world.run().text


@pytest.mark.parametrize(("which", "stage"), [(("confirm", 4, 2), "Confirmation"), (("retrain", 0, 2), "Retraining")])
def test_a_training_that_is_at_its_end_is_not_lost_to_ctrl_c(world, which, stage):
    """Nothing of it is left to be stopped. The test stays closed all the same, even where it was the last training."""
    world.interrupt_at, world.at_its_end = which, True
    cut = world.run()
    assert (cut.entries, cut.opened, cut.results["test_openings"]) == ([], 0, [])
    assert f"{stage} ended by Ctrl-C; the test period stays closed." in cut.text
    world.interrupt_at = None
    assert world.run().opened == 1
    assert not {which[1:]} & set(world.confirmed)


# ---------------------------------------------------------------------- the opening of the test period


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def killed_after_opening(world, monkeypatch) -> World:
    """A run has stored that it opens the test period, and then its process has ended."""

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(final_test, "evaluate_once", die)
        with pytest.raises(Killed):
            world.run()
    return world


def test_an_opening_that_was_cut_off_is_not_counted_twice(killed_after_opening):
    found = killed_after_opening.run()
    (opening,) = found.results["test_openings"]
    assert opening["trials"] == [5, 0]
    assert opening["models"] == [
        {"trial_number": 5, "seeds": [1, 2], "epochs": [2, 2]},
        {"trial_number": 0, "seeds": [1, 2], "epochs": [2, 2]},
    ]
    assert (found.opened, found.results["verdict"]["test_openings"]) == (1, 1)
    assert "The test period was opened once." in found.text


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("changed", [{"seeds": 1}, {"full_epochs": 3}, {"top_k": 1}])
def test_an_opening_for_other_models_is_another_one(killed_after_opening, changed):
    found = killed_after_opening.run(**changed)
    assert len(found.results["test_openings"]) == found.results["verdict"]["test_openings"] == 2
    assert "Warning: test set evaluated 2 times; results are no longer unbiased" in found.text


def test_an_opening_that_does_not_say_for_which_models_counts(world):
    """As earlier versions stored it."""
    storage = StudyStorage(world.save_dir / "study.db")
    storage.set_attribute("test_openings", [{"time": "2026-01-01T00:00:00+00:00", "trials": [5, 0]}])
    storage.close()
    assert len(world.run().results["test_openings"]) == 2


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("lost", ["metrics.json", "model.safetensors", ""])
def test_a_model_that_is_lost_is_made_again_and_that_is_the_same_opening(world, lost):
    first = world.run()
    path = world.save_dir / "retrained_model_2" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = world.run()
    assert world.retrained == [(5, 1), (5, 2), (0, 1), (0, 2)]
    assert path.exists()
    assert again.results["test_openings"] == first.results["test_openings"]
    assert again.results["verdict"] == first.results["verdict"]


def test_a_run_that_is_interrupted_after_the_search_ends_as_interrupted(world, monkeypatch):
    """The whole run: results are written, and the exit code is that of Ctrl-C."""
    world.interrupt_at = ("confirm", 1, 1)
    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.run.StopSignal", lambda timeout: world.stop)
    with pytest.raises(InterruptedRunError, match="resume --save-dir"):
        run(world.settings(), RunEvents(), resume=True)
    results = json.loads((world.save_dir / "results.json").read_text())
    assert results["test_openings"] == results["retrained_models"] == []


# ---------------------------------------------------------------------- failures


def test_a_candidate_that_fails_is_told_of_and_the_next_takes_its_place(world):
    world.fresh = {(5, 2): NonFiniteLossError("the loss became nan in epoch 1")}
    found = world.run()
    assert [entry["trial_number"] for entry in found.entries] == [0, 3]
    last = found.results["confirmation"]["candidates"][-1]
    assert (last["rank"], last["trial_number"], last["scores"]) == (None, 5, [0.6])
    assert last["failure"] == "fresh seed 2: the loss became nan in epoch 1"
    assert (
        "Warning: trial 5 is no candidate any more: it failed with fresh seed 2: the loss became nan in epoch 1"
        in found.text
    )


def test_a_candidate_that_diverged_is_not_tried_again(world):
    world.fresh = {(5, 1): NonFiniteLossError("the loss became nan in epoch 1")}
    first, second = world.run(), world.run()
    assert (world.confirmed, world.retrained, second.opened) == ([], [], 0)
    assert second.results["confirmation"] == first.results["confirmation"]


def test_where_all_candidates_fail_nothing_is_retrained(world):
    world.fresh = {(trial, 1): MemoryError() for trial in range(6)}
    found = world.run()
    assert (found.entries, found.opened, world.retrained) == ([], 0, [])
    assert "no candidate could be trained again, so none is retrained; the test period stays closed" in found.text
    assert [row["failure"] for row in found.results["confirmation"]["candidates"]] == ["fresh seed 1: MemoryError"] * 6
    assert found.results["test_openings"] == []


def test_a_finalist_that_fails_is_told_of_and_not_tried_again(world):
    world.losses = {(5, seed): RuntimeError("out of memory") for seed in (1, 2)}
    found = world.run()
    assert [(entry["model_rank"], entry["trial_number"]) for entry in found.entries] == [(2, 0)]
    assert found.results["retraining_failures"] == [{"model_rank": 1, "trial_number": 5, "reason": "out of memory"}]
    assert found.results["verdict"]["model_rank"] == 2
    assert "Model 2 has an accuracy" in found.results["verdict"]["sentence"]
    assert "Warning: rank 1 (trial 5) could not be retrained: out of memory" in found.text
    again = world.run()
    assert (again.opened, world.retrained) == (0, [])


def test_where_all_finalists_fail_the_test_stays_closed(world):
    world.losses = {(trial, seed): RuntimeError("out of memory") for trial in (5, 0) for seed in (1, 2)}
    found = world.run()
    assert (found.entries, found.opened) == ([], 0)
    assert "Retraining ended by failures alone; the test period stays closed." in found.text


def test_a_seed_that_fails_is_told_of(world):
    world.losses = {(5, 2): RuntimeError("out of memory")}
    found = world.run()
    first, second = found.entries
    assert [seed["seed"] for seed in first["seeds"]] == [1]
    assert first["seed_failures"] == ["seed 2: out of memory"]
    assert second["seed_failures"] == []
    assert "Warning: rank 1 (trial 5) lacks a seed that failed: seed 2: out of memory" in found.text


def test_the_kept_seed_is_the_best_on_validation(world):
    world.losses = {(5, 1): 0.7, (5, 2): 0.5}
    first, second = world.run().entries
    assert (first["training_results"]["seed"], second["training_results"]["seed"]) == (2, 1)
    assert first["training_results"]["validation_loss"] == 0.5
    assert [seed["validation_loss"] for seed in first["seeds"]] == [0.7, 0.5]
    assert first["test_metrics"]["test_score"] == first["seeds"][1]["test_score"]


# ---------------------------------------------------------------------- time


def test_the_confirmation_has_half_of_the_time(world, monkeypatch):
    monkeypatch.setattr("cnn_lstm_hyperopt.execution.stop.time", SimpleNamespace(monotonic=lambda: 0.0))
    given = []
    real = final_phase.confirm

    def spy(*about: Any, seconds_left: float | None, **facts: Any) -> Any:
        given.append(seconds_left)
        return real(*about, seconds_left=seconds_left, **facts)

    monkeypatch.setattr(final_phase, "confirm", spy)
    world.config["limits"] = {"retrain_seconds": 100.0}
    world.run()
    world.config["limits"] = {"retrain_seconds": None}
    world.run()
    assert given == [50.0, None]


@pytest.fixture
def clock(world, monkeypatch) -> World:
    """A world whose clocks stand still but for its trainings, and whose work after the search has 100 seconds."""
    for module in ("execution.stop", "pipeline.confirmation", "pipeline.retraining"):
        clock = SimpleNamespace(monotonic=lambda: world.now)
        monkeypatch.setattr(f"cnn_lstm_hyperopt.{module}.time", clock)
    world.config["limits"] = {"retrain_seconds": 100.0}
    return world


@pytest.fixture
def left(monkeypatch) -> list[float]:
    """What each confirmation is given."""
    given: list[float] = []
    real = final_phase.confirm

    def spy(*about: Any, seconds_left: float, **facts: Any) -> Any:
        given.append(seconds_left)
        return real(*about, seconds_left=seconds_left, **facts)

    monkeypatch.setattr(final_phase, "confirm", spy)
    return given


def test_a_run_that_goes_on_has_what_the_one_before_left_of_the_time(clock, left):
    """Two trainings, and the one within which it was interrupted."""
    clock.takes, clock.interrupt_at = 4.0, ("confirm", 2, 1)
    clock.run()
    clock.interrupt_at = None
    clock.run()
    assert left == [50.0, 50.0 - 3 * 4.0]


def test_the_next_round_has_all_its_time(clock, left):
    clock.takes = 1.0
    clock.run()
    clock.run(full_epochs=3)
    clock.run(full_epochs=3)
    assert left == [50.0] * 3


def test_a_confirmation_whose_time_was_up_is_not_gone_on_with(clock, left):
    """In the middle of its second round; interrupted in the retraining. The order and so the finalists are what they were."""
    clock.takes, clock.interrupt_at = 6.0, ("retrain", 5, 1)
    cut = clock.run()
    assert len(clock.confirmed) == 9
    clock.interrupt_at = None
    clock.takes = 1.0
    found = clock.run()
    assert clock.confirmed == []
    assert left[1] < 0
    assert found.results["confirmation"] == cut.results["confirmation"]
    assert found.results["confirmation"]["ended_by"] == TIME_IS_UP
    assert [entry["trial_number"] for entry in found.entries] == [5, 0]
    assert clock.run().opened == 0
    assert clock.confirmed == []


def test_without_time_for_a_round_the_search_s_order_stands(world, monkeypatch):
    """The clock of the confirmation alone has run far ahead."""
    now = iter(range(0, 10**9, 1000))
    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.confirmation.time", SimpleNamespace(monotonic=lambda: next(now)))
    world.config["limits"] = {"retrain_seconds": 100.0}
    found = world.run()
    assert [entry["trial_number"] for entry in found.entries] == [0, 1]
    confirmation = found.results["confirmation"]
    assert (confirmation["seeds"], confirmation["ended_by"]) == (0, TIME_IS_UP)
    assert [row["mean"] for row in confirmation["candidates"]] == [None] * 6
    assert "no fresh seed of each, so the search's order stands" in found.text
    assert found.results["verdict"]["shrinkage"]["confirmed_score"] is None


# ---------------------------------------------------------------------- the command line


def test_to_resume_without_anything_new_keeps_the_verdict_and_the_test_closed(world, capsys):
    """The whole command line, twice: the first confirms, retrains and tests; the second finds all of it done."""
    found = []
    for _ in range(2):
        assert main(["resume", "--save-dir", str(world.save_dir)]) == 0
        found.append((capsys.readouterr().out, json.loads((world.save_dir / "results.json").read_text())))
    (first, results), (second, again) = found
    assert results["verdict"]["sentence"] in first
    assert "The test period was opened once." in first
    assert "their results are kept" in second
    assert "the test period was opened" not in second.lower()
    for key in ("verdict", "retrained_models", "baselines", "confirmation", "overfitting", "test_openings"):
        assert again[key] == results[key]


# ---------------------------------------------------------------------- no trial beats chance

AT_CHANCE = [0.51, 0.52, 0.5, 0.49, 0.52, 0.51, 0.53, 0.5]


def test_a_front_below_chance_is_confirmed_retrained_and_tested(make_world, capsys):
    world = make_world(AT_CHANCE)
    assert main(["resume", "--save-dir", str(world.save_dir)]) == 0
    captured = capsys.readouterr()
    assert "none above chance" in captured.out
    assert "no trial beats the majority class on validation" in captured.out + captured.err
    results = json.loads((world.save_dir / "results.json").read_text())
    assert results["best_trials"]
    assert {trial["above_chance"] for trial in results["best_trials"]} == {False}
    assert results["best_trials"][0]["trial_number"] == 6
    assert len(results["retrained_models"]) == len(results["test_openings"][0]["trials"]) == 2
    for model in results["retrained_models"]:
        assert (Path(model["model_path"]) / "model.safetensors").is_file()
    assert results["verdict"]["grade"] == "no better than chance"
    assert results["verdict"]["skill"] is False
    assert results["verdict"]["sentence"].startswith("Model 1 has an accuracy of ")


def test_without_retraining_the_grade_is_chance_and_the_test_stays_closed(make_world, capsys):
    world = make_world(AT_CHANCE)
    world.config["retrain"]["enabled"] = False
    (world.save_dir / "config.yaml").write_text(yaml.safe_dump(world.config), encoding="utf-8")
    assert main(["resume", "--save-dir", str(world.save_dir)]) == 0
    results = json.loads((world.save_dir / "results.json").read_text())
    assert results["verdict"]["grade"] == "no better than chance"
    assert results["verdict"]["sentence"].startswith("None of 8 trials beats the majority class on validation: ")
    assert results["test_openings"] == results["retrained_models"] == results["baselines"] == []
    assert (world.confirmed, world.retrained) == ([], [])


def test_before_a_trial_is_finished_there_is_no_verdict(make_world):
    world = make_world([])
    results = json.loads((world.save_dir / "results.json").read_text())
    assert results["verdict"] is None
    assert results["overfitting"]["pbo"]["value"] is None
    assert results["overfitting"]["pbo"]["why"] == "no trial has left predictions on validation"
