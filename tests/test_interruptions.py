"""A run that is killed, interrupted or out of time, and what is left of it. Real processes, real signals."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from waiting import wait_for

Start = Callable[..., "subprocess.Popen[str]"]
GIVE_UP = 120  # seconds; only a broken run ever waits that long


def trials_of(save_dir: Path) -> list[FrozenTrial]:
    """The stored trials, read by Optuna itself."""
    url = f"sqlite:///{save_dir / 'study.db'}"
    return optuna.load_study(study_name=optuna.get_all_study_names(url)[0], storage=url).trials


def finished_in(save_dir: Path) -> int:
    """COMPLETE and PRUNED trials, read without disturbing the run; 0 before there is a study."""
    if not (save_dir / "study.db").is_file():
        return 0
    connection = sqlite3.connect(f"file:{save_dir / 'study.db'}?mode=ro", uri=True, timeout=10)
    try:
        row = connection.execute("SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')").fetchone()
    except sqlite3.OperationalError:  # the tables are being made
        return 0
    finally:
        connection.close()
    return int(row[0])


def long_run(tiny: dict[str, Any], tmp_path: Path, **study: Any) -> Path:
    """A configuration whose run goes on until it is stopped."""
    tiny["study"] = {"n_trials": 500, **study}
    path = tmp_path / "long.yaml"
    path.write_text(yaml.safe_dump(tiny), encoding="utf-8")
    return path


@pytest.mark.slow
def test_killed_run_is_resumed_to_exactly_n_trials(tiny: dict[str, Any], tmp_path: Path, start_cli: Start) -> None:
    config, save_dir = long_run(tiny, tmp_path), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config)
    wait_for(lambda: finished_in(save_dir) >= 3, process)
    process.kill()
    process.communicate()
    done = finished_in(save_dir)

    total = done + 4
    resumed = start_cli("resume", "--save-dir", save_dir, "--n-trials", str(total))
    out, err = resumed.communicate(timeout=GIVE_UP)
    results = json.loads((save_dir / "results.json").read_text())
    assert resumed.returncode == (0 if results["best_trials"] else 1), err

    trials = trials_of(save_dir)
    assert [trial.number for trial in trials] == list(range(total))  # one that was cut off has kept its number
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    assert len({json.dumps(trial.params, sort_keys=True) for trial in trials}) == total
    assert not [trial.number for trial in trials if "retry_of" in trial.user_attrs]
    assert f"{done} of {total} trials done" in out
    assert json.loads((save_dir / "results.json").read_text())["n_trials_completed"] == total


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize(("sent", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_signal_ends_with_130_and_results_and_the_trial_goes_on_under_its_number(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start, sent: signal.Signals, name: str
) -> None:
    config, save_dir = long_run(tiny, tmp_path), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "1")
    wait_for(lambda: finished_in(save_dir) >= 2, process)
    process.send_signal(sent)
    out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert f"resume --save-dir {save_dir}" in err
    assert f"Search ended by {name}" in out
    results = json.loads((save_dir / "results.json").read_text())
    before = trials_of(save_dir)
    states = Counter(trial.state for trial in before)
    done = states[TrialState.COMPLETE] + states[TrialState.PRUNED]
    assert results["n_trials_completed"] == done >= 2
    assert results["counts"] == {state.name: states[state] for state in TrialState}
    assert states[TrialState.WAITING] <= 1
    assert done + states[TrialState.WAITING] == len(before)

    total = len(before) + 1
    resumed = start_cli("resume", "--save-dir", save_dir, "--n-trials", str(total))
    _, err = resumed.communicate(timeout=GIVE_UP)
    assert resumed.returncode in (0, 1), err
    after = trials_of(save_dir)
    assert [trial.number for trial in after] == list(range(total))
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in after)
    assert [trial.params for trial in after[: len(before)]] == [trial.params for trial in before]


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once_with_the_command_that_goes_on(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start, sent: signal.Signals
) -> None:
    """Both come while trials run; the first may have ended the run already when the second does."""
    config, save_dir = long_run(tiny, tmp_path), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "1")
    wait_for(lambda: finished_in(save_dir) >= 2, process)
    process.send_signal(sent)
    process.send_signal(sent)
    _, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1].endswith(f"go on with: cnn-lstm-hyperopt resume --save-dir {save_dir}")


@pytest.mark.slow
def test_timeout_ends_the_search_and_writes_results(tiny: dict[str, Any], tmp_path: Path, start_cli: Start) -> None:
    config, save_dir = long_run(tiny, tmp_path), Path(tiny["save_dir"])
    process = start_cli(
        "run", "--config", config, "--timeout", "12", "--workers", "1", "--retrain-best", "--top-k", "1"
    )
    out, err = process.communicate(timeout=GIVE_UP)
    results = json.loads((save_dir / "results.json").read_text())
    assert process.returncode == (0 if results["best_trials"] else 1), err
    assert "Search ended by timeout" in out
    assert 0 < results["n_trials_completed"] < 500
    assert len(results["retrained_models"]) == (1 if results["best_trials"] else 0)


def fresh_scores_in(save_dir: Path) -> dict[int, list[list[float]]]:
    """Score and log loss of each training of a confirmation so far, by trial; read by Optuna itself."""
    if finished_in(save_dir) == 0:
        return {}
    url = f"sqlite:///{save_dir / 'study.db'}"
    stored = optuna.load_study(study_name=optuna.get_all_study_names(url)[0], storage=url).user_attrs
    return {int(number): scores for number, scores in stored.get("confirmation_readings", {}).items()}


@pytest.mark.slow
@pytest.mark.mostly_thorough(2)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_confirmation_is_gone_on_with_and_the_test_opened_once(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start, sent: signal.Signals
) -> None:
    """The first run would confirm for minutes; the second asks for no more than is nearly there."""
    save_dir = Path(tiny["save_dir"])
    tiny["study"] = {"n_trials": 10, "portfolio": False}
    paths = []
    for seeds in (100, 2):
        tiny["retrain"] = {"enabled": True, "top_k": 1, "full_epochs": 2, "confirm_seeds": seeds, "seeds": 1}
        paths.append(tmp_path / f"{seeds}.yaml")
        paths[-1].write_text(yaml.safe_dump(tiny), encoding="utf-8")
    process = start_cli("run", "--config", paths[0], "--workers", "1")
    wait_for(lambda: bool(fresh_scores_in(save_dir)), process)
    process.send_signal(sent)
    out, err = process.communicate(timeout=GIVE_UP)
    name = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}.get(sent)
    assert process.returncode == (130 if name else -sent)
    assert "Traceback" not in err
    assert (f"Confirmation ended by {name}; the test period stays closed." in out) == (name is not None)
    before = fresh_scores_in(save_dir)
    results = json.loads((save_dir / "results.json").read_text())  # written when the search was over
    assert (results["test_openings"], results["retrained_models"]) == ([], [])

    again = start_cli("run", "--config", paths[1], "--resume", "--workers", "1")
    out, err = again.communicate(timeout=GIVE_UP)
    assert again.returncode == 0, err
    results = json.loads((save_dir / "results.json").read_text())
    rows = {row["trial_number"]: row for row in results["confirmation"]["candidates"]}
    assert results["confirmation"]["seeds"] == 2
    assert len(results["test_openings"]) == len(results["retrained_models"]) == 1
    assert results["verdict"]["sentence"] in out
    for number, scores in before.items():
        known = min(2, len(scores))
        assert rows[number]["scores"][:known] == [score for score, _ in scores[:known]]
        after = fresh_scores_in(save_dir)[number]
        assert after[: len(scores)] == scores
        assert len(after) == max(2, len(scores))


def processes_of(save_dir: Path) -> list[str]:
    """Command lines of living processes that name the directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(save_dir) in command:
                found.append(command)
    return found


