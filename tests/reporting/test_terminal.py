"""The terminal: a short start, one line a trial, the verdict and the next command at the end; everything in the log."""

import contextlib
import io
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from rich.table import Table

from builders.records import make_plan
from cnn_lstm_hyperopt import run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.reporting.console.pruning import pruned_text, pruning_lines
from cnn_lstm_hyperopt.reporting.console.run_console import RunConsole
from cnn_lstm_hyperopt.reporting.console.screen import LastingOutput
from cnn_lstm_hyperopt.reporting.console.search_tables import show_windows
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.run_dir.activity import Activity
from cnn_lstm_hyperopt.run_dir.paths import resume_command
from cnn_lstm_hyperopt.search import SkillThreshold, State, Study, StudyStorage, Values
from cnn_lstm_hyperopt.search.cost_forecast import Forecast
from cnn_lstm_hyperopt.search.pruning_stats import Estimate, FalsePrunes, PruningSummary, Unknown
from cnn_lstm_hyperopt.utils.text import counted, epochs_text, seconds_text

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def pipe(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def study(tmp_path):
    with contextlib.closing(StudyStorage(tmp_path / "study.db", create="x")) as storage:
        yield Study(storage, make_plan(n_trials=4))


@contextlib.contextmanager
def searching(console, study, seconds_left=lambda: None):
    unknown = Forecast(
        trials=0, workers=1, share_left=1.0, trial_seconds=(1, 1, 1), seconds=0, max_seconds=0, memory_mb=0, disk_mb=0
    )
    console.on_search_start(study, unknown, seconds_left)
    yield
    console.on_search_stop()


def run_trials(terminal, study):
    """One complete, one pruned, one failed, one complete trial."""
    ends = [
        (State.COMPLETE, Values(0.7, 2.0, 0.5), {"epochs": 3.0}),
        (State.PRUNED, None, {"epochs": 1.0, "reason": "median: why [not a tag]"}),
        (State.FAIL, None, {"reason": "RuntimeError: boom"}),
        (State.COMPLETE, Values(0.65, 9.0, 0.5), {"epochs": 3.0}),
    ]
    with searching(terminal, study):
        for state, values, attributes in ends:
            assignment = study.next_assignment()
            terminal.on_trial_start(assignment)
            terminal.on_trial_report(assignment, ProgressReport(1, 1, 2, 0.6, 0.4))
            terminal.on_trial_end(study.finish(assignment, state, values, attributes), None)


def wrapped(text, width=80):
    """Lines as a terminal of this width shows them."""
    return [part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""]]


def before_trials(out):
    return out.partition("[1/")[0]


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("target", ["volatility", "direction"])
def test_the_start_is_short_and_the_end_names_the_next_command(tiny, tiny_file, tmp_path, capsys, target):
    assert main(["run", "--config", str(tiny_file), "--n-trials", "2", "--target", target]) == 0
    out = capsys.readouterr().out
    start = wrapped(before_trials(out))
    assert len(start) <= 15
    assert {"Data:", "Space:", "Budget:", "Forecast:"} <= {line.split()[0] for line in start}
    facts = json.loads((Path(tiny["save_dir"]) / "data.json").read_text(encoding="utf-8"))
    assert facts["power"]["sentence"] in out
    assert facts["power"]["test_windows"] == facts["splits"]["test"]["windows"]
    assert max(map(len, out.partition("Pareto front")[2].partition("Pruned")[0].splitlines())) <= 80
    command = resume_command(Path(tiny["save_dir"])) + " --retrain-best"
    assert out.splitlines()[-1].strip() == command
    assert "Verdict:" in out.splitlines()[-3]
    log = (Path(tiny["save_dir"]) / "run.log").read_text(encoding="utf-8")
    details = ["Windows", "cnn.num_filters {4, 8}", "Speeds:", "seed 0"]
    assert [part in before_trials(out) for part in details] == [False] * 4
    assert all(part in log for part in [*details, "n_startup_trials"])

    assert main(["resume", *command.split()[2:], "--verbose"]) == 0
    out = capsys.readouterr().out
    assert all(part in out for part in details)
    assert "n_startup_trials" not in out  # the search is finished
    *_, head, sentence, _, predict = out.splitlines()
    assert head.startswith("Verdict: ")
    assert re.match(r"Model 1 has an? .* test windows", sentence)
    recommended = json.loads((Path(tiny["save_dir"]) / "results.json").read_text())["verdict"]["recommended_model"]
    model = Path(tiny["save_dir"]) / ("retrained_model_1" if recommended == "model 1" else "ensemble")
    assert predict.strip() == f"cnn-lstm-hyperopt predict --model {model} --data-dir DIR --last"


