"""Final refit with real trainings: what it trains on, for how long, what it replaces, and how it is resumed."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders.errors import raises
from builders.finalists import CPU, Killed, plant
from cnn_lstm_hyperopt import load_model, run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import LockedPeriod, prepare_dataset
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.inference.refit import refit_failure_text
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.final_refit import with_final_refit
from cnn_lstm_hyperopt.pipeline.results.training_record import SeedRecord, refit_epochs
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.reporting.status import status_lines
from cnn_lstm_hyperopt.training import FoldTraining, TrainingConfig, ValueScale
from cnn_lstm_hyperopt.training.runtime.device import one_thread, seeded_dropout
from cnn_lstm_hyperopt.utils.rng import stream_seed

pytestmark = pytest.mark.usefixtures("quick_final_round")

RETRAIN = {"enabled": True, "top_k": 2, "full_epochs": 4, "confirm_seeds": 1, "seeds": 2}


@given(st.lists(st.integers(1, 200), min_size=1, max_size=9))
def test_the_epochs_are_the_median_of_the_best_epochs(best):
    epochs = refit_epochs([SeedRecord(seed, each, 200, ()) for seed, each in enumerate(best, start=1)])
    assert 2 * sum(each < epochs for each in best) <= len(best) >= 2 * sum(each > epochs for each in best)
    assert min(best) <= epochs <= max(best)
    assert refit_epochs([SeedRecord(1, 2, 9, ()), SeedRecord(2, 5, 9, ())]) == 4  # 3.5


class World(RunEvents):
    """A study with retrained models, and runs on it; at an epoch of the refit the process ends.

    Attributes:
        trained: how often each epoch of the refit was reported.
        spoiled: whether an input of the refit is not a number.
        kill_at: (training, epoch) at which the run is killed, or stopped with ``by_signal``.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.save_dir = config, Path(config["save_dir"])
        self.trained: Counter[tuple[str, float]] = Counter()
        self.kill_at: tuple[str, float] | None = None
        self.by_signal, self.spoiled, self.stop = False, False, StopSignal()

    def on_training(self, which: str, report: Any, epochs: int) -> None:
        if which.startswith("final refit") and report.epoch.is_integer():
            self.trained[which, report.epoch] += 1
            if (which, report.epoch) == self.kill_at:
                self.kill_at = None
                if not self.by_signal:
                    raise Killed
                self.stop.end("SIGTERM")

    def run(self, **retrain: Any) -> SimpleNamespace:
        """Resume the study as a new process would."""
        self.config = {**self.config, "retrain": {**RETRAIN, **retrain}}
        settings, self.stop = load_settings(self.config, environment={}), StopSignal()
        self.trained.clear()
        dataset = prepare_dataset(settings.data, evaluation=settings.evaluation, pooled=True)
        dataset = replace(dataset, test=LockedPeriod(dataset.test.open()))
        if self.spoiled:
            dataset.pooled.windows.series.fill_(torch.nan)
        with open_session(settings, dataset, resume=True, events=self) as session:
            run_final_phase(session, self.stop)
            results = with_final_refit(session, self.stop, write_results(session))
        return SimpleNamespace(results=results, dataset=dataset, settings=settings, trained=dict(self.trained))

    def weights(self) -> list[dict[str, torch.Tensor]]:
        model = load_model(self.save_dir / "retrained_model_1")
        return [network.state_dict() for network, _ in model.parts()]


@pytest.fixture(scope="module", params=[1, 2], ids=["one period", "two periods"])
def retrained(request, tiny_settings, tmp_path_factory) -> tuple[dict[str, Any], Path]:
    """Settings and directory of a study with retrained models and without a refit."""
    config = {
        **tiny_settings,
        "study": {"n_trials": 2, "portfolio": False},
        "data": {**tiny_settings["data"], "symbols": ["AAPL"], "start": "2007-01-01"},
        "training": {**tiny_settings["training"], "max_epochs": 2},
        "sampler": {"type": "random"},
        "pruner": {"type": "none"},
        "retrain": RETRAIN,
        "evaluation": {"test_periods": request.param},
        "save_dir": str(tmp_path_factory.mktemp("retrained") / "results"),
    }
    config["search_space"] = {
        **config["search_space"],
        "training": {**config["search_space"].get("training", {}), "scheduler": "plateau"},
    }
    plant(config, (0.95, 0.9))
    found = World(config).run()
    assert (found.results["refit"], found.trained) == (None, {})
    return config, Path(config["save_dir"])