@pytest.mark.slow
def test_workers_die_with_their_killed_parent(tiny: dict[str, Any], tmp_path: Path, start_cli: Start) -> None:
    config, save_dir = long_run(tiny, tmp_path), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "2")
    wait_for(lambda: finished_in(save_dir) >= 2, process)
    assert len([line for line in processes_of(save_dir) if "cnn_lstm_hyperopt.execution.worker" in line]) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + GIVE_UP
    while processes_of(save_dir):
        assert time.monotonic() < deadline, processes_of(save_dir)
        time.sleep(0.05)


@pytest.mark.slow
def test_two_workers_run_exactly_n_trials_and_none_twice(
    tiny_file: Path, tiny: dict[str, Any], start_cli: Start
) -> None:
    save_dir = Path(tiny["save_dir"])
    process = start_cli("run", "--config", tiny_file, "--n-trials", "9", "--workers", "2")
    out, err = process.communicate(timeout=GIVE_UP)
    results = json.loads((save_dir / "results.json").read_text())
    assert process.returncode == (0 if results["best_trials"] else 1), err
    trials = trials_of(save_dir)
    assert len(trials) == 9
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    assert len({json.dumps(trial.params, sort_keys=True) for trial in trials}) == 9
    assert {trial.user_attrs["worker"] for trial in trials} == {1, 2}
    assert "2 workers, one thread each" in out
    assert out.count("[9/9]") == 1
    assert {path.name for path in (save_dir / "validation").iterdir()} == {f"trial_{n:05d}.parquet" for n in range(9)}
    assert not [path.name for path in save_dir.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_two_workers_with_results(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start, sent: signal.Signals
) -> None:
    config, save_dir = long_run(tiny, tmp_path), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "2")
    wait_for(lambda: finished_in(save_dir) >= 2, process)
    process.send_signal(sent)
    _, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 130
    assert "Traceback" not in err
    states = Counter(trial.state for trial in trials_of(save_dir))
    assert states[TrialState.RUNNING] == states[TrialState.FAIL] == 0
    results = json.loads((save_dir / "results.json").read_text())
    assert results["n_trials_completed"] == states[TrialState.COMPLETE] + states[TrialState.PRUNED]
    assert processes_of(save_dir) == []


