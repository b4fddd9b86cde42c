"""Final phase with real trainings: killed at any event, write or removal, and resumed to the same results."""

import json
import os
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builders.finalists import Killed, plant
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import LockedPeriod, prepare_dataset
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

RETRAIN = {"enabled": True, "top_k": 2, "full_epochs": 2, "confirm_seeds": 1, "seeds": 1}
TIMES = {"timestamp", "time", "training_time", "cost_model", "latency"}
FILES = ("predictions.csv", "README.md", "ensemble.json", "model.json")


class World(RunEvents):
    """A directory and runs on it; at one of the moments of a run the process ends.

    Attributes:
        moments: names of the moments of the latest run.
        trained: how often each epoch of each training was trained.
    """

    def __init__(self, config: dict[str, Any], origin: Path) -> None:
        self.config, self.origin, self.save_dir = config, origin, Path(config["save_dir"])
        settings = load_settings(config, environment={})
        self.dataset = prepare_dataset(settings.data, evaluation=settings.evaluation)
        self.moments: list[str] = []
        self.kill_at: int | None = None
        self.armed = False
        self.trained: Counter[tuple[str, float]] = Counter()
        self.begin()

    def begin(self, origin: Path | None = None) -> None:
        """Restore the directory from its origin."""
        self.origin = origin or self.origin
        shutil.rmtree(self.save_dir, ignore_errors=True)
        shutil.copytree(self.origin, self.save_dir)
        self.trained.clear()

    def moment(self, name: str) -> None:
        if not self.armed:
            return
        self.moments.append(name)
        if len(self.moments) - 1 == self.kill_at:
            self.armed = False  # the clean-up is not killed
            raise Killed(name)

    def on_training(self, which: str, report: ProgressReport, epochs: int) -> None:
        if report.score is not None and not report.again:
            self.trained[which, report.epoch] += 1
            self.moment(f"{which}, epoch {report.epoch:g}")

    def run(self, kill_at: int | None = None, limit: float | None = None, **retrain: Any) -> SimpleNamespace:
        """Resume the study as a new process would."""
        config = {**self.config, "retrain": {**RETRAIN, **retrain}, "limits": {"retrain_seconds": limit}}
        dataset = replace(self.dataset, test=LockedPeriod(self.dataset.test.open()))
        self.moments, self.kill_at = [], kill_at
        with open_session(load_settings(config, environment={}), dataset, resume=True, events=self) as session:
            self.armed = True
            try:
                run_final_phase(session, StopSignal())
                results = write_results(session)
            finally:
                self.armed = False
        return SimpleNamespace(results=lasting(results), opened=dataset.test.times_opened, files=self.files())

    def run_whole(self, **facts: Any) -> SimpleNamespace:
        """A run without a kill."""
        found = self.run(**facts)
        found.trained, found.moments = self.trained.copy(), list(self.moments)
        assert set(found.trained.values()) == {1}
        assert found.opened == 1
        return found

    def check_kill(self, whole: SimpleNamespace, kill_at: int, openings: int = 1, **facts: Any) -> None:
        """A run that is killed there and the next give the same results; nothing is done twice, nothing is left over."""
        self.begin()
        with pytest.raises(Killed) as killed:
            self.run(kill_at, **facts)
        self.require_readable()
        before = self.trained.copy()
        found = self.run(**facts)
        assert (found.results, found.files) == (whole.results, whole.files), killed.value
        assert self.trained.keys() == whole.trained.keys()
        twice = [epoch for epoch, times in self.trained.items() if times > 1]
        assert twice in ([], list(before)[-1:]), killed.value  # at most the one that was under way
        assert len(found.results["test_openings"]) == openings
        left_over = [self.save_dir.glob(name) for name in ("checkpoints", ".retrained_model_*", ".ensemble*")]
        assert [path for paths in left_over for path in paths] == []
        self.require_readable()

    def files(self) -> dict[str, str]:
        """Predictions and facts of every model and of the ensemble."""
        paths = [path for folder in model_folders(self.save_dir) for path in folder.rglob("*") if path.name in FILES]
        return {str(path.relative_to(self.save_dir)): path.read_text(encoding="utf-8") for path in paths}

    def require_readable(self) -> None:
        """Models load and results parse."""
        for folder in model_folders(self.save_dir):
            load_model(folder)
            json.loads((folder / "metrics.json").read_text())
            assert (folder / "predictions.csv").is_file()
            assert (folder / "README.md").is_file()
        json.loads((self.save_dir / "results.json").read_text())


def lasting(tree: Any) -> Any:
    """Results without times."""
    if isinstance(tree, dict):
        return {key: lasting(value) for key, value in tree.items() if key not in TIMES}
    return [lasting(each) for each in tree] if isinstance(tree, list | tuple) else tree