@pytest.fixture
def world(retrained, tmp_path) -> World:
    config, origin = retrained
    shutil.copytree(origin, tmp_path / "results")
    return World({**config, "save_dir": str(tmp_path / "results")})


def directly(found: SimpleNamespace, params: Any, shape: Any, record: dict[str, Any], epochs: int) -> Any:
    """The network of a plain loop over training and validation windows, with the random streams of the retraining."""
    pooled, settings, entry = found.dataset.pooled, found.settings, found.results["refit"]
    number = SEEDS_APART * entry["trial_number"] + record["seed"]
    weights, order, dropout = (
        stream_seed(settings.study.seed, number, f"retraining: {use}")
        for use in ("weights", "order and augmentation", "dropout")
    )
    config = TrainingConfig.from_params(params, settings.training, max_epochs=record["max_epochs"])
    scale = ValueScale(pooled.value_mean, pooled.value_std)
    with one_thread(), seeded_dropout(dropout, CPU):
        network = build_network(shape, seed=weights, device=CPU)
        generator = torch.Generator().manual_seed(order)
        fold = FoldTraining(network, pooled.windows, pooled.windows, config, scale=scale, generator=generator)
        for epoch, loss in enumerate(record["validation_losses"][:epochs], start=1):
            fold.start_epoch(epoch)
            with fold.in_training():
                while fold.done < fold.steps:
                    fold.step()
            fold.end_epoch(loss)
    return network


@pytest.mark.slow
def test_a_resumed_study_gets_the_refit_once_and_opens_no_test_set(world):
    before = json.loads((world.save_dir / "results.json").read_text())
    found = world.run(refit=True)
    entry, folder = found.results["refit"], world.save_dir / "retrained_model_1"
    records = json.loads((folder / "training.json").read_text())["seeds"]
    assert found.dataset.test.times_opened == 0
    for key in ("test_openings", "retrained_models", "verdict"):
        assert json.loads(json.dumps(found.results[key])) == before[key]
    windows, tested = found.dataset.pooled.windows, load_model(folder, tested=True)
    assert len(windows) == len(found.dataset.train) + len(found.dataset.validation)
    assert (entry["windows"], entry["trained_until"]) == (len(windows), str(found.dataset.validation.dates.max())[:10])
    assert entry["best_epochs"] == [record["best_epoch"] for record in records]
    assert [len(record["validation_losses"]) for record in records] == [4, 4]
    assert set(found.trained.values()) == {1}
    assert len(found.trained) == 2 * entry["epochs"]

    model = load_model(folder)
    assert (model.refit.epochs, model.refit.trained_until) == (entry["epochs"], entry["trained_until"])
    assert (tested.refit, model.conformal) == (None, tested.conformal)
    about = replace(model.description, scaler=tested.description.scaler, value_scale=tested.description.value_scale)
    assert (about, model.description.scaler) == (tested.description, found.dataset.pooled.scaler)
    for record, (network, _) in zip(records, model.parts(), strict=True):
        expected = directly(found, about.params, about.network_config(), record, entry["epochs"])
        assert all(torch.equal(each, network.state_dict()[name]) for name, each in expected.state_dict().items())

    again = world.run(refit=True)
    assert (again.trained, again.results["refit"]) == ({}, entry)
    assert world.run().results["refit"] == entry  # without the setting, the refit is kept
    if found.dataset.n_periods == 1:  # the same models are judged again
        world.config["evaluation"] = {"verdict_metric": "accuracy"}
        judged = world.run()
        assert (judged.results["verdict"]["metric"], judged.results["refit"]) == ("accuracy", entry)
        assert json.loads((folder / "training.json").read_text())["seeds"] == records
        assert load_model(folder).refit == model.refit
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.count(model.refit.sentence) == 1
    changed = world.run(refit=False, full_epochs=3).results
    assert (changed["refit"], load_model(folder).refit) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize("retrained", [1], indirect=True)
