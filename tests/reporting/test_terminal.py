"""The terminal: plain lines in a pipe, everything in the log, a bar only on a terminal."""

import logging
from dataclasses import replace

import pytest

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings, parse_space
from cnn_lstm_hyperopt.config.settings import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.reporting.terminal import Terminal
from cnn_lstm_hyperopt.search import Cost, Limits, SkillGate, State, Study, StudyPlan, StudyStorage, Values


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
        gate=SkillGate(0.5, 100),
        cost=lambda params: Cost(10.0, 0.5),
    )
    yield Study(storage, plan)
    storage.close()


def run_trials(terminal, study):
    """One complete, one pruned, one failed, one complete trial, as execution tells them."""
    ends = [
        (State.COMPLETE, Values(0.7, 2.0, 0.5), {"epochs": 3.0}),
        (State.PRUNED, None, {"epochs": 1.0, "reason": "median: why [not a tag]"}),
        (State.FAIL, None, {"reason": "RuntimeError: boom"}),
        (State.COMPLETE, Values(0.65, 9.0, 0.5), {"epochs": 3.0}),
    ]
    with terminal.watch(study):
        for state, values, attributes in ends:
            assignment = study.next_assignment()
            terminal.on_trial_start(assignment)
            terminal.on_trial_report(assignment, ProgressReport(0.5, 1, 2))
            terminal.on_trial_report(assignment, ProgressReport(1, 1, 2, 0.6, 0.4))
            terminal.on_trial_end(study.finish(assignment, state, values, attributes), None)


def test_a_pipe_gets_one_plain_line_a_trial(study, capsys):
    run_trials(Terminal(), study)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\r" not in out
    lines = out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("[1/4] trial 0 complete: accuracy 0.7000, 2.0 s, 0.500 MB · joins the front")
    assert lines[1].startswith("[2/4] trial 1 pruned after 1 epochs: median: why [not a tag]")
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
        terminal.show_front([], study.plan.space)
        run_trials(terminal, study)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    text = caplog.text
    for part in ("hello", "careful", "Pareto front", "trial 0 starts", "[1/4] trial 0 complete", "boom"):
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
    Terminal().show_front(study.front(), study.plan.space)
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
    Terminal().describe_space(space)
    out = capsys.readouterr().out
    assert "cnn.dropout = 0.2" in out
    assert "cnn.num_filters {32, 64}" in out
    assert "training.learning_rate [0.0001, 0.001]" in out
    assert out.startswith(f"Search space: {len(space.searched())} parameters\n")
    assert "augmentation" not in out
    assert "lstm.hidden_dim" not in out


def test_the_whole_space_differs_in_nothing(capsys):
    space, _ = parse_space(None)
    Terminal().describe_space(space)
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
    Terminal().describe_data(dataset, SkillGate(dataset.chance, len(dataset.validation)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Data: synthetic, target direction, lookback 5")
    assert [line for line in lines if "attainable" in line] == expected


def test_of_real_bars_nobody_knows_the_best_attainable_accuracy(capsys):
    dataset = prepare_dataset(DataSettings(source="embedded", symbols=("AAPL",), lookback=5))
    Terminal().describe_data(dataset, SkillGate(dataset.chance, len(dataset.validation)))
    assert "attainable" not in capsys.readouterr().out


@pytest.mark.parametrize(("limit", "shown"), [(None, "0:00:30"), (100.0, "0:00:30"), (12.0, "0:00:12")])
def test_the_time_left_is_at_most_that_of_the_timeout(study, capsys, monkeypatch, limit, shown):
    """One of four trials took 10 s, so the others take 30."""
    now = [0.0]
    monkeypatch.setattr("cnn_lstm_hyperopt.reporting.terminal.time.monotonic", lambda: now[0])
    terminal = Terminal()
    with terminal.watch(study, seconds_left=lambda: limit):
        assignment = study.next_assignment()
        now[0] = 10.0
        terminal.on_trial_end(study.finish(assignment, State.COMPLETE, Values(0.7, 1, 1), {}), None)
    assert capsys.readouterr().out.rstrip().endswith(f"time left {shown}")


def test_a_terminal_gets_a_bar_and_only_what_joins_the_front_or_failed(study, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    run_trials(Terminal(), study)
    out = capsys.readouterr().out
    assert "trial 0 complete" in out
    assert "trial 2 failed" in out
    assert "trial 1 pruned" not in out


def test_outside_a_search_trials_are_not_shown(study, capsys):
    assignment = study.next_assignment()
    record = study.finish(assignment, State.COMPLETE, Values(0.7, 1, 1), {})
    Terminal().on_trial_end(record, None)
    assert capsys.readouterr().out == ""


def test_a_hundred_epochs_are_written_as_people_write_them(study, capsys):
    terminal = Terminal()
    with terminal.watch(study):
        assignment = study.next_assignment()
        record = study.finish(assignment, State.PRUNED, None, {"epochs": 150.0, "reason": "x"})
        terminal.on_trial_end(record, None)
    assert "after 150 epochs" in capsys.readouterr().out


def show_pruned(study, reasons):
    study.plan = replace(study.plan, n_trials=20)
    terminal = Terminal()
    with terminal.watch(study):
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