@pytest.mark.slow
@pytest.mark.thorough
def test_killed_worker_is_replaced_and_its_trial_run_again(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start
) -> None:
    config, save_dir = long_run(tiny, tmp_path, n_trials=12), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "2")
    wait_for(lambda: finished_in(save_dir) >= 2, process)
    victim = next(
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        and b"cnn_lstm_hyperopt.execution.worker" in (entry / "cmdline").read_bytes()
        and str(save_dir).encode() in (entry / "cmdline").read_bytes()
    )
    os.kill(victim, signal.SIGKILL)
    _, err = process.communicate(timeout=GIVE_UP)
    results = json.loads((save_dir / "results.json").read_text())
    assert process.returncode == (0 if results["best_trials"] else 1), err
    trials = trials_of(save_dir)
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == 12
    assert states[TrialState.RUNNING] == 0
    for trial in trials:
        if trial.state is TrialState.FAIL:
            assert "died (signal 9" in trial.user_attrs["reason"]
            assert [t.user_attrs.get("retry_of") for t in trials].count(trial.number) == 1


@pytest.mark.slow
def test_a_second_run_in_the_same_directory_is_refused(tiny: dict[str, Any], tmp_path: Path, start_cli: Start) -> None:
    config, save_dir = long_run(tiny, tmp_path), Path(tiny["save_dir"])
    process = start_cli("run", "--config", config, "--workers", "1")
    wait_for(lambda: finished_in(save_dir) >= 1, process)
    second = start_cli("resume", "--save-dir", save_dir)
    _, err = second.communicate(timeout=GIVE_UP)
    assert second.returncode == 2
    assert "another run is at work" in err
    status, _ = start_cli("status", "--save-dir", save_dir).communicate(timeout=GIVE_UP)
    assert re.search(r"A run is at work on it now(: trial \d+ at epoch [\d.]+( · [\d,]+ MB)?)?\.", status)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GIVE_UP)
    assert process.returncode == 130


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("delay", [0.05, 0.0, 0.3])
def test_a_run_killed_at_its_very_start_leaves_a_directory_that_can_be_used(
    tiny_file: Path, tiny: dict[str, Any], start_cli: Start, delay: float
) -> None:
    save_dir = Path(tiny["save_dir"])
    process = start_cli("run", "--config", tiny_file, "--n-trials", "1", "--workers", "1")
    wait_for(lambda: save_dir.is_dir() and any(save_dir.iterdir()), process)
    time.sleep(delay)
    process.kill()
    process.communicate()
    there = (save_dir / "study.db").is_file()
    arguments = ["resume", "--save-dir", save_dir] if there else ["run", "--config", tiny_file, "--n-trials", "1"]
    again = start_cli(*arguments)
    again.communicate(timeout=GIVE_UP)
    assert again.returncode in (0, 1)
    assert finished_in(save_dir) == 1


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("flag", ["--target", "--seed"])
def test_resume_with_other_data_or_seed_is_refused_with_the_difference(
    tiny_file: Path, tiny: dict[str, Any], start_cli: Start, flag: str
) -> None:
    first = start_cli("run", "--config", tiny_file, "--n-trials", "1", "--workers", "1")
    first.communicate(timeout=GIVE_UP)
    value = "direction" if flag == "--target" else "7"
    second = start_cli("run", "--config", tiny_file, "--resume", flag, value)
    _, err = second.communicate(timeout=GIVE_UP)
    assert second.returncode == 2
    assert ("data.target: volatility → direction" if flag == "--target" else "study.seed: 0 → 7") in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_existing_directory_needs_resume(tiny_file: Path, tiny: dict[str, Any], start_cli: Start) -> None:
    start_cli("run", "--config", tiny_file, "--n-trials", "1").communicate(timeout=GIVE_UP)
    again = start_cli("run", "--config", tiny_file)
    _, err = again.communicate(timeout=GIVE_UP)
    assert again.returncode == 2
    assert "already holds the study" in err
    assert "1 finished trials" in err
    assert "--resume" in err
    assert "--save-dir" in err