@pytest.mark.parametrize("retrain", [False, True])
def test_python_users_get_python_calls(tiny, tmp_path, capsys, retrain):
    generator = np.random.default_rng(0)
    loaders = [[(torch.tensor(generator.normal(size=(40, 6, 2))).float(), torch.arange(40) % 2)] for _ in range(3)]
    config = {name: value for name, value in tiny.items() if name != "data"}
    run_cnn_lstm_hyperparameter_optimization(loaders, n_trials=1, config=config, top_k=1, retrain_best=retrain)
    out = capsys.readouterr().out
    assert len(wrapped(before_trials(out))) <= 15
    assert "cnn-lstm-hyperopt" not in out
    assert out.count("Next:") == out.count("Verdict:") == 1
    assert (".predict(windows)" if retrain else ".retrain_best_models()") in out.splitlines()[-1]


def setup_of(*warnings, dataset=None, skill=None):
    """A set-up with these warnings, of a data set that is given or almost empty."""
    facts = {"source": "s", "target": "t", "lookback": 1, "horizon": 1, "class_names": []}
    facts["splits"] = {"train": {"windows": 9, "class_shares": []}}
    data = dataset or SimpleNamespace(description=facts, search_train=[1], train=[1], warnings=warnings[:2])
    skill = skill or SkillThreshold(0.5, 100)
    power = SimpleNamespace(sentence="9 test windows: few.")
    return SimpleNamespace(dataset=data, skill=skill, first_trials="", warnings=warnings[2:], power=power)


def test_warnings_that_do_not_fit_are_counted_and_logged(capsys, caplog):
    setup = setup_of(*(texts := ["a" * 30, "b " * 200, "c" * 30, "d " * 30]))
    console = RunConsole(Terminal())
    console.on_setup(setup)
    console.on_dry_run()
    *lines, _ = capsys.readouterr().out.splitlines()
    assert [line[9] for line in lines if line.startswith("Warning: ")] == ["a", "c", "d"]
    assert lines[-1].startswith("1 more warning")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == texts
    RunConsole(Terminal(verbose=True)).on_setup(setup)
    assert {f"Warning: {text}" for text in texts} <= set(capsys.readouterr().out.splitlines())  # a pipe wraps nothing


