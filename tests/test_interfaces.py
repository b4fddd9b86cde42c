"""Each interface × one or two tasks × everything that reads a finished study."""

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch.utils.data import DataLoader, TensorDataset

from builders.studies import searched
from cnn_lstm_hyperopt import load_model, run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.search import StudyStorage

TIME, FEATURES, TRIALS = 8, 3, 12
ONE_TASK = {"multi_task": {"balancing": "fixed", "classification_weight": 1.0}}
ALL_BUT_THE_RATE: dict[str, Any] = yaml.safe_load("""
cnn: {num_filters: 4, filter_sizes: [[3, 5]], dropout: 0.1, activation: relu, residual: true, attention: true, attention_heads: 2}
lstm: {hidden_dim: 8, num_layers: 1, dropout: 0.1, bidirectional: false, attention: false, skip_connections: false}
fusion: {method: gated, dim: 8, dropout: 0.1}
training: {batch_size: 16, weight_decay: 0, optimizer: adam, scheduler: cosine, gradient_clip: 1, learning_rate: [0.001, 0.02]}
regularization: {l1_switch: false, l2: 1.0e-5, dropout_schedule: constant, label_smoothing: 0.0}
multi_task: {balancing: uncertainty}  # a study of one task drops the group, whatever the settings fix it to
augmentation: {switch: true, jitter: 0.01, scaling: 0.0, time_masking: 0.0, mixup: 0.0}
""")
STUDIES: dict[str, tuple[str, int, dict[str, Any]]] = {
    "loaders, one task": ("loaders", 1, {}),
    "loaders, one task, groups fixed": ("loaders", 1, ALL_BUT_THE_RATE),
    "loaders, two tasks": ("loaders", 2, {}),
    "bars, one task": ("bars", 1, ONE_TASK),
    "bars, two tasks": ("bars", 2, {}),
    "bars, two tasks, groups fixed": ("bars", 2, ALL_BUT_THE_RATE),
    "synthetic, one task": ("synthetic", 1, ONE_TASK),
    "synthetic, two tasks": ("synthetic", 2, {}),
}
"""Interface, number of tasks and search space. Bars always have a value to predict: with one task its weight is the least."""
FIRST = "loaders, one task"
SLOW = (FIRST, "loaders, two tasks", "bars, one task", "bars, two tasks, groups fixed")
"""Each of bars and loaders, of the numbers of tasks and of the spaces; the others are thorough."""


def loader(windows: int, seed: int, *, values: bool) -> DataLoader[Any]:
    """Two classes that a network learns in an epoch."""
    rng = np.random.default_rng(seed)
    labels = np.arange(windows) % 2
    x = rng.normal(size=(windows, TIME, FEATURES)) + (2 * labels - 1)[:, None, None]
    tensors = [torch.tensor(x, dtype=torch.float32), torch.tensor(labels)]
    if values:
        tensors.append(torch.tensor(x.mean(axis=(1, 2)), dtype=torch.float32))
    return DataLoader(TensorDataset(*tensors), batch_size=32)