@pytest.mark.parametrize("by_signal", [True, False])
def test_an_ended_refit_is_resumed_to_the_same_weights(world, by_signal, tmp_path):
    shutil.copytree(world.save_dir, tmp_path / "other")
    whole = World({**world.config, "save_dir": str(tmp_path / "other")})
    expected = whole.run(refit=True)
    last = max(epoch for _, epoch in expected.trained)
    seeds = expected.results["refit"]["seeds"]
    world.kill_at, world.by_signal = (f"final refit, seed {seeds[1]}", max(1, last - 1)), by_signal
    if by_signal:
        assert world.run(refit=True).results["refit"] is None
    else:
        with pytest.raises(Killed):
            world.run(refit=True)
    assert load_model(world.save_dir / "retrained_model_1").refit is None
    found = world.run(refit=True)
    assert len(found.trained) <= 2
    for one, other in zip(world.weights(), whole.weights(), strict=True):
        assert all(torch.equal(each, other[name]) for name, each in one.items())
    times = {"training_time": 0, "model_path": ""}
    assert {**found.results["refit"], **times} == {**expected.results["refit"], **times}
    assert not (world.save_dir / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.parametrize("retrained", [1], indirect=True)
def test_a_refit_that_failed_with_every_seed_is_stored_and_not_repeated(world):
    world.spoiled = True
    found = world.run(refit=True).results
    failure = found["refit_failure"]
    assert (found["refit"], failure["model_rank"], len(failure["seed_failures"])) == (None, 1, 2)
    assert all("loss" in each for each in failure["seed_failures"])
    assert not (world.save_dir / "checkpoints").exists()
    assert refit_failure_text(failure) in status_lines(world.save_dir)

    world.spoiled = False
    again = world.run(refit=True)
    assert (again.trained, again.results["refit_failure"]) == ({}, failure)
    world.config["evaluation"] = {"verdict_metric": "accuracy"}  # the same models are judged again
    assert world.run().results["refit_failure"] == failure
    other = world.run(refit=True, full_epochs=3).results  # other models
    assert (other["refit_failure"], sorted(other["refit"]["seeds"])) == (None, [1, 2])


@pytest.mark.slow
@pytest.mark.parametrize("retrained", [1], indirect=True)
def test_a_model_of_an_earlier_version_has_no_record_of_its_training(world):
    (world.save_dir / "retrained_model_1" / "training.json").unlink()
    with raises(SaveDirError, "file-missing", "training.json"):
        world.run(refit=True)


@pytest.mark.slow
def test_windows_of_class_only_loaders(tmp_path):
    from torch.utils.data import DataLoader, TensorDataset

    def loader(windows: int, seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.randn(windows, 8, 3, generator=generator), torch.randint(0, 2, (windows,), generator=generator)
        return DataLoader(TensorDataset(x + y[:, None, None], y), batch_size=32)

    small = {"cnn": {"num_filters": 4}, "lstm": {"hidden_dim": 8, "num_layers": 1}}
    results = run_cnn_lstm_hyperparameter_optimization(
        (loader(120, 0), loader(60, 1), loader(60, 2)),
        3,
        2,
        tmp_path / "results",
        top_k=1,
        full_epochs=3,
        quiet=True,
        config={
            "training": {"max_epochs": 1},
            "study": {"portfolio": False},
            "workers": 1,
            "report": False,
            "mlflow": {"enabled": False},
            "search_space": small,
            "retrain": {"refit": True, "seeds": 1, "confirm_seeds": 1},
        },
    )
    entry = results["refit"]
    assert (entry["windows"], entry["trained_until"], entry["seeds"]) == (180, None, [1])
    folder = tmp_path / "results" / "retrained_model_1"
    model, tested = load_model(folder), load_model(folder, tested=True)
    assert (model.refit.windows, model.description) == (180, tested.description)
