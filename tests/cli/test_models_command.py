"""``predict`` and ``export`` of the models of a real final phase: two small networks and their ensemble."""

import io
import json
import os
import re
import runpy
import shlex
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

from builders.finalists import plant
from builders.models import untrained
from cnn_lstm_hyperopt.cli import app, main
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.results.model_card import escaped
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.utils.spreadsheets import csv_text

STUDY = "my *study* <b>"
FOLDERS = ["ensemble", "retrained_model_1", "retrained_model_2"]
COLUMNS = ["symbol", "date", "class", "class_name", "probability_0", "probability_1", "value", "range_percent"]
SETS = ["set_0", "set_1", "value_low", "range_percent_low", "value_high", "range_percent_high"]


@pytest.fixture(scope="module")
def config(tiny_settings, tmp_path_factory) -> dict[str, Any]:
    return {
        **tiny_settings,
        "study": {"n_trials": 3, "portfolio": False, "name": STUDY},
        "data": {**tiny_settings["data"], "start": "2007-01-01"},
        "training": {"max_epochs": 2},
        "retrain": {"enabled": True, "top_k": 2, "full_epochs": 2, "confirm_seeds": 1, "seeds": 1},
        "save_dir": str(tmp_path_factory.mktemp("study") / "results"),
    }


@pytest.fixture(scope="module")
def results(config) -> dict[str, Any]:
    """Results of a planted search and a real final phase."""
    quick = {name: BASELINES[name] for name in ("majority class", "persistence")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnn_lstm_hyperopt.evaluation.baselines.BASELINES", quick)
        patch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SAMPLED", 50)
        plant(config, (0.9, 0.8, 0.7))
        settings = load_settings(config, environment={})
        dataset = prepare_dataset(settings.data)
        with open_session(settings, dataset, resume=True, events=RunEvents()) as session:
            run_final_phase(session, StopSignal())
            return write_results(session)


@pytest.fixture(scope="module")
def bars(config, tmp_path_factory) -> Path:
    """The bars of the study, as files."""
    folder = tmp_path_factory.mktemp("bars")
    data = load_settings(config, environment={}).data
    for each in EmbeddedSource().load(data.symbols, data.start, data.end)[0]:
        each.frame.to_csv(folder / f"{each.symbol}.csv")
    return folder


@pytest.fixture
def save_dir(results, config) -> Path:
    return Path(config["save_dir"])


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def predicted(*arguments: Any) -> pd.DataFrame:
    assert main(["predict", *map(str, arguments), "--output", "out.csv"]) == 0
    return pd.read_csv("out.csv", parse_dates=["date"])


@pytest.mark.parametrize("name", FOLDERS)
def test_predictions_of_the_test_period_are_those_of_the_study(save_dir, bars, name):
    found = predicted("--model", save_dir / name, "--data-dir", bars)
    assert found.columns.tolist() == [*COLUMNS, *SETS]
    tested = pd.read_csv(save_dir / name / "predictions.csv", parse_dates=["date"])
    both = tested.merge(found, on=["symbol", "date"], suffixes=("", "_now"))
    assert len(both) == len(tested) > 50
    for column in found.columns[4:]:
        np.testing.assert_allclose(both[f"{column}_now"], both[column], rtol=1e-4, atol=1e-5)
    assert (both["class_name_now"] == both["class_name"]).mean() > 0.99


def test_without_an_output_the_table_is_printed_and_nothing_else(save_dir, bars, capsys):
    arguments = ["--model", str(save_dir / "retrained_model_1"), "--data-dir", str(bars), "--symbols", "IBM", "--last"]
    assert main(["predict", *arguments]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header == ",".join([*COLUMNS, *SETS])
    assert row.startswith("IBM,2008-12-31,")


def test_dates_choose_what_is_predicted_and_not_what_is_known(save_dir, bars):
    arguments = ["--model", save_dir / "retrained_model_1", "--data-dir", bars]
    full, some = predicted(*arguments), predicted(*arguments, "--start", "2008-03-03", "--end", "2008-03-14")
    assert [str(day.date()) for day in (some["date"].min(), some["date"].max())] == ["2008-03-03", "2008-03-14"]
    assert len(some) == 2 * 10
    same = some.merge(full, on=["symbol", "date"], suffixes=("", "_all"))
    np.testing.assert_allclose(same["value"], same["value_all"], atol=1e-6)


def changed_model(folder: Path, **changed: Any) -> Path:
    copy = Path(shutil.copytree(folder, "changed"))
    about = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps({**about, **changed}))
    return copy


def refusal(capsys: Any, *arguments: Any) -> str:
    """Run a command that must end with code 2 and one line; return the code of the error."""
    words = [str(each) for each in arguments]
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len([line for line in printed.err.splitlines() if not line.startswith("Warning: ")]) == 1
    with pytest.raises(HyperoptError) as caught:
        app(words, exit_on_error=False, print_error=False, result_action="return_value")
    return caught.value.code


def test_a_model_with_a_function_runs_it_only_if_the_user_names_it(save_dir, bars, tmp_path, capsys, monkeypatch):
    swing = "def swing(frame):\n    return (frame['high'] / frame['low'] - 1).to_frame('swing')\n"
    (tmp_path / "swing_of_mine.py").write_text(swing)
    monkeypatch.syspath_prepend(tmp_path)
    about = json.loads((save_dir / "retrained_model_1" / "model.json").read_text())
    for key in ("conformal", "temperature"):  # not of the description
        about.pop(key, None)
    scaler = {name: [*about["scaler"][name], 1.0] for name in ("mean", "std")}  # of one more input
    about |= {"features": [*about["features"], "swing"], "feature_function": "swing_of_mine:swing", "scaler": scaler}
    model = changed_model(save_dir / "retrained_model_1", **about)
    untrained(ModelDescription.from_dict(about)).save(model)
    arguments = ["predict", "--model", model, "--data-dir", bars]
    assert refusal(capsys, *arguments) == "no-feature-function"
    assert refusal(capsys, *arguments, "--features", "swing") == "not-a-reference"
    found = predicted(*arguments[1:], "--features", "swing_of_mine:swing")
    assert len(found) > 500


def test_what_else_is_refused(save_dir, bars, capsys):
    model = save_dir / "retrained_model_1"
    own = changed_model(model, scaler=None, target="y_class")
    for code, *arguments in (
        ("model-reads-no-bars", own),
        ("model-without-own-features", model, "--features", "os:getcwd"),
        ("file-missing", bars),
        ("no-window", model, "--start", "2020-01-01"),
        ("start-not-before-end", model, "--start", "2008-02-01", "--end", "2008-01-01"),
        ("empty-list", model, "--symbols"),
        ("unknown-symbol", model, "--symbols", "MSFT"),
        ("output-unwritable", model, "--output", "nowhere/out.csv"),
        *(("output-not-a-file", model, "--output", place) for place in (".", "/", bars)),
    ):
        assert refusal(capsys, "predict", "--data-dir", bars, "--model", *arguments) == code
    assert refusal(capsys, "predict", "--model", model, "--data-dir", "nowhere") == "data-dir-missing"


def test_the_last_bar_is_predicted_or_left_out_but_no_older_one_takes_its_place(save_dir, bars, tmp_path, capsys):
    (tmp_path / "holed").mkdir()
    for path in bars.iterdir():
        frame = pd.read_csv(path)
        if path.name == "IBM.csv":
            frame = pd.concat([frame.iloc[:-60], frame.iloc[-5:]])
        frame.to_csv(tmp_path / "holed" / path.name, index=False)
    model, newest = save_dir / "retrained_model_1", pd.read_csv(bars / "IBM.csv")["date"].iloc[-1]
    arguments = ["--model", model, "--data-dir", tmp_path / "holed", "--last"]
    found = predicted(*arguments)
    assert set(found["symbol"]) == {path.stem for path in bars.iterdir()} - {"IBM"}
    warnings = capsys.readouterr().err.splitlines()
    assert any(re.match(f"Warning: IBM .*{newest}", line) for line in warnings)
    assert refusal(capsys, "predict", *arguments, "--symbols", "IBM") == "no-window"


@pytest.mark.parametrize("name", FOLDERS)
def test_the_snippets_of_every_card_work(name, save_dir, bars, tmp_path, monkeypatch, capsys):
    folder = Path(shutil.copytree(save_dir / name, tmp_path / name))
    (folder / "bars").mkdir()
    shutil.copy(bars / "IBM.csv", folder / "bars" / "SYMBOL.csv")
    card = (folder / "README.md").read_text(encoding="utf-8")
    shell, python = re.findall(r"```(?:bash|python)\n(.*?)```", card, flags=re.DOTALL)
    monkeypatch.chdir(folder)
    commands = [shlex.split(line) for line in shell.splitlines()]
    assert [command[:2] for command in commands] == [["cnn-lstm-hyperopt", each] for each in ("predict", "export")]
    assert main(commands[0][1:]) == 0
    assert "SYMBOL,2008-12-31" in capsys.readouterr().out
    (folder / "snippet.py").write_text(python)
    runpy.run_path(str(folder / "snippet.py"))
    assert "date  class" in capsys.readouterr().out


def test_a_card_has_the_data_the_dates_and_the_verdict(save_dir, results):
    for name in FOLDERS:
        card = (save_dir / name / "README.md").read_text(encoding="utf-8")
        assert r"my \*study\* \<b\>" in card
        assert "<b>" not in card
        assert "AAPL, IBM" in card
        assert str(save_dir) not in card
        plain = re.sub(r"\\(?=\W)", "", card)
        assert results["verdict"]["sentence"] in plain
        assert results["verdict"]["grade"].capitalize() in card
        assert len(re.findall(r"200\d-\d\d-\d\d to 200\d-\d\d-\d\d", plain)) >= 3  # training, validation, test
        assert re.findall(r"\\[^*<>`|\[\]]", card) == []  # only mark-up is escaped
        (header,) = [line for line in card.splitlines() if "gain over the best baseline" in line]
        columns = [column.strip() for column in header.strip("|").split("|")]
        assert len(set(columns)) == len(columns)


def test_the_front_matter_of_a_card_is_what_the_hub_reads(save_dir, results):
    entries = {"retrained_model_1": results["retrained_models"][0], "ensemble": results["ensemble"]}
    for name, entry in entries.items():
        about = ModelCard((save_dir / name / "README.md").read_text(encoding="utf-8")).data
        facts = about.license, about.library_name, about.pipeline_tag, about.metrics[0]
        assert facts == ("other", "cnn-lstm-hyperopt", "time-series-forecasting", "log_loss")
        assert {"time-series", "cnn", "lstm", "target:volatility"} <= set(about.tags)
        found = {result.metric_type: result.metric_value for result in about.eval_results}
        for metric, key in (("accuracy", "test_class_acc"), ("log_loss", "test_log_loss")):
            assert found[metric] == pytest.approx(entry["test_metrics"][key], abs=1e-6)
        assert {result.dataset_name for result in about.eval_results} == {"test windows of AAPL, IBM"}


def test_only_mark_up_is_escaped():
    plain = "close_return, 69.0 % (95 % interval +1 to 2) #1!"
    assert escaped(plain) == plain
    assert escaped("_a_ *b* `c` ~~d~~") == r"\_a\_ \*b\* \`c\` \~\~d\~\~"
    assert escaped("[x](http://y.z) <b> | &lt; $k$") == r"\[x\](http\://y.z) \<b\> \| \&lt; \$k\$"
    assert escaped("www.evil.org a@b.org c:\\d") == r"www\.evil.org a\@b.org c:\\d"


def test_results_describe_the_ensemble(save_dir, results):
    entry, models = results["ensemble"], results["retrained_models"]
    assert entry["selected_by"] == "log_loss"
    assert (entry["weighting"], entry["pooling"], results["ensemble_method"]) == ("stacked", "logarithmic", "stack")
    assert entry["test_metrics"].keys() == models[0]["test_metrics"].keys()
    assert sum(each["weight"] for each in entry["members"]) == pytest.approx(1)
    ranked = [(each["model_rank"], each["trial_number"]) for each in models]
    networks = [each for each in entry["members"] if each["baseline"] is None]
    assert all((each["model_rank"], each["trial_number"]) in ranked for each in networks)
    assert json.loads((save_dir / "ensemble" / "metrics.json").read_text()) == json.loads(json.dumps(entry))
    frame = pd.read_csv(save_dir / "ensemble" / "predictions.csv")
    assert (frame["class"] == frame["label"]).mean() == pytest.approx(entry["test_metrics"]["test_class_acc"])


@pytest.fixture
def predict(save_dir, bars) -> list[str]:
    """The command up to the name of its output."""
    model = str(save_dir / "retrained_model_1")
    return ["predict", "--model", model, "--data-dir", str(bars), "--symbols", "IBM", "--last", "--output"]


def test_only_what_predict_has_written_is_replaced_unless_it_is_forced(predict, capsys):
    mine, empty = Path("mine.csv"), Path("empty.csv")
    mine.write_text("my,own\n1,2\n")
    Path("link.csv").symlink_to(mine)
    for place in (mine, "link.csv"):
        assert refusal(capsys, *predict, place) == "output-exists"
    assert mine.read_text() == "my,own\n1,2\n"
    assert main([*predict, "mine.csv", "--force"]) == 0
    written = mine.read_text()
    empty.touch()
    for place in ("mine.csv", "empty.csv"):
        assert main([*predict, place]) == 0
    assert mine.read_text() == empty.read_text() == written


def test_a_new_file_is_written_where_a_link_leads(predict, capsys):
    Path("new.csv").symlink_to("elsewhere.csv")
    Path("loop.csv").symlink_to("loop.csv")
    assert refusal(capsys, *predict, "loop.csv") == "output-unwritable"
    assert main([*predict, "new.csv"]) == 0
    assert Path("new.csv").is_symlink()
    assert Path("elsewhere.csv").read_text().startswith("symbol,date,class,")


def test_files_of_the_study_the_model_and_the_bars_are_never_replaced(predict, save_dir, bars, capsys):
    model = save_dir / "retrained_model_1"
    (model / "seeds").mkdir()
    (model / "seeds" / "2.safetensors").write_bytes(b"weights of another seed")
    files = [path for path in save_dir.rglob("*") if path.is_file()] + list(bars.iterdir())
    Path("bars.csv").symlink_to(bars / "IBM.csv")
    Path("database").symlink_to(save_dir / "study.db")
    before = {path: path.read_bytes() for path in files}
    for place in (*files, "bars.csv", "database", model / ".." / "study.db"):
        assert refusal(capsys, *predict, place, "--force") in ("output-is-study-file", "output-is-data")
    exporting = ["export", "--model", model, "--format", "torch", "--output"]
    for place in (save_dir / "study.db", model / "model.json", model / "model.safetensors"):
        assert refusal(capsys, *exporting, place, "--force") == "output-is-study-file"
    assert refusal(capsys, *predict, bars / "NEW.csv") == "output-is-data"
    assert {path: path.read_bytes() for path in files} == before
    shutil.rmtree(model / "seeds")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_devices_and_pipes_are_refused_and_not_replaced(predict, capsys):
    os.mkfifo("pipe")
    Path("null").symlink_to("/dev/null")
    with Path("redirected").open("w") as file:
        descriptor = f"/dev/fd/{file.fileno()}"
        for place in ("/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "null", "pipe", descriptor):
            assert refusal(capsys, *predict, place, "--force") == "output-not-a-file"
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert Path("/dev/stdout").is_symlink()
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)


def test_a_class_that_is_a_formula_is_text_in_the_table(predict, save_dir, capsys):
    formulas = ["=cmd|' /C calc'!A0", "@SUM(1+1)"]
    predict[2] = str(changed_model(save_dir / "retrained_model_1", class_names=formulas))
    assert main([*predict, "out.csv"]) == main(predict[:-1]) == 0
    (name,) = pd.read_csv("out.csv")["class_name"]
    assert name in [f"'{text}" for text in formulas]
    assert csv_text(name) in formulas
    assert f",{name}," in capsys.readouterr().out.replace('"', "")


def test_a_name_that_the_output_can_not_hold_is_refused_rather_than_changed(predict, save_dir, monkeypatch, capsys):
    predict[2] = str(changed_model(save_dir / "retrained_model_1", class_names=["tiefer ä", "höher"]))
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        assert main(predict[:-1]) == 2
    assert "--output" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ensemble", "retrained_model_1"])
def test_models_are_exported_by_the_command(save_dir, name, capsys):
    for format, file in (("torch", "model.pt2"), ("onnx", "model.onnx")):
        for _ in range(2):  # the second one replaces the first
            assert main(["export", "--model", str(save_dir / name), "--format", format, "--output", file]) == 0
            assert re.search(rf"{file}.* \d\.\de[-+]\d\d ", capsys.readouterr().out)
            assert Path(file).stat().st_size > 1_000