class Study:
    """One finished study of :data:`STUDIES`, in ``save_dir``; its ``results``, and the folder of its bars."""

    def __init__(self, name: str, folder: Path, tiny: dict[str, Any], store: str) -> None:
        self.name, self.save_dir, self.bars = name, folder / "results", folder / "bars"
        self.interface, self.tasks, space = STUDIES[name]
        config = {
            **tiny,
            "study": {"n_trials": TRIALS, "portfolio": False},
            "training": {"max_epochs": 2, "min_patience": 2},
            "sampler": {"type": "random"},
            "pruner": {"type": "none"},
            "retrain": {"confirm_seeds": 1, "seeds": 1},
            "search_space": {**tiny["search_space"], **space},
            "mlflow": {"enabled": False, "tracking_uri": store, "experiment": name},
            "save_dir": str(self.save_dir),
        }
        loaders = None
        if self.interface == "loaders":
            config["data"] = {"cv_folds": "auto" if name == FIRST else 1}
            sizes = (160, 64, 48)
            loaders = [loader(count, seed, values=self.tasks == 2) for seed, count in enumerate(sizes)]
        else:
            config["data"] = self._bars(tiny["data"])
        quick = {name: BASELINES[name] for name in ("majority class", "persistence")}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cnn_lstm_hyperopt.evaluation.baselines.BASELINES", quick)
            patch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SAMPLED", 50)
            self.results = run_cnn_lstm_hyperparameter_optimization(
                loaders, top_k=1, full_epochs=2, config=config, quiet=True
            )

    def _bars(self, data: dict[str, Any]) -> dict[str, Any]:
        self.bars.mkdir()
        asked = load_settings({"data": data}, environment={}).data
        for each in EmbeddedSource().load(asked.symbols, asked.start, asked.end)[0]:
            each.frame.to_csv(self.bars / f"{each.symbol}.csv")
        about = {"target": "volatility", "lookback": TIME, "train_share": 0.25}
        return about | ({"source": "synthetic"} if self.interface == "synthetic" else {"data_dir": str(self.bars)})

    def command(self, *arguments: Any) -> int:
        return main([str(each) for each in arguments] + ["--save-dir", str(self.save_dir)])

    def params(self) -> dict[int, dict[str, str]]:
        """The full configuration of each trial as ``trials.csv``, which the run itself writes, has it."""
        frame = pd.read_csv(self.save_dir / "trials.csv", dtype=str, index_col="number").filter(like=".")
        return {int(number): row.dropna().to_dict() for number, row in frame.iterrows()}


Studies = Callable[[str], Study]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory, tiny_settings: dict[str, Any]) -> Studies:
    """Run each study once, when a test asks for it."""
    store = f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"  # one, since a new one takes ten seconds
    return functools.cache(lambda name: Study(name, tmp_path_factory.mktemp("interface"), tiny_settings, store))


def marks_of(name: str) -> tuple[pytest.MarkDecorator, ...]:
    return (pytest.mark.slow,) if name in SLOW else (pytest.mark.slow, pytest.mark.thorough)


@pytest.fixture(params=[pytest.param(name, marks=marks_of(name)) for name in STUDIES])
def study(request: pytest.FixtureRequest, studies: Studies) -> Study:
    return studies(request.param)


def test_the_search_drops_what_one_task_makes_meaningless(study: Study) -> None:
    balancing = {params["multi_task.balancing"] for params in study.params().values()}
    if study.tasks == 1:
        assert balancing == {"fixed"}
        assert {float(each["multi_task.classification_weight"]) for each in study.params().values()} == {1.0}
    elif STUDIES[study.name][2]:
        assert balancing == {"uncertainty"}
    else:
        assert len(balancing) > 1