@pytest.mark.parametrize(
    "called", [["-m", "cnn_lstm_hyperopt"], [str(ROOT / "scripts" / "run_cnn_lstm_hyperopt.py")], None]
)
def test_commands_are_spelled_as_the_user_called_the_program(tmp_path, called):
    StudyStorage(tmp_path / "study.db", create="x", attributes={"n_trials": 3, "skill_gate": None}).close()
    program = [str(Path(sys.executable).with_name("cnn-lstm-hyperopt"))] if not called else [sys.executable, *called]
    done = subprocess.run([*program, "status", "--save-dir", tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"Next: {' '.join(program)} resume --save-dir {tmp_path}"


def test_quiet_and_verbose_contradict_each_other(tiny_file):
    with pytest.raises(ConfigError) as caught:
        Terminal(quiet=True, verbose=True)
    assert (caught.value.field, caught.value.code) == ("verbose", "quiet-and-verbose")
    assert main(["run", "--config", str(tiny_file), "--quiet", "--verbose"]) == 2


METRICS = ["accuracy", "mcc", "auc", "balanced accuracy", "negative log loss"]


@pytest.mark.parametrize("words", METRICS)
def test_a_pipe_gets_one_plain_line_a_trial_in_the_metric_of_the_study(study, capsys, words):
    skill = SkillThreshold.on(words.removeprefix("negative ").replace(" ", "_"), [[0, 1] * 50])
    study.plan = replace(study.plan, skill=skill)
    console = RunConsole(Terminal())
    console.on_setup(setup_of(skill=skill))
    capsys.readouterr()
    run_trials(console, study)
    out = capsys.readouterr().out
    assert not {"\x1b", "\r"} & set(out)
    lines = out.splitlines()
    found = [re.match(r"\[(\d)/4\] trial (\d)", line).groups() for line in lines]
    assert found == [("1", "0"), ("2", "1"), ("2", "2"), ("3", "3")]
    parts = [f"{words} 0.7000, 2.0 s, 0.500 MB", "1 epoch: median: why [not a tag]", "RuntimeError: boom", "0.6500"]
    assert all(part in line for part, line in zip(parts, lines, strict=True))
    assert ["joins" in line for line in lines] == [True, False, False, False]
    console.on_search_end(study, "finished")
    header = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["rank"])
    assert header.split("trial")[1].split("seconds")[0].strip() == words


def test_quiet_prints_nothing_and_logs_all(study, capsys, caplog):
    with caplog.at_level(logging.INFO, logger="cnn_lstm_hyperopt"):
        terminal = Terminal(quiet=True)
        terminal.say("hello")
        terminal.warn("careful " * 100)
        console = RunConsole(terminal)
        console.on_search_end(study, "the end of the test")
        run_trials(console, study)
    assert "".join(capsys.readouterr()) == ""
    parts = ("hello", "careful", "the end of the test", "[1/4]", "boom")
    assert [part for part in parts if part not in caplog.text] == []
    assert "\x1b" not in caplog.text


def test_the_front_is_ranked_and_cut_to_ten_and_followed_by_its_hypervolume(study, capsys):
    study.plan = replace(study.plan, n_trials=12)
    for n in range(12):
        values = Values(0.7 + n / 100, 1.0 + n, 0.5)
        study.finish(study.next_assignment(), State.COMPLETE, values, {"epochs": 3.0, "seconds": 30.0})
    RunConsole(Terminal()).on_search_end(study, "finished")
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split()[:5] for line in lines if line.strip()[:1].isdigit()]
    assert rows[:2] == [["1", "11", "0.8100", "12.0", "0.500"], ["2", "10", "0.8000", "11.0", "0.500"]]
    assert len(rows) == 10
    assert sum("2 more" in line for line in lines) == 1
    trials = re.search(r"90% reached after (\d+) trials and (.*) of training", lines[-1])
    assert trials[2] == seconds_text(30.0 * int(trials[1]))


@pytest.mark.parametrize(
    ("source", "horizon", "known"), [("synthetic", 1, True), ("synthetic", 2, False), ("embedded", 1, False)]
)
def test_only_a_synthetic_market_has_a_best_attainable_accuracy(capsys, source, horizon, known):
    symbol = "SYN1" if source == "synthetic" else "AAPL"
    data = prepare_dataset(DataSettings(source=source, symbols=(symbol,), lookback=5, horizon=horizon))
    skill = SkillThreshold.on("accuracy", [data.validation.labels.numpy()])
    RunConsole(Terminal()).on_setup(setup_of(dataset=data, skill=skill))
    out = capsys.readouterr().out
    assert ("72.0%" in out) is known
    assert all(f"{len(part):,} windows" in out for part in (data.train, data.validation, data.test.open()))
    assert f"{skill.chance:.1%}" in out
    assert f"{skill.threshold:.1%}" in out


def test_windows_have_the_share_of_each_class_and_each_folds_dates(capsys):
    data = prepare_dataset(DataSettings(symbols=("SYN1",), lookback=5, direction_classes=3, cv_folds=3))
    show_windows(Terminal(), data.description)
    out = capsys.readouterr().out
    for number, name in enumerate(("down", "flat", "up")):
        assert re.search(rf"{name} +{data.description['splits']['train']['class_shares'][number]:.1%}", out)
    for number, fold in enumerate(data.folds, start=1):
        parts = (fold.train, fold.validation)
        dates = [f"{part.dates.min().astype('M8[D]')} to {part.dates.max().astype('M8[D]')}" for part in parts]
        assert re.search(rf"{number} +{dates[0]} +{len(fold.train):,} +{dates[1]} +{len(fold.validation):,} *\n", out)
    many = {"cv_scheme": "combinatorial", "cv_folds": 6, "embargo": 5}
    facts = prepare_dataset(DataSettings(symbols=("SYN1",), lookback=5, **many)).description
    show_windows(Terminal(), facts)
    table = capsys.readouterr().out.partition("15 folds, combinatorial")[2].splitlines()
    blocks = [f"{block['first']} to {block['last']}" for block in facts["folds"][0]["validation"]["blocks"]]
    first = next(number for number, line in enumerate(table) if line.split()[:1] == ["1"])
    assert blocks[0] in table[first]
    assert table[first + 1].strip() == blocks[1]
    assert any("5 more in data.json" in line for line in table[first:])


