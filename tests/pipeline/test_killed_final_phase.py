"""Confirmation, retraining, the test and its results: killed whenever something is told or stored, and gone on with.

Real trainings of tiny networks on a study whose trials are planted. A kill is an exception that nobody catches: after it the next
run has nothing but what lies in the directory.
"""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builders.finalists import plant
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import Dataset, LockedPeriod, prepare_dataset
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.inference.model import load_model
from cnn_lstm_hyperopt.pipeline import final_test
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.run_dir.paths import model_folders
from cnn_lstm_hyperopt.search import StudyStorage

pytestmark = pytest.mark.usefixtures("quick_final_round")

SCORES = (0.9, 0.8, 0.7)
RETRAIN = {"enabled": True, "top_k": 2, "full_epochs": 2, "confirm_seeds": 1, "seeds": 1}


class Killed(BaseException):
    """The process ends here."""


class Moments:
    """Everything that is told or stored passes here; at one of these moments the process ends.

    Attributes:
        names: of what has passed.
        kill_at: place of the last that passes; None: all do.
        trained: how often each epoch of each training was trained.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.kill_at: int | None = None
        self.trained: Counter[tuple[str, float]] = Counter()
        self.armed = False

    def pass_(self, name: str) -> None:
        if not self.armed:
            return
        self.names.append(name)
        if len(self.names) - 1 == self.kill_at:
            self.armed = False  # what cleans up on the way out is not killed, too
            raise Killed(name)


class Telling(RunEvents):
    """Says nothing; each epoch is a moment."""

    def __init__(self, moments: Moments) -> None:
        self.moments = moments

    def on_training(self, which: str, report: ProgressReport, epochs: int) -> None:
        if report.score is not None and not report.again:
            self.moments.trained[which, report.epoch] += 1
            self.moments.pass_(f"{which}, epoch {report.epoch:g}")


@pytest.fixture(autouse=True)
def moments(monkeypatch, tmp_path) -> Moments:
    """After whatever changes the study or a name in the directory, and amid the removal of a folder."""
    moments = Moments()

    def watch(owner: Any, name: str, what: Callable[..., Any]) -> None:
        real = getattr(owner, name)

        def watched(*about: Any, **facts: Any) -> Any:
            found = real(*about, **facts)
            moments.pass_(f"{name} {what(*about)}".strip())
            return found

        monkeypatch.setattr(owner, name, watched)

    watch(StudyStorage, "set_attribute", lambda storage, attribute, value: attribute)
    watch(Path, "unlink", lambda path: path.name)
    for name in ("rename", "replace"):
        watch(Path, name, lambda path, target: Path(target).name)
    for name in ("save_models", "evaluate_once", "write_retrained"):
        watch(final_test, name, lambda *about: "")
    remove = shutil.rmtree

    def rmtree(folder: Path, **facts: Any) -> None:
        for path in sorted(path for path in folder.rglob("*") if path.is_file())[:1]:
            os.remove(path)
            moments.pass_(f"amid the removal of {folder.name}")
        remove(folder, **facts)
        moments.pass_(f"after the removal of {folder.name}")

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    return moments


@pytest.fixture(scope="module")
def config(tiny_settings) -> dict[str, Any]:
    return {
        **tiny_settings,
        "study": {"n_trials": len(SCORES), "portfolio": False},
        "data": {**tiny_settings["data"], "symbols": ["AAPL"], "start": "2007-01-01"},
        "training": {"max_epochs": 2},
        "sampler": {"type": "random"},
        "pruner": {"type": "none"},
        "retrain": RETRAIN,
    }


@pytest.fixture(scope="module")
def dataset(config) -> Dataset:
    return prepare_dataset(load_settings(config, environment={}).data)


@pytest.fixture(scope="module")
def planted_study(config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("planted") / "results"
    plant({**config, "save_dir": str(folder)}, SCORES)
    return folder


class World:
    """One directory, and runs that work on it one after the other."""

    def __init__(self, config: dict[str, Any], dataset: Dataset, moments: Moments, origin: Path) -> None:
        self.config, self.dataset, self.moments, self.origin = config, dataset, moments, origin
        self.save_dir = Path(config["save_dir"])
        self.begin()

    def begin(self) -> None:
        """As it was at first."""
        self.moments.armed = False
        if self.save_dir.exists():
            shutil.rmtree(self.save_dir)
        shutil.copytree(self.origin, self.save_dir)
        self.moments.trained.clear()

    def run(self, kill_at: int | None = None, limit: float | None = None, **retrain: Any) -> SimpleNamespace:
        """A new process, as far as one can be had within this one."""
        config = {**self.config, "retrain": {**RETRAIN, **retrain}, "limits": {"retrain_seconds": limit}}
        dataset = replace(self.dataset, test=LockedPeriod(self.dataset.test.open()))
        moments = self.moments
        moments.names, moments.kill_at = [], kill_at
        settings = load_settings(config, environment={})
        with open_session(settings, dataset, resume=True, events=Telling(moments)) as session:
            moments.armed = True
            try:
                entries = run_final_phase(session, StopSignal())
                results = write_results(session)
            finally:
                moments.armed = False
        return SimpleNamespace(entries=entries, results=lasting(results), opened=dataset.test.times_opened)


TIMES = {"timestamp", "time", "training_time", "cost_model", "latency"}


def lasting(tree: Any) -> Any:
    """Results without the times in them."""
    if isinstance(tree, dict):
        return {key: lasting(value) for key, value in tree.items() if key not in TIMES}
    return [lasting(each) for each in tree] if isinstance(tree, list | tuple) else tree


def predictions(save_dir: Path) -> dict[str, str]:
    """Of every model and of the ensemble, with their cards and what the ensemble is made of."""
    names = ("predictions.csv", "README.md", "ensemble.json", "model.json")
    files = [path for folder in model_folders(save_dir) for path in folder.rglob("*") if path.name in names]
    return {str(path.relative_to(save_dir)): path.read_text(encoding="utf-8") for path in files}


def require_readable(save_dir: Path) -> None:
    """What a reader finds at any moment is whole: models that load, results that parse."""
    for folder in model_folders(save_dir):
        load_model(folder)
        json.loads((folder / "metrics.json").read_text())
        assert (folder / "predictions.csv").is_file()
        assert (folder / "README.md").is_file()
    json.loads((save_dir / "results.json").read_text())


@pytest.fixture
def world(config, dataset, moments, planted_study, tmp_path) -> World:
    return World({**config, "save_dir": str(tmp_path / "results")}, dataset, moments, planted_study)


def killed_and_gone_on_with(
    world: World, whole: SimpleNamespace, kill_at: int, openings: int = 1, **facts: Any
) -> None:
    """A run that is killed at that moment and the next, to its end: the same results, nothing done twice, nothing left over."""
    world.begin()
    with pytest.raises(Killed) as killed:
        world.run(kill_at, **facts)
    require_readable(world.save_dir)
    before = world.moments.trained.copy()
    found = world.run(**facts)
    assert found.results == whole.results, killed.value
    assert predictions(world.save_dir) == whole.predictions
    twice = [epoch for epoch, times in world.moments.trained.items() if times > 1]
    assert len(twice) <= 1, (killed.value, twice)
    assert world.moments.trained.keys() == whole.trained.keys()
    if twice:  # the one that was under way
        assert twice[0] == list(before)[-1]
    assert len(found.results["test_openings"]) == openings
    assert not (world.save_dir / "checkpoints").exists()
    assert not list(world.save_dir.glob(".retrained_model_*")) + list(world.save_dir.glob(".ensemble*"))
    require_readable(world.save_dir)


def run_whole(world: World, **facts: Any) -> SimpleNamespace:
    """A run that nobody kills, with what it trained, wrote and passed."""
    found = world.run(**facts)
    found.predictions, found.trained = predictions(world.save_dir), world.moments.trained.copy()
    found.moments = list(world.moments.names)
    assert set(found.trained.values()) == {1}
    assert found.opened == 1
    return found


@pytest.fixture
def whole(world) -> SimpleNamespace:
    """The first round, whole."""
    found = run_whole(world)
    assert len(found.trained) == 2 * (3 + 2)
    assert len(found.results["test_openings"]) == 1
    assert {name for name in found.predictions if name.endswith(".csv")} == {
        f"{folder}/predictions.csv" for folder in ("ensemble", "retrained_model_1", "retrained_model_2")
    }
    return found


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("moment", ["rank 2, seed 1, epoch 2", "set_attribute test_openings", "replace results.json"])
def test_a_run_that_is_killed_is_gone_on_with_to_the_same_results(world, whole, moment):
    """As a model is trained, as the test is about to be opened, and between the results and the end."""
    killed_and_gone_on_with(world, whole, whole.moments.index(moment))


PARTS = 4
"""Of the moments, so that no test takes long."""


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_the_moment(world, whole, part):
    for kill_at in range(part, len(whole.moments), PARTS):
        killed_and_gone_on_with(world, whole, kill_at)


@pytest.mark.slow
def test_a_limit_of_time_that_is_kept_changes_nothing(world):
    """What is used up of it is stored with each epoch."""
    whole = run_whole(world, limit=1e6)
    assert whole.moments.count("set_attribute final_round") > len(whole.trained)
    for kill_at in range(5, len(whole.moments), 11):
        killed_and_gone_on_with(world, whole, kill_at, limit=1e6)


@pytest.mark.slow
def test_a_second_round_that_is_killed_takes_the_place_of_the_first(world, tmp_path):
    """More epochs, so other models; killed while folders are moved and removed. Models of the two rounds never mix."""
    world.run()
    world.origin = Path(shutil.copytree(world.save_dir, tmp_path / "first round"))
    world.begin()
    whole = run_whole(world, full_epochs=3)
    words = ("rename", "removal", "results.json", "retrainings")
    places = [place for place, name in enumerate(whole.moments) if any(word in name for word in words)]
    assert len(places) >= 12
    for place in places:
        killed_and_gone_on_with(world, whole, place, openings=2, full_epochs=3)


@pytest.mark.slow
def test_a_second_round_that_is_given_up_leaves_the_first_to_be_had_again(world, tmp_path):
    """Killed when one folder is of the second round and the results are of the first; then the first is asked for again."""
    first = run_whole(world)
    world.origin = Path(shutil.copytree(world.save_dir, tmp_path / "first round"))
    world.begin()
    names = run_whole(world, full_epochs=3).moments
    world.begin()
    with pytest.raises(Killed):
        world.run(names.index("rename retrained_model_1"), full_epochs=3)
    found = world.run()
    assert predictions(world.save_dir) == first.predictions
    assert found.opened == 1
    assert [opening["models"][0]["epochs"] for opening in found.results["test_openings"]] == [[2], [3], [2]]


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("seed", range(2))
def test_however_often(world, whole, seed):
    """Killed again and again, after a few moments and then a few more, until it comes through: the last step has some thirty."""
    world.begin()
    rng, kills = random.Random(seed), 0
    while True:
        try:
            found = world.run(rng.randrange(3, 16 + 2 * kills))
            break
        except Killed:
            kills += 1
            require_readable(world.save_dir)
    assert kills > 3
    assert found.results == whole.results
    assert predictions(world.save_dir) == whole.predictions
    assert world.moments.trained.total() <= len(whole.trained) + kills
    assert len(found.results["test_openings"]) == 1