def payload(folder: Path) -> dict[str, Any]:
    """The numbers in a report."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    return dict(json.loads(re.findall(r'id="payload">(.*?)</script>', page, re.DOTALL)[0]))


@pytest.mark.usefixtures("without_pictures")
def test_report(study: Study) -> None:
    assert study.command("report") == 0
    trials = payload(study.save_dir)["trials"]
    assert trials["number"] == list(range(TRIALS))
    shown = {each["name"]: each["values"] for each in trials["params"]}
    for number, params in study.params().items():
        assert {name for name in shown if shown[name][number] is not None} == set(params)
        assert shown["multi_task.balancing"][number] == params["multi_task.balancing"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow's own libraries
def test_mlflow(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert study.command("track") == 0
    from mlflow import MlflowClient

    client = MlflowClient(
        tracking_uri=load_settings(study.save_dir / "config.yaml", environment={}).mlflow.tracking_uri
    )
    experiment = client.get_experiment_by_name(study.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    trials = {int(run.data.tags["trial_number"]): run for run in runs if run.data.tags.get("kind") == "trial"}
    assert sorted(trials) == list(range(TRIALS))
    for number, params in study.params().items():
        assert trials[number].data.params.keys() == params.keys()
        assert trials[number].data.params["multi_task.balancing"] == params["multi_task.balancing"]
    assert [run.data.tags["of_trial"] for run in runs if run.data.tags.get("kind") == "finalist"] == [
        str(entry["trial_number"]) for entry in study.results["retrained_models"]
    ]


def test_dashboard_notes(study: Study) -> None:
    storage = StudyStorage(study.save_dir / "study.db")
    try:
        attributes = storage.study._storage.get_study_system_attrs(storage.study._study_id)
        numbers = {trial._trial_id: trial.number for trial in storage.study.trials}
    finally:
        storage.close()
    assert attributes["dashboard:note_str:0"]
    noted = {numbers[int(found[1])] for key in attributes if (found := re.match(r"dashboard:(\d+):note_str:0", key))}
    assert noted == {entry["trial_number"] for entry in study.results["retrained_models"]} != set()


def test_predict(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    model = study.save_dir / "retrained_model_1"
    has_value = study.interface != "loaders" or study.tasks == 2
    if study.interface == "loaders":
        frame = load_model(model).predict(np.zeros((2, TIME, FEATURES), np.float32))
        assert len(frame) == 2
        assert main(["predict", "--model", str(model), "--data-dir", str(study.save_dir)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    else:
        output = study.save_dir.parent / "predicted.csv"
        arguments = ["--model", str(model), "--data-dir", str(study.bars), "--output", str(output)]
        assert main(["predict", *arguments]) == 0
        frame = pd.read_csv(output)
        assert set(frame["symbol"]) == {"AAPL", "IBM"}
    assert frame[["probability_0", "probability_1"]].sum(axis=1).to_numpy() == pytest.approx(1.0, abs=1e-4)
    assert ("value" in frame) is has_value


def test_export(study: Study) -> None:
    output = study.save_dir.parent / "model.pt2"
    model = study.save_dir / "retrained_model_1"
    assert main(["export", "--model", str(model), "--format", "torch", "--output", str(output)]) == 0
    assert output.stat().st_size > 0


def test_narrow(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1: too few of its trials beat chance."""
    output = study.save_dir.parent / "narrowed.yaml"
    code = study.command("narrow", "--output", output)
    if study.name != FIRST and code == 1:
        assert capsys.readouterr().err.count("\n") == 1
        return
    assert code == 0
    before, now = load_settings(study.save_dir / "config.yaml", environment={}), load_settings(output, environment={})
    assert now.search_space.domains.keys() == before.search_space.domains.keys()
    if study.tasks == 1:
        for name in ("multi_task.balancing", "multi_task.classification_weight"):
            assert now.search_space.domains[name] == before.search_space.domains[name]


def test_status(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.command("status") == 0
    capsys.readouterr()
    assert study.command("status", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["n_trials_completed"], facts["retrained_models"], facts["running"]) == (TRIALS, 1, False)


def test_results_and_the_model_card_have_the_configuration(study: Study) -> None:
    every = study.params()
    for trial in study.results["best_trials"]:
        params = every[trial["trial_number"]]
        assert trial["params"].keys() == params.keys()
        assert trial["params"]["multi_task.balancing"] == params["multi_task.balancing"]
    (entry,) = study.results["retrained_models"]
    assert (entry["test_metrics"]["test_reg_mse"] is None) is (study.interface == "loaders" and study.tasks == 1)
    stored = load_settings(study.save_dir / "config.yaml", environment={}).retrain
    assert (stored.enabled, stored.top_k, stored.full_epochs) == (True, 1, 2)  # arguments of Python, too
    assert (study.save_dir / "retrained_model_1" / "README.md").stat().st_size > 0


@pytest.mark.usefixtures("without_pictures")
def test_parameters_that_config_yaml_fixes_later_are_shown_as_the_trials_had_them(tmp_path: Path) -> None:
    folder = searched(tmp_path, 6)
    edit_space(folder, "lstm", "hidden_dim", {"fixed": 48})
    assert main(["report", "--save-dir", str(folder)]) == 0
    (shown,) = (each for each in payload(folder)["trials"]["params"] if each["name"] == "lstm.hidden_dim")
    assert set(shown["values"]) <= {64, 128, 256, 512, 1024}


def test_a_search_space_that_was_changed_since_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = searched(tmp_path, 3, space={"lstm": {"hidden_dim": 64}})
    edit_space(folder, "lstm", "hidden_dim", {"choices": [64, 128]})
    assert main(["report", "--save-dir", str(folder)]) == 2
    assert "search_space.lstm.hidden_dim" in capsys.readouterr().err


def edit_space(folder: Path, group: str, name: str, domain: dict[str, Any]) -> None:
    path = folder / "config.yaml"
    asked = yaml.safe_load(path.read_text(encoding="utf-8"))
    asked["search_space"][group][name] = domain
    path.write_text(yaml.safe_dump(asked), encoding="utf-8")