@pytest.mark.parametrize(("limit", "shown"), [(None, "0:30"), (100.0, "0:30"), (12.0, "0:12"), (7384.0, "2:03:04")])
def test_the_time_left_is_at_most_that_of_the_timeout(study, capsys, monkeypatch, limit, shown):
    """One of four trials took a third of the time that the others take."""
    now, took = [0.0], 10.0 if limit is None or limit < 1000 else 10_000.0
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    terminal = RunConsole(Terminal())
    with searching(terminal, study, seconds_left=lambda: limit):
        assignment = study.next_assignment()
        now[0] = took
        terminal.on_trial_end(study.finish(assignment, State.COMPLETE, Values(0.7, 1, 1), {}), None)
    assert capsys.readouterr().out.split()[-1] == shown


def test_the_time_left_follows_the_latest_fifty_trials(study, capsys, monkeypatch):
    """Ten trials of a second, then fifty of ten seconds; forty are left."""
    study.plan = replace(study.plan, n_trials=100)
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    terminal = RunConsole(Terminal())
    with searching(terminal, study):
        for number in range(60):
            assignment = study.next_assignment()
            now[0] += 1.0 if number < 10 else 10.0
            terminal.on_trial_end(study.finish(assignment, State.COMPLETE, Values(0.7, 1, 1), {}), None)
    lefts = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert (lefts[9], lefts[-1]) == ("1:30", "6:40")


def test_a_terminal_shows_workers_failures_and_front_and_breaks_lines_between_words(study, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "70")
    terminal = RunConsole(Terminal())
    run_trials(terminal, study)
    out = capsys.readouterr().out
    assert [f"trial {number}: " in out for number in range(4)] == [True, False, True, False]
    with searching(terminal, study):
        terminal.on_activity([Activity(number, 10 + number, 1.5, 700.0) for number in range(1, 11)])
        terminal.on_warning("a sentence that is longer than the seventy columns of this terminal, so it wraps")
        command = f"{resume_command(Path('/a/directory/whose/name/is/long'))} and nothing else at all"
        terminal.terminal.say(command)
    out = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
    lines = [line.strip() for line in re.split(r"[\r\n]+", out)]
    assert {"worker 2: trial 12 at epoch 1.5, 700 MB", "… and 2 more", command} <= set(lines)  # the command is whole
    assert not any(line.startswith("worker 9") for line in lines)
    assert any("3/4" in line for line in lines)
    assert "Warning: a sentence that is longer than the seventy columns of this" in lines


@pytest.mark.parametrize(("reasons", "warned"), [(7 * ["limit: x"], 1), (["median: x", *(5 * ["limit: x"])], 0)])
def test_a_search_that_only_meets_its_time_limit_gets_one_warning(study, capsys, reasons, warned):
    study.plan = replace(study.plan, n_trials=20)
    terminal = RunConsole(Terminal())
    with searching(terminal, study):
        for reason in reasons:
            ended = study.finish(study.next_assignment(), State.PRUNED, None, {"epochs": 0.01, "reason": reason})
            terminal.on_trial_end(ended, None)
    assert capsys.readouterr().out.count("--recalibrate") == warned


BY, LONG = {"front": 31, "limit": 4}, {"successive_halving": 1234, "limit": 1234}


@pytest.mark.parametrize(
    ("by", "saved", "share", "more", "parts"),
    [
        (BY, (1000, 800, 1300), (1 / 17, 0.01, 0.21), (17, 1), ["31 by front, 4 by limit", "50%", "1 of 17"]),
        ({"median": 1}, None, None, (), ["1 by median", "few trials", "few trials"]),
        ({}, (0, 0, 0), None, (), ["no trial"]),
        ({}, (0, 0, 0), (0, 0, 0.8), (1, 0), ["no trial", "0% (0% to 80%)"]),
        (LONG, (3.5e6, 3.4e6, 3.6e6), (0.5, 0.4, 0.6), (1234, 1000, 1e5), ["1,234 by", "h", "1,000 of 1,234"]),
    ],
)
def test_pruning_takes_one_to_three_lines_of_eighty_columns(by, saved, share, more, parts):
    saved, share = (Unknown("few trials") if each is None else Estimate(*each) for each in (saved, share))
    n, k, spent = (*more, *(0, 0, 1000.0)[len(more) :])
    lines = pruning_lines(PruningSummary(by, spent, saved, FalsePrunes(share, n, k), 9))
    assert all(part in line for line, part in zip(lines, parts, strict=True))
    assert max(map(len, lines)) <= 80