@pytest.fixture
def world(tiny_settings, tmp_path, monkeypatch, request):
    """A moment follows each change of the study or of a name in the directory; one is amid each removal of a folder."""
    config = {
        **tiny_settings,
        "study": {"n_trials": 3, "portfolio": False},
        "data": {**tiny_settings["data"], "symbols": ["AAPL"], "start": "2007-01-01"},
        "training": {"max_epochs": 2},
        "sampler": {"type": "random"},
        "pruner": {"type": "none"},
        "retrain": RETRAIN,
        "evaluation": {"test_periods": getattr(request, "param", 1)},
    }
    plant({**config, "save_dir": str(tmp_path / "planted")}, (0.95, 0.9, 0.85))
    world = World({**config, "save_dir": str(tmp_path / "results")}, tmp_path / "planted")

    def watch(owner, name, text):
        real = getattr(owner, name)

        def watched(*about, **facts):
            found = real(*about, **facts)
            world.moment(f"{name} {text(*about)}".strip())
            return found

        monkeypatch.setattr(owner, name, watched)

    watch(StudyStorage, "set_attribute", lambda storage, attribute, value: attribute)
    watch(Path, "unlink", lambda path: path.name)
    for name in ("rename", "replace"):
        watch(Path, name, lambda path, target: Path(target).name)
    for name in ("save_models", "evaluate_once", "write_retrained"):
        watch(final_test, name, lambda *about: "")
    remove = shutil.rmtree

    def rmtree(folder, **facts):
        for path in sorted(path for path in folder.rglob("*") if path.is_file())[:1]:
            os.remove(path)
            world.moment(f"amid the removal of {folder.name}")
        remove(folder, **facts)
        world.moment(f"after the removal of {folder.name}")

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    return world


@pytest.fixture
def whole(world) -> SimpleNamespace:
    """The first round, whole."""
    found = world.run_whole()
    assert len(found.trained) == 2 * (3 + 2)
    assert len(found.results["test_openings"]) == 1
    folders = {Path(name).parent.name for name in found.files if name.endswith(".csv")}
    assert folders == {"ensemble", "retrained_model_1", "retrained_model_2"}
    return found


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("moment", ["rank 2, seed 1, epoch 2", "set_attribute test_openings", "replace results.json"])
def test_a_killed_run_is_resumed_to_the_same_results(world, whole, moment):
    world.check_kill(whole, whole.moments.index(moment))


@pytest.mark.slow
@pytest.mark.parametrize("world", [2], indirect=True)
def test_a_killed_walk_forward_test_is_resumed_to_the_same_results(world):
    whole = world.run_whole()
    assert len(whole.trained) == 2 * (3 + 2 + 2)
    first = whole.moments.index("set_attribute test_openings")
    for kill_at in range(first, len(whole.moments), 5):
        world.check_kill(whole, kill_at)


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("part", range(4))  # so that no test takes long
def test_it_is_resumed_from_every_moment(world, whole, part):
    for kill_at in range(part, len(whole.moments), 4):
        world.check_kill(whole, kill_at)


@pytest.mark.slow
def test_a_sufficient_time_limit_changes_nothing(world):
    """The used time is stored with each epoch."""
    whole = world.run_whole(limit=1e6)
    assert whole.moments.count("set_attribute final_round") > len(whole.trained)
    for kill_at in range(5, len(whole.moments), 11):
        world.check_kill(whole, kill_at, limit=1e6)


@pytest.fixture
def first_round(world, tmp_path) -> SimpleNamespace:
    """A finished first round, to which the directory is restored."""
    found = world.run_whole()
    world.begin(Path(shutil.copytree(world.save_dir, tmp_path / "first round")))
    return found


@pytest.mark.slow
def test_a_killed_second_round_replaces_the_first(world, first_round):
    """It has more epochs, so other models; it is killed while folders are moved and removed."""
    whole = world.run_whole(full_epochs=3)
    words = ("rename", "removal", "results.json", "retrainings")
    places = [place for place, name in enumerate(whole.moments) if any(word in name for word in words)]
    assert len(places) >= 12
    for place in places:
        world.check_kill(whole, place, openings=2, full_epochs=3)


@pytest.mark.slow
def test_after_an_abandoned_second_round_the_first_is_restored(world, first_round):
    """Killed when one folder is of the second round and the results are of the first."""
    names = world.run_whole(full_epochs=3).moments
    world.begin()
    with pytest.raises(Killed):
        world.run(names.index("rename retrained_model_1"), full_epochs=3)
    found = world.run()
    cards = {
        name for name in found.files if name.endswith("README.md")
    }  # with the wider intervals of a third evaluation
    same = [{name: each.files[name] for name in each.files.keys() - cards} for each in (found, first_round)]
    assert (same[0], found.files.keys(), found.opened) == (same[1], first_round.files.keys(), 1)
    assert [opening["models"][0]["epochs"] for opening in found.results["test_openings"]] == [[2], [3], [2]]


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("seed", range(2))
def test_a_run_that_is_killed_many_times_gives_the_same_results(world, whole, seed):
    """Killed after ever more moments until it ends."""
    world.begin()
    rng, kills, found = random.Random(seed), 0, None
    while found is None:
        try:
            found = world.run(rng.randrange(3, 16 + 2 * kills))
        except Killed:
            kills += 1
            world.require_readable()
    assert kills > 3
    assert (found.results, found.files) == (whole.results, whole.files)
    assert world.trained.total() <= len(whole.trained) + kills
    assert len(found.results["test_openings"]) == 1
