"""A whole run with a user's family of networks: workers, resume, retraining, report and saved models."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from builders.runs import results_of
from cnn_lstm_hyperopt import load_model
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.models.own.family import registered

MODULE = """
from torch import nn
from cnn_lstm_hyperopt import register_family


class Mlp(nn.Module):
    def __init__(self, shape, width, dropout):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(shape.lookback * shape.input_dim, width), nn.Dropout(dropout))
        self.classify, self.value = nn.Linear(width, shape.n_classes), nn.Linear(width, 1)

    def forward(self, x):
        hidden = self.body(x).relu()
        return self.classify(hidden)HEAD, self.value(hidden)


register_family("mlp", {"width": [4, 8], "dropout": (0.0, 0.5)}, Mlp)
"""


@pytest.fixture
def folder(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with the user's modules and settings without the sections of another family."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(MODULE.replace("HEAD", ""), encoding="utf-8")
    (tmp_path / "broken.py").write_text(MODULE.replace("HEAD", "[:, :1]"), encoding="utf-8")
    settings = {
        **tiny,
        "training": {"max_epochs": 2, "min_patience": 2},
        "retrain": {"top_k": 1, "full_epochs": 2, "confirm_seeds": 1, "seeds": 1},
        "search_space": {"training": {"batch_size": 64}},
    }
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    yield tmp_path
    forget()


def forget() -> None:
    """Forget the user's modules and families, as a new process does."""
    for module in ("mine", "broken"):
        sys.modules.pop(module, None)
    for reference in [each for each in registered() if each.endswith(":mlp")]:
        del registered()[reference]


@pytest.mark.slow
def test_a_module_with_a_wrong_head_is_refused_before_the_first_trial(
    folder: Path, tiny: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--config", "settings.yaml", "--family", "broken:mlp"]) == 2
    assert "broken:mlp" in capsys.readouterr().err
    assert not (Path(tiny["save_dir"]) / "trials.csv").exists()


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_workers_resume_report_and_saved_models_know_the_family(folder: Path, tiny: dict[str, Any]) -> None:
    save_dir = Path(tiny["save_dir"])
    begin = ["run", "--config", "settings.yaml", "--family", "mine:mlp", "--n-trials", "3", "--workers", "2"]
    assert main(begin) == 0
    forget()
    assert main(["resume", "--save-dir", str(save_dir), "--n-trials", "4", "--workers", "1", "--retrain-best"]) == 0
    results = results_of(save_dir)
    assert results["n_trials_completed"] == 4
    best = results["best_trials"][0]["params"]
    assert (best["model.family"], best["mlp.width"] in (4, 8), "cnn.num_filters" in best) == ("mine:mlp", True, False)
    with (save_dir / "trials.csv").open(encoding="utf-8") as file:
        assert {row["mlp.width"] for row in csv.DictReader(file)} <= {"4", "8"}
    assert main(["report", "--save-dir", str(save_dir)]) == 0
    assert "mlp.width" in (save_dir / "report.html").read_text(encoding="utf-8")
    forget()
    model = save_dir / "retrained_model_1"
    with pytest.raises(HyperoptError):
        load_model(model)
    assert main(["export", "--model", str(model), "--format", "torch"]) == 2
    assert main(["export", "--model", str(model), "--format", "torch", "--family", "mine:mlp"]) == 0
    found = load_model(model)
    about = found.description
    assert len(found.predict(np.zeros((3, about.lookback, len(about.features)), dtype=np.float32))) == 3