def test_other_events_take_a_line_each_or_a_bar(capsys, monkeypatch):
    console = RunConsole(Terminal(verbose=True))
    for event, arguments, part in (
        (console.on_benchmark_start, (), "20 s"),
        (console.on_cut_off_trials, ([3, 4],), "(3, 4)"),
        (console.on_workers, (3,), "3 workers"),
        (console.on_confirmation_start, ([0], 2, 2), "2 new seeds"),
        (console.on_confirmation_interrupted, ("SIGTERM",), "SIGTERM"),
        (console.on_fewer_finalists, (1, 2), "1 model"),
        (console.on_retraining_interrupted, ("Ctrl-C",), "Ctrl-C"),
        (console.on_results_kept, ({"grade": "x", "sentence": "y"},), "kept"),
    ):
        event(*arguments)
        (line,) = capsys.readouterr().out.splitlines()
        assert part in line
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = RunConsole(Terminal())
    console.on_trainings_start("Retraining")
    console.on_training("rank 1, seed 1", ProgressReport(1, 1, 2, 0.6, 0.4), 5)
    console.on_trainings_stop()
    assert "Retraining" in capsys.readouterr().out


def test_figures_are_written_as_people_write_them():
    assert [counted(n, "trial") for n in (0, 1, 1200)] == ["0 trials", "1 trial", "1,200 trials"]
    assert [epochs_text(n) for n in (0.254, 1.004, 150)] == ["0.25 epochs", "1 epoch", "150 epochs"]
    assert [seconds_text(s) for s in (4.21, 100.4, 150, 27000)] == ["4.2 s", "100 s", "2 min", "7.5 h"]
    assert pruned_text({"limit": 2, "front": 31, "median": 2}) == "31 by front, 2 by limit, 2 by median"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="the system has no pseudoterminals")
@pytest.mark.parametrize("lost", ["terminal", "reader", "closed"])
def test_a_lost_output_ends_nothing_and_the_log_has_everything(monkeypatch, caplog, lost):
    """A real terminal that is closed (EIO), a real pipe without a reader (EPIPE), a closed stream."""
    reading, writing = os.openpty() if lost == "terminal" else os.pipe()
    table = Table("a")
    table.add_row("in a table")
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        terminal = Terminal()
        terminal.say("before")
        os.close(reading)
        if lost == "closed":
            stream.close()
        with caplog.at_level("INFO", "cnn_lstm_hyperopt"):
            terminal.say("after")
            terminal.table(table)
            terminal.warn("at the end")
    monkeypatch.undo()
    assert all(text in caplog.text for text in ("after", "in a table", "at the end"))
    assert len([record for record in caplog.records if "screen" in record.name]) == 1


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", "3 - -> ... ?"), ("cp1252", "3 · -> … ?")])
def test_characters_that_the_encoding_lacks_are_replaced(monkeypatch, caplog, encoding, shown):
    written, table = io.BytesIO(), Table("a")
    table.add_row("λ")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    terminal = Terminal()
    with caplog.at_level("INFO", "cnn_lstm_hyperopt"):
        terminal.say("3 · → … λ")
        terminal.table(table)
    text = written.getvalue().decode(encoding)
    monkeypatch.undo()
    assert text.splitlines()[0] == shown
    assert "3 · → … λ" in caplog.text


def test_output_without_a_stream_or_room_is_dropped(monkeypatch):
    output, full = LastingOutput(), Mock(spec=io.StringIO, **{"write.side_effect": BlockingIOError})
    monkeypatch.setattr(sys, "stdout", None)
    assert (output.isatty(), output.write("x"), output.encoding) == (False, 1, "utf-8")
    with pytest.raises(io.UnsupportedOperation):
        output.fileno()
    output.flush()
    monkeypatch.setattr(sys, "stdout", full)
    assert output.write("x") == 1
    assert output.fileno() is full.fileno.return_value
