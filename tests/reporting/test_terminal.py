"""The terminal: plain lines in a pipe, everything in the log, a bar only on a terminal."""

import contextlib
import io
import logging
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.table import Table

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings, parse_space
from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.reporting.console.pruning import pruned_text, pruning_lines, search_lines
from cnn_lstm_hyperopt.reporting.console.run_console import RunConsole
from cnn_lstm_hyperopt.reporting.console.search_tables import show_windows
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.run_dir.activity import Activity
from cnn_lstm_hyperopt.search import Cost, Limits, SkillThreshold, State, Study, StudyPlan, StudyStorage, Values
from cnn_lstm_hyperopt.search.cost_forecast import Forecast
from cnn_lstm_hyperopt.search.pruning_stats import Estimate, FalsePrunes, PruningSummary, Unknown
from cnn_lstm_hyperopt.utils.text import counted, epochs_text, seconds_text


@pytest.fixture(autouse=True)
def pipe(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def n_trials():
    return 4


@pytest.fixture
def study(tmp_path, n_trials):
    storage = StudyStorage(tmp_path / "study.db", create="x")
    plan = StudyPlan(
        space=parse_space(None)[0],
        sampler=SamplerSettings(type="random"),
        pruner=PrunerSettings(type="none"),
        seed=0,
        n_trials=n_trials,
        max_epochs=3,
        limits=Limits(),
        skill=SkillThreshold(0.5, 100),
        cost=lambda params: Cost(10.0, 0.5),
    )
    yield Study(storage, plan)
    storage.close()


@contextlib.contextmanager
def searching(console, study, seconds_left=lambda: None):
    """Nothing is forecast, so the time that is left is not known before a trial has ended."""
    unknown = Forecast(trials=0, workers=1, share_left=1.0, trial_seconds=(1, 1, 1), seconds=0, memory_mb=0, disk_mb=0)
    console.on_search_start(study, unknown, seconds_left)
    yield
    console.on_search_stop()


def run_trials(terminal, study):
    """One complete, one pruned, one failed, one complete trial, as execution tells them."""
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
            terminal.on_trial_report(assignment, ProgressReport(0.5, 1, 2))
            terminal.on_trial_report(assignment, ProgressReport(1, 1, 2, 0.6, 0.4))
            terminal.on_trial_end(study.finish(assignment, state, values, attributes), None)


def test_a_pipe_gets_one_plain_line_a_trial(study, capsys):
    run_trials(RunConsole(Terminal()), study)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\r" not in out
    lines = out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("[1/4] trial 0 complete: accuracy 0.7000, 2.0 s, 0.500 MB · joins the front")
    assert lines[1].startswith("[2/4] trial 1 pruned after 1 epoch: median: why [not a tag]")
    assert lines[2].startswith("[2/4] trial 2 failed after 0 epochs: RuntimeError: boom")
    assert "joins the front" not in lines[3]
    assert "2 complete, 1 pruned, 1 failed · best 0.7000 · front 1" in lines[3]


def test_long_lines_are_not_broken_in_a_pipe(capsys):
    Terminal().say("word " * 100)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_quiet_prints_nothing_and_logs_all(study, capsys, caplog):
    with caplog.at_level(logging.INFO, logger="cnn_lstm_hyperopt"):
        terminal = Terminal(quiet=True)
        terminal.say("hello")
        terminal.warn("careful")
        console = RunConsole(terminal)
        console.on_search_end(study, "the end of the test")
        run_trials(console, study)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    text = caplog.text
    for part in (
        "hello",
        "careful",
        "Pareto front",
        "Pruned: no trial",
        "trial 0 starts",
        "[1/4] trial 0 complete",
        "boom",
    ):
        assert part in text
    assert "\x1b" not in text


def test_warnings_are_marked(capsys, caplog):
    Terminal().warn("careful")
    assert capsys.readouterr().out == "Warning: careful\n"
    assert [r.levelname for r in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("n_trials", [12])
def test_the_front_is_shown_ranked_and_cut_to_ten(study, capsys):
    for n in range(12):
        assignment = study.next_assignment()
        study.finish(assignment, State.COMPLETE, Values(0.7 + n / 100, 1.0 + n, 0.5), {})
    RunConsole(Terminal()).show_front(study.front(), study.plan)
    out = capsys.readouterr().out
    assert "Pareto front: 12 trials" in out
    assert "… and 2 more in results.json" in out
    rows = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert [row[:5] for row in rows[:2]] == [
        ["1", "11", "0.8100", "12.0", "0.500"],
        ["2", "10", "0.8000", "11.0", "0.500"],
    ]
    assert len(rows) == 10


def test_the_space_is_described_by_what_differs_from_the_whole_one(capsys):
    space, _ = parse_space(
        {"cnn": {"dropout": 0.2, "num_filters": [32, 64]}, "training": {"learning_rate": [1e-4, 1e-3]}}
    )
    RunConsole(Terminal()).describe_space(space)
    out = capsys.readouterr().out
    assert "cnn.dropout = 0.2" in out
    assert "cnn.num_filters {32, 64}" in out
    assert "training.learning_rate [0.0001, 0.001]" in out
    assert out.startswith(f"Search space: {len(space.searched())} parameters\n")
    assert "augmentation" not in out
    assert "lstm.hidden_dim" not in out


def test_the_whole_space_differs_in_nothing(capsys):
    space, _ = parse_space(None)
    RunConsole(Terminal()).describe_space(space)
    assert capsys.readouterr().out.splitlines() == [f"Search space: {len(space.searched())} parameters"]


@pytest.mark.parametrize(
    ("horizon", "expected"),
    [
        (1, ["This market is synthetic: the best attainable accuracy is 72.0%, known because it was made so."]),
        (2, []),  # there it is not known
    ],
)
def test_of_a_synthetic_market_the_best_attainable_accuracy_is_told(capsys, horizon, expected):
    dataset = prepare_dataset(DataSettings(symbols=("SYN1",), lookback=5, horizon=horizon))
    RunConsole(Terminal()).describe_data(dataset, SkillThreshold.on("accuracy", [dataset.validation.labels.numpy()]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Data: synthetic, target direction, lookback 5")
    assert [line for line in lines if "attainable" in line] == expected


def test_of_real_bars_nobody_knows_the_best_attainable_accuracy(capsys):
    dataset = prepare_dataset(DataSettings(source="embedded", symbols=("AAPL",), lookback=5))
    RunConsole(Terminal()).describe_data(dataset, SkillThreshold.on("accuracy", [dataset.validation.labels.numpy()]))
    assert "attainable" not in capsys.readouterr().out


def test_windows_are_told_with_the_share_of_each_class_and_each_folds_dates(capsys):
    asked = {"symbols": ("SYN1",), "lookback": 5, "direction_classes": 3, "cv_folds": 3}
    data = prepare_dataset(DataSettings(**asked))
    show_windows(Terminal(), data.description)
    out = capsys.readouterr().out
    for number, name in enumerate(("down", "flat", "up")):
        share = data.description["splits"]["train"]["class_shares"][number]
        assert re.search(rf"share of {name} +{share:.1%}", out)
    assert "3 folds, expanding: a trial's score is the mean over them" in out
    for number, fold in enumerate(data.folds, start=1):
        parts = (fold.train, fold.validation)
        dates = [f"{part.dates.min().astype('M8[D]')} to {part.dates.max().astype('M8[D]')}" for part in parts]
        assert re.search(rf"{number} +{dates[0]} +{len(fold.train):,} +{dates[1]} +{len(fold.validation):,} *\n", out)


def test_of_many_combinatorial_folds_the_first_are_told_with_all_blocks_that_they_hold_out(capsys):
    asked = {"symbols": ("SYN1",), "lookback": 5, "cv_scheme": "combinatorial", "cv_folds": 6, "embargo": 5}
    data = prepare_dataset(DataSettings(**asked))
    show_windows(Terminal(), data.description)
    lines = capsys.readouterr().out.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("15 folds, combinatorial"))
    blocks = data.description["folds"][0]["validation"]["blocks"]
    first = next(number for number, line in enumerate(lines) if number > begin and line.split()[:1] == ["1"])
    assert f"{blocks[0]['first']} to {blocks[0]['last']}" in lines[first]
    assert lines[first + 1].strip() == f"{blocks[1]['first']} to {blocks[1]['last']}"
    assert any("5 more in data.json" in line for line in lines[first:])


@pytest.fixture
def described():
    """A dataset, and a skill threshold of a metric on its validation labels."""
    dataset = prepare_dataset(DataSettings(symbols=("SYN1",), lookback=5))
    return dataset, lambda metric: SkillThreshold.on(metric, [dataset.validation.labels.numpy()])


def test_of_an_accuracy_the_share_of_the_majority_is_told(described, capsys):
    dataset, skill = described[0], described[1]("accuracy")
    RunConsole(Terminal()).describe_data(dataset, skill)
    assert (
        f"Majority class on validation: {skill.chance:.1%} right; above {skill.threshold:.1%} (two standard errors) a trial beats"
        " chance.\n"
    ) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("metric", "words", "chance"),
    [
        ("mcc", "mcc", "0"),
        ("auc", "auc", "0.5"),
        ("balanced_accuracy", "balanced accuracy", "0.5"),
        ("log_loss", "negative log loss", "-0.69"),
    ],
)
def test_of_other_metrics_it_is_what_no_skill_scores_and_trials_are_told_in_them(
    described, study, capsys, metric, words, chance
):
    terminal, skill = RunConsole(Terminal()), described[1](metric)
    terminal.describe_data(described[0], skill)
    study.plan = replace(study.plan, skill=skill)
    run_trials(terminal, study)
    terminal.show_front(study.front(), study.plan)
    out = capsys.readouterr().out
    assert f"Chance on validation: {words} {chance}" in out
    assert f"; above {skill.threshold:.4g} (two standard errors) a trial beats chance" in out
    assert f"trial 0 complete: {words} 0.7000, 2.0 s" in out
    header = next(line for line in out.splitlines() if line.split()[:1] == ["rank"])
    assert header.split("trial")[1].split("seconds")[0].strip() == words
    assert "Majority" not in out


@pytest.mark.parametrize(("limit", "shown"), [(None, "0:00:30"), (100.0, "0:00:30"), (12.0, "0:00:12")])
def test_the_time_left_is_at_most_that_of_the_timeout(study, capsys, monkeypatch, limit, shown):
    """One of four trials took 10 s, so the others take 30."""
    now = [0.0]
    monkeypatch.setattr("cnn_lstm_hyperopt.reporting.console.search_progress.time.monotonic", lambda: now[0])
    terminal = RunConsole(Terminal())
    with searching(terminal, study, seconds_left=lambda: limit):
        assignment = study.next_assignment()
        now[0] = 10.0
        terminal.on_trial_end(study.finish(assignment, State.COMPLETE, Values(0.7, 1, 1), {}), None)
    assert capsys.readouterr().out.rstrip().endswith(f"time left {shown}")


def test_a_terminal_gets_a_bar_and_only_what_joins_the_front_or_failed(study, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    run_trials(RunConsole(Terminal()), study)
    out = capsys.readouterr().out
    assert "trial 0 complete" in out
    assert "trial 2 failed" in out
    assert "trial 1 pruned" not in out


def test_a_terminal_shows_what_each_worker_is_at_and_cuts_no_word_in_two(study, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "70")
    terminal = RunConsole(Terminal())
    with searching(terminal, study):
        terminal.on_activity([Activity(number, 10 + number, 1.5, 700.0) for number in range(1, 11)])
        terminal.on_warning(
            "a sentence that is a good deal longer than the seventy columns of this terminal, in which it stands"
        )
        terminal.on_warning(
            "go on with: cnn-lstm-hyperopt resume --save-dir /a/directory/whose/name/is/long and nothing else"
        )
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in capsys.readouterr().out.splitlines()]
    assert "0 complete, 0 pruned · best – · front 0 · memory 7,000 MB" in lines
    assert "worker 2: trial 12 at epoch 1.5, 700 MB" in lines
    assert "… and 2 more" in lines
    assert not any(line.startswith("worker 9") for line in lines)
    assert any("Search" in line and "0/4" in line and "time left" in line for line in lines)
    assert "Warning: a sentence that is a good deal longer than the seventy" in lines
    assert any(line.endswith("/a/directory/whose/name/is/long and nothing else") for line in lines)


def test_outside_a_search_trials_are_not_shown(study, capsys):
    assignment = study.next_assignment()
    record = study.finish(assignment, State.COMPLETE, Values(0.7, 1, 1), {})
    RunConsole(Terminal()).on_trial_end(record, None)
    assert capsys.readouterr().out == ""


def test_a_hundred_epochs_are_written_as_people_write_them(study, capsys):
    terminal = RunConsole(Terminal())
    with searching(terminal, study):
        assignment = study.next_assignment()
        record = study.finish(assignment, State.PRUNED, None, {"epochs": 150.0, "reason": "x"})
        terminal.on_trial_end(record, None)
    assert "after 150 epochs" in capsys.readouterr().out


def summary(by, saved, share, n=0, k=0, spent=1000.0):
    return PruningSummary(by, spent, saved, FalsePrunes(share, n, k), 9)


def test_what_pruning_did_takes_three_lines():
    lines = pruning_lines(
        summary({"front": 31, "limit": 4}, Estimate(1000, 800, 1300), Estimate(1 / 17, 0.01, 0.21), 17, 1)
    )
    assert lines == [
        "Pruned: 31 by front, 4 by limit.",
        "  Training saved: 17 min (13 min to 22 min), 50% of that without pruning.",
        "  Wrongly pruned: 6% (1% to 21%): 1 of 17 spared trials made the front.",
    ]


def test_what_is_not_known_is_said_with_its_reason():
    lines = pruning_lines(summary({"median": 1}, Unknown("fewer than 10 trials are complete"), Unknown("nobody knows")))
    assert lines == [
        "Pruned: 1 by median.",
        "  Training saved: not known, fewer than 10 trials are complete.",
        "  Wrongly pruned: not known, nobody knows.",
    ]


@pytest.mark.parametrize(("by", "text"), [({}, "no trial"), ({"limit": 2}, "2 by limit")])
def test_where_no_pruner_acted_there_is_nothing_to_be_saved(by, text):
    assert pruning_lines(summary(by, Estimate(0, 0, 0), Unknown("x"))) == [f"Pruned: {text}."]


def test_a_spared_trial_alone_tells_what_the_pruner_would_have_done():
    lines = pruning_lines(summary({}, Estimate(0, 0, 0), Estimate(0, 0, 0.8), 1, 0))
    assert lines == [
        "Pruned: no trial.",
        "  Wrongly pruned: 0% (0% to 80%): 0 of 1 spared trial made the front.",
    ]


def test_trials_without_a_second_give_a_share_all_the_same():
    """Where the time objective is an estimate of 0 s, as on a device that nobody measured."""
    lines = pruning_lines(summary({"front": 1}, Estimate(0, 0, 0), Unknown("x"), spent=0.0))
    assert lines[1] == "  Training saved: 0.0 s (0.0 s to 0.0 s), 0% of that without pruning."


def test_lines_about_pruning_fit_eighty_columns():
    known = summary(
        {"successive_halving": 1234, "limit": 1234},
        Estimate(3.5e6, 3.4e6, 3.6e6),
        Estimate(0.5, 0.4, 0.6),
        1234,
        1000,
        spent=1e5,
    )
    unknown = summary(
        {"median": 1},
        Unknown("fewer than 10 complete trials passed epoch 100"),
        Unknown("the pruner would have ended no spared trial"),
    )
    assert max(len(line) for each in (known, unknown) for line in pruning_lines(each)) <= 80


@pytest.mark.parametrize("n_trials", [40])
def test_pruning_and_hypervolume_are_shown_after_the_search(study):
    for n in range(4):
        attributes = {"epochs": 3.0, "seconds": 30.0}
        study.finish(study.next_assignment(), State.COMPLETE, Values(0.7 + n / 1000, 30.0, 0.5), attributes)
    assert search_lines(study.records(), study.plan) == [
        "Pruned: no trial.",
        "Hypervolume: 90% of it after 1 trial and 30 s of training.",
    ]
    study.finish(study.next_assignment(), State.COMPLETE, Values(0.9, 20.0, 0.4), {"seconds": 20.0})
    line = search_lines(study.records(), study.plan)[-1]
    assert line == "Hypervolume: 90% of it after 5 trials and 2 min of training."


def test_without_a_front_there_is_no_hypervolume(study):
    study.finish(study.next_assignment(), State.COMPLETE, Values(0.5, 30.0, 0.5), {})
    assert search_lines(study.records(), study.plan) == ["Pruned: no trial."]


def test_figures_are_written_as_people_write_them():
    assert [counted(n, "trial") for n in (0, 1, 2, 1200)] == ["0 trials", "1 trial", "2 trials", "1,200 trials"]
    assert [epochs_text(n) for n in (0, 0.254, 1.0, 1.004, 2.5, 150)] == [
        "0 epochs",
        "0.25 epochs",
        "1 epoch",
        "1 epoch",
        "2.5 epochs",
        "150 epochs",
    ]
    assert [seconds_text(s) for s in (4.21, 100.4, 150, 27000)] == ["4.2 s", "100 s", "2 min", "7.5 h"]


def test_reasons_go_by_how_often():
    assert pruned_text({"limit": 2, "front": 31, "median": 2}) == "31 by front, 2 by limit, 2 by median"
    assert pruned_text({}) == "no trial"


def show_pruned(study, reasons):
    study.plan = replace(study.plan, n_trials=20)
    terminal = RunConsole(Terminal())
    with searching(terminal, study):
        for reason in reasons:
            attributes = {"epochs": 0.01, "reason": reason}
            terminal.on_trial_end(study.finish(study.next_assignment(), State.PRUNED, None, attributes), None)


def test_a_search_that_only_meets_its_limit_is_told_of_once(study, capsys):
    show_pruned(study, 7 * ["limit: projected 900 s exceed limits.trial_seconds=300"])
    out = capsys.readouterr().out
    assert out.count("the first 5 trials were all slower than limits.trial_seconds") == 1
    assert "--recalibrate" in out


def test_one_trial_within_the_limit_is_enough_to_say_nothing(study, capsys):
    show_pruned(study, ["median: below", *(5 * ["limit: too dear"])])
    assert "slower than limits.trial_seconds" not in capsys.readouterr().out


# ---------------------------------------------------------------------- a terminal that goes, or lacks characters


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="the system has no pseudoterminals")
@pytest.mark.parametrize("lost", ["terminal", "reader", "closed"])
def test_what_nobody_can_read_any_more_ends_nothing_and_is_in_the_log(monkeypatch, caplog, lost):
    """A real terminal that is closed (EIO), a real pipe without a reader (EPIPE), a stream that is closed."""
    reading, writing = os.openpty() if lost == "terminal" else os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        terminal = Terminal()
        terminal.say("before")
        os.close(reading)
        if lost == "closed":
            stream.close()
        with caplog.at_level("INFO", "cnn_lstm_hyperopt"):
            terminal.say("after")
            table = Table("a")
            table.add_row("in a table")
            terminal.table(table)
            terminal.warn("at the end")
    monkeypatch.undo()
    for text in ("after", "in a table", "at the end"):
        assert text in caplog.text
    assert caplog.text.count("the output is closed") == 1


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "front 3 - best -> 0.61 ... ?"),
        ("cp1252", "front 3 · best -> 0.61 … ?"),
        ("latin-1", "front 3 · best -> 0.61 ... ?"),
    ],
)
def test_characters_that_the_encoding_lacks_are_replaced(monkeypatch, caplog, encoding, shown):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    terminal = Terminal()
    with caplog.at_level("INFO", "cnn_lstm_hyperopt"):
        terminal.say("front 3 · best → 0.61 … λ")
        table = Table("a")
        table.add_row("λ")
        terminal.table(table)
    text = written.getvalue().decode(encoding)
    monkeypatch.undo()
    assert text.splitlines()[0] == shown
    assert "front 3 · best → 0.61 … λ" in caplog.text


def test_the_command_line_writes_plain_characters_where_the_encoding_lacks_them():
    script = "from cnn_lstm_hyperopt import cli; cli.main(['--version']); print('2 × 3 → 0.61 … λ')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == b"2 x 3 -> 0.61 ... ?"
