"""Updates of a retrained model with real trainings: measurement, versions, causality, kills, replays, and what is refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from builders.errors import raises
from builders.updated import SYMBOLS, retrained_study, write_bars
from cnn_lstm_hyperopt import evaluate_model, load_model, rollback_model, update_model
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.labels import labeller
from cnn_lstm_hyperopt.errors import ConfigError, DataError, SaveDirError

pytestmark = pytest.mark.slow
THOROUGH = pytest.mark.thorough


@pytest.fixture(scope="module")
def origin(tiny_settings, tmp_path_factory) -> Path:
    return retrained_study(tiny_settings, tmp_path_factory.mktemp("study") / "results")


@pytest.fixture(scope="module")
def bars(tmp_path_factory) -> Path:
    return write_bars(tmp_path_factory.mktemp("bars"), "2009-09-30")


@pytest.fixture
def model(origin, tmp_path) -> Path:
    return Path(shutil.copytree(origin.parent, tmp_path / "results")) / origin.name


@pytest.fixture
def winning(model) -> None:
    """The present version exchanges the classes with high confidence, so every candidate has a lower loss."""
    for path in (model / "model.safetensors", *(model / "seeds").iterdir()):
        weights = load_file(path)
        weights["classify.weight"], weights["classify.bias"] = (
            -20 * weights["classify.weight"],
            -20 * weights["classify.bias"],
        )
        save_file(weights, path)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def frames(bars: Path, until: str = "2099") -> dict[str, pd.DataFrame]:
    read = {symbol: pd.read_csv(bars / f"{symbol}.csv") for symbol in SYMBOLS}
    return {symbol: frame[frame["date"] <= until].reset_index(drop=True) for symbol, frame in read.items()}


@THOROUGH
def test_the_new_bars_are_measured_with_the_predictions_of_the_present_version(model, bars):
    """Second opinion: predictions of ``predict`` and labels from the bars alone."""
    result = update_model(model, bars, policy="none")
    table = load_model(model).predict(frames(bars))
    settings = load_settings(model.parent / "config.yaml", environment={}).data
    labels = []
    for symbol, frame in frames(bars).items():
        found = labeller(settings).label(frame.set_index("date").astype(float))
        labels.append(pd.DataFrame({"symbol": symbol, "date": frame["date"], "label": found.classes}))
    both = table.assign(date=table["date"].astype(str)).merge(pd.concat(labels), on=["symbol", "date"])
    tested = pd.read_csv(model / "predictions.csv")["date"].max()
    both = both[(both["date"] > tested) & (both["label"] >= 0)]
    measured = result.event["measured"]
    assert (measured["windows"], measured["first"]) == (len(both), both["date"].min())
    assert measured["accuracy"] == pytest.approx((both["class"] == both["label"]).mean())
    chances = both[["probability_0", "probability_1"]].to_numpy()[np.arange(len(both)), both["label"]]
    assert measured["log_loss"] == pytest.approx(-np.log(chances).mean(), rel=1e-4)
    by_date = (both["class"] != both["label"]).groupby(both["date"]).mean()
    new = dict(result.event["errors"][-len(by_date) :])
    assert new == pytest.approx(by_date.to_dict())
    assert (
        result.event["errors"][0][0]
        > json.loads((model.parent / "data.json").read_text())["splits"]["validation"]["last"]
    )
    assert set(result.event["drift"]) == {"features", "errors"}
    low, high = measured["log_loss_interval"]
    assert low < measured["log_loss"] < high
    with raises(DataError, "no-new-bars", "--data-dir"):
        update_model(model, bars, policy="none")
    assert update_model(model, bars, dry_run=True).event["measured"] is None  # still to be trained on


def test_a_dry_run_writes_nothing_and_says_what_an_update_does(model, bars):
    before = content(model.parent)
    said = update_model(model, bars, dry_run=True)
    assert content(model.parent) == before
    done = update_model(model, bars)
    for name in ("measured", "validation", "decision"):
        assert said.event[name] == done.event[name]


@pytest.mark.parametrize("policy", ["refit", pytest.param("finetune", marks=THOROUGH)])
def test_an_accepted_candidate_becomes_a_version_and_a_rollback_undoes_it(model, bars, winning, policy):
    first = load_model(model)
    result = update_model(model, bars, policy=policy)
    assert (result.accepted, result.event["version"]) == (True, 2)
    second = load_model(model)
    assert (second.version.version, second.version.policy, len(second.others)) == (2, policy, len(first.others))
    newest = frames(bars)["AAPL"]["date"].iloc[-1]
    assert second.version.seen_until == newest
    same = second.description.scaler == first.description.scaler
    assert same == (policy == "finetune")  # weights that are trained further belong to their scaler
    assert (model / "README.md").read_text().count("## Versions") == 1
    with raises(DataError, "no-new-bars", "--data-dir"):
        update_model(model, bars)
    assert rollback_model(model) == 1
    pd.testing.assert_frame_equal(load_model(model).predict(frames(bars)), first.predict(frames(bars)))


@THOROUGH
def test_a_worse_candidate_changes_nothing_but_the_history(model, bars):
    """With this learning rate a network learns nothing."""
    about = json.loads((model / "model.json").read_text())
    about["params"] |= {"training.learning_rate": 1.0, "training.optimizer": "sgd"}
    (model / "model.json").write_text(json.dumps(about))
    before = content(model)
    result = update_model(model, bars)
    after = content(model)
    assert not result.accepted
    assert result.event["validation"]["difference"] > 0
    assert {name for name in after if after[name] != before.get(name)} == {"versions.json", "README.md"}
    assert load_model(model).version is None


@THOROUGH
def test_later_bars_change_nothing_that_an_update_did(model, bars, winning, tmp_path):
    """Bars after the cut of the update are changed, and it is repeated on the bars until the cut."""
    cut = "2009-06-30"
    twin = Path(shutil.copytree(model.parent, tmp_path / "twin")) / model.name
    update_model(model, frames(bars, cut))
    spoiled = frames(bars)
    for frame in spoiled.values():
        late = frame["date"] > cut
        frame.loc[late, ["open", "high", "low", "close"]] *= 3.0
    update_model(twin, {symbol: frame[frame["date"] <= cut] for symbol, frame in spoiled.items()})
    assert load_model(model).description == load_model(twin).description
    early = frames(bars, cut)
    predicted = load_model(model).predict(early)
    pd.testing.assert_frame_equal(predicted, load_model(twin).predict(early))
    later = load_model(model).predict(spoiled)
    pd.testing.assert_frame_equal(predicted, later[later["date"] <= cut].reset_index(drop=True), rtol=1e-5)


@THOROUGH
def test_too_few_unseen_dates_are_measured_and_train_nothing(model, bars, winning):
    update_model(model, frames(bars, "2009-06-30"))
    result = update_model(model, frames(bars, "2009-07-20"))
    assert (result.event["decision"], result.event["validation"]) == ("kept", None)
    assert result.event["measured"]["dates"] == 13
    assert load_model(model).version.version == 2


REFUSED = [
    ("no new bars", DataError, "no-new-bars"),
    ("a symbol is missing", DataError, "unknown-symbol"),
    ("bars begin later", DataError, "bars-do-not-overlap"),
    ("a column is missing", DataError, "missing-column"),
    ("an ensemble", SaveDirError, "not-a-single-model"),
    ("away from its study", SaveDirError, "study-missing"),
    ("without a record", SaveDirError, "file-missing"),
    ("a policy", ConfigError, "unknown-policy"),
]


@pytest.mark.parametrize(("what", "kind", "code"), REFUSED)
def test_wrong_input_is_refused_with_one_line(model, bars, tmp_path, what, kind, code):
    given: Any = frames(bars)
    policy: Any = "refit"
    match what:
        case "no new bars":
            given = frames(bars, "2008-12-31")
        case "a symbol is missing":
            del given["IBM"]
        case "bars begin later":
            given = {symbol: frame[frame["date"] > "2009-02-01"] for symbol, frame in given.items()}
        case "a column is missing":
            given["AAPL"] = given["AAPL"].drop(columns="close")
        case "an ensemble":
            model = model.parent / "ensemble"
        case "away from its study":
            model = Path(shutil.move(model, tmp_path / "away"))
        case "without a record":
            (model / "training.json").unlink()
        case "a policy":
            policy = "daily"
    before = content(model)
    with pytest.raises(kind) as caught:
        update_model(model, given, policy=policy)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)
    assert content(model) == before


@THOROUGH
def test_the_command_line_prints_a_short_table(model, bars, capsys):
    arguments = ["--model", str(model), "--data-dir", str(bars)]
    assert main(["update", *arguments, "--policy", "finetune"]) == 0
    printed = capsys.readouterr()
    assert [line.split("  ")[0] for line in printed.out.splitlines()][-1] == "Decision"
    assert all(line.startswith("Training ") for line in printed.err.splitlines() if not line.startswith("Warning"))
    assert main(["update", *arguments, "--policy", "finetune"]) == 2
    assert len([line for line in capsys.readouterr().err.splitlines() if not line.startswith("Warning")]) == 1


@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("seed", range(3))
def test_a_killed_update_leaves_the_old_version_or_the_complete_new_one(model, bars, seed):
    arguments = ["update", "--model", str(model), "--data-dir", str(bars), "--policy", "finetune"]
    started = subprocess.Popen(
        [sys.executable, "-m", "cnn_lstm_hyperopt", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert started.stderr is not None
    before = load_model(model).predict(frames(bars))
    for _ in range(1 + seed % 2):  # until the first or the second training
        started.stderr.readline()
    time.sleep(random.Random(seed).random())
    started.send_signal(signal.SIGKILL)
    started.wait()
    started.stderr.close()
    found = load_model(model)
    if found.version is None:
        pd.testing.assert_frame_equal(found.predict(frames(bars)), before)
        update_model(model, bars, policy="finetune")
    versions = json.loads((model / "versions.json").read_text())["versions"]
    folder = model / "versions"
    there = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    assert there == [str(each["version"]) for each in versions]


@pytest.fixture(scope="module")
def longer(tmp_path_factory) -> dict[str, pd.DataFrame]:
    return frames(write_bars(tmp_path_factory.mktemp("longer"), "2009-12-31"))


@pytest.fixture(scope="module")
def replayed(origin, longer) -> dict[str, Any]:
    """Replay of three periods; the first contains the test set."""
    found = content(origin.parent)
    result = evaluate_model(origin, longer, walk_forward=3, refit=True).as_dict()
    assert content(origin.parent) == found
    return result


def before(bars: dict[str, pd.DataFrame], date: str) -> dict[str, pd.DataFrame]:
    return {symbol: frame[frame["date"] < date].reset_index(drop=True) for symbol, frame in bars.items()}


def losses(model: Path, bars: dict[str, pd.DataFrame], first: str, last: str, *, tested: bool = False) -> np.ndarray:
    """Second opinion: predictions of ``predict`` and labels from the bars alone."""
    settings = load_settings(model.parent / "config.yaml", environment={}).data
    labels = []
    for symbol, frame in bars.items():
        found = labeller(settings).label(frame.set_index("date").astype(float))
        labels.append(pd.DataFrame({"symbol": symbol, "date": frame["date"], "label": found.classes}))
    table = load_model(model, tested=tested).predict(bars)
    both = table.assign(date=table["date"].astype(str)).merge(pd.concat(labels), on=["symbol", "date"])
    both = both[both["date"].between(first, last) & (both["label"] >= 0)]
    return -np.log(both[["probability_0", "probability_1"]].to_numpy()[np.arange(len(both)), both["label"]])


@pytest.mark.parametrize("place", [1, pytest.param(2, marks=THOROUGH)])
def test_each_period_is_that_of_real_updates_on_the_bars_until_then(origin, longer, replayed, tmp_path, place):
    """``update`` runs on files that end with each period; the version that serves then predicts the next period."""
    served = Path(shutil.copytree(origin.parent, tmp_path / "results")) / origin.name
    policy = replayed["policies"][place]
    for period, following in zip(policy["periods"], [*policy["periods"][1:], None], strict=True):
        measured = losses(served, longer, period["first"], period["last"])
        assert (period["windows"], period["log_loss"]) == (len(measured), pytest.approx(measured.mean(), rel=1e-4))
        if following is not None:
            event = update_model(served, before(longer, following["first"]), policy=policy["policy"]).event
            assert {name: event[name] for name in ("decision", "version")} == {
                name: period["update"][name] for name in ("decision", "version")
            }
    assert policy["accepted"] == load_model(served).version.version - 1 > 0


def test_all_policies_are_compared_on_all_windows_from_the_test_set_on(origin, longer, replayed):
    data = json.loads((origin.parent / "data.json").read_text())
    none, *others = replayed["policies"]
    measured = losses(origin, longer, data["splits"]["test"]["first"], "2099", tested=True)
    assert (replayed["windows"], none["log_loss"]) == (len(measured), pytest.approx(measured.mean(), rel=1e-4))
    assert replayed["first"] == data["splits"]["test"]["first"] > data["splits"]["validation"]["last"]
    assert replayed["test_set"]["last"] == data["splits"]["test"]["last"]
    assert replayed["test_set"]["periods"] == 1
    for each in others:
        periods = [[period[name] for name in ("first", "last", "windows")] for period in each["periods"]]
        assert periods == [[period[name] for name in ("first", "last", "windows")] for period in none["periods"]]
        assert each["periods"][0]["log_loss"] == none["periods"][0]["log_loss"]  # before the first update
        assert each["difference_to_none"]["log_loss"] == pytest.approx(each["log_loss"] - none["log_loss"])


@THOROUGH
def test_later_bars_change_nothing_that_was_predicted_or_trained_before(origin, longer, replayed):
    start = replayed["policies"][0]["periods"][-1]["first"]
    spoiled = {symbol: frame.copy() for symbol, frame in longer.items()}
    for frame in spoiled.values():
        frame.loc[frame["date"] >= start, ["open", "high", "low", "close"]] *= 3.0
    found = evaluate_model(origin, spoiled, walk_forward=3, refit=True).as_dict()
    for ours, theirs in zip(found["policies"], replayed["policies"], strict=True):
        # the label of the last window before the changed bars uses one of them
        assert ours["periods"][0] == theirs["periods"][0]
        assert ours["periods"][1]["update"] == theirs["periods"][1]["update"]


def test_the_command_line_prints_the_table_and_writes_the_same_figures(origin, tmp_path, capsys):
    folder = write_bars(tmp_path / "bars", "2009-06-30")
    output = tmp_path / "evaluation.json"
    arguments = ["evaluate", "--model", str(origin), "--data-dir", str(folder), "--output", str(output)]
    for _ in range(2):  # its own file is replaced
        assert main([*arguments, "--walk-forward", "2"]) == 0
        printed = capsys.readouterr().out
    found = json.loads(output.read_text())
    assert found["command"] == "evaluate"
    assert [each["policy"] for each in found["policies"]] == ["none"]
    assert f"{found['policies'][0]['log_loss']:.4f}" in printed
    assert found == evaluate_model(origin, folder, walk_forward=2).as_dict()
    (tmp_path / "other.json").write_text("{}")
    assert main([*arguments[:-1], str(tmp_path / "other.json"), "--walk-forward", "2"]) == 2


def test_wrong_numbers_of_periods_and_missing_bars_are_refused(origin, longer):
    with raises(DataError, "period-too-short", "--walk-forward"):
        evaluate_model(origin, longer, walk_forward=50, refit=True)
    with raises(ConfigError, "too-few-periods", "--walk-forward"):
        evaluate_model(origin, longer, walk_forward=1, refit=True)
    with raises(ConfigError, "not-a-number", "walk_forward"):
        evaluate_model(origin, longer, walk_forward="3")
    with raises(DataError, "no-new-bars", "--data-dir"):
        evaluate_model(origin, before(longer, "2008-01-01"), walk_forward=2)
    with raises(DataError, "bars-do-not-overlap", "--data-dir"):
        evaluate_model(origin, {key: frame[frame["date"] > "2009"] for key, frame in longer.items()}, walk_forward=2)


@THOROUGH
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_ctrl_c_ends_a_replay_with_one_line_and_a_usable_terminal(origin, tmp_path):
    """The progress bar hides the cursor, so the end must show it again."""
    import pty

    folder, found = write_bars(tmp_path / "bars", "2009-12-31"), content(origin.parent)
    arguments = ["--model", str(origin), "--data-dir", str(folder), "--walk-forward", "3", "--refit"]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-m", "cnn_lstm_hyperopt", "evaluate", *arguments])  # noqa: S606
    seen, sent = b"", False
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the process has ended
            break
        if not part:
            break
        seen += part
        if b"finetune" in seen and not sent:
            os.write(terminal, b"\x03")
            sent = True
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 130, seen
    assert b"Traceback" not in seen
    assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")
    assert content(origin.parent) == found
