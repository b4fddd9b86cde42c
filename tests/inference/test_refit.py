"""Folder of a final refit: loaded, predicted and exported instead of the tested model, unless that is asked for."""

import io
import json
from dataclasses import replace

import pandas as pd
import pytest

from builders.errors import raises
from builders.models import untrained
from cnn_lstm_hyperopt.cli import app, main
from cnn_lstm_hyperopt.errors import ConfigError, SaveDirError
from cnn_lstm_hyperopt.inference.conformal import Conformal
from cnn_lstm_hyperopt.inference.model import load_model
from cnn_lstm_hyperopt.inference.refit import Refit

FACTS = Refit("2008-03-03", 7, 900)


@pytest.fixture
def refit(folder, model):
    """A refit in the folder of the tested model, with other weights."""
    found = replace(untrained(model.description, seed=8), refit=FACTS, conformal=Conformal(0.9, 100, 0.7, 0.2))
    found.save(folder / "refit")
    return found


def test_the_folder_of_the_tested_model_loads_the_refit(folder, model, refit, bars):
    loaded, tested = load_model(folder), load_model(folder, tested=True)
    assert (loaded.refit, loaded.conformal, tested.refit) == (FACTS, refit.conformal, None)
    assert ("refit=True" in repr(loaded), "refit" in repr(tested)) == (True, False)
    for found, expected in ((loaded, refit), (tested, model), (load_model(folder / "refit", tested=True), refit)):
        pd.testing.assert_frame_equal(found.predict(bars), expected.predict(bars))
    stored = json.loads((folder / "refit" / "model.json").read_text())["refit"]
    assert {stored[f"{key}_of"] for key in ("test_figures", "conformal", "temperature", "decision_weights")} == {
        "tested model"
    }


def test_predict_uses_the_refit_and_says_so_in_one_line(folder, model, refit, bars, tmp_path, capsys):
    (tmp_path / "bars").mkdir()
    bars.tail(200).to_csv(tmp_path / "bars" / "AAPL.csv")
    found = {}
    for flags in ([], ["--tested"]):
        assert main(["predict", "--model", str(folder), "--data-dir", str(tmp_path / "bars"), *flags]) == 0
        printed = capsys.readouterr()
        found[bool(flags)] = pd.read_csv(io.StringIO(printed.out))
        assert sum(FACTS.sentence in line for line in printed.err.splitlines()) == (not flags)
    for tested, expected in ((False, refit), (True, model)):
        ours = expected.predict(bars.tail(200))["probability_1"].to_numpy()
        assert found[tested]["probability_1"].to_numpy() == pytest.approx(ours, abs=1e-5)


@pytest.mark.slow
def test_export_uses_the_refit(folder, refit, tmp_path, capsys):
    for flags in ([], ["--tested"]):
        output = str(tmp_path / f"{len(flags)}.pt2")
        assert main(["export", "--model", str(folder), "--format", "torch", "--output", output, *flags]) == 0
        assert (FACTS.sentence in capsys.readouterr().err) == (not flags)


def test_a_refit_that_is_not_one_is_refused(folder, model, refit, tmp_path):
    path = folder / "refit" / "model.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "refit": {**content["refit"], "epochs": -1}}))
    with raises(SaveDirError, "greater-than-equal", "epochs"):
        load_model(folder)
    path.write_text(json.dumps({key: value for key, value in content.items() if key != "refit"}))
    with raises(SaveDirError, "no-refit", "model.json"):
        load_model(folder)
    (folder / "refit").rename(tmp_path / "elsewhere")
    (folder / "refit").symlink_to(tmp_path / "elsewhere")
    with raises(SaveDirError, "refit-is-link", "refit"):
        load_model(folder)
    assert load_model(folder, tested=True).refit is None


def test_a_refit_needs_a_retraining(tiny_file):
    command = ["run", "--config", str(tiny_file), "--n-trials", "2", "--refit"]
    with raises(ConfigError, "refit-without-retraining", "retrain.refit"):
        app(command, exit_on_error=False, print_error=False, result_action="return_value")
    assert main(command) == 2
