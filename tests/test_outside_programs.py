"""A study that other programs touch, through every command: run, resume, status, report, track, narrow. Real processes."""

import json
import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from optuna.trial import TrialState, create_trial

from builders.studies import SKILL, searched
from cnn_lstm_hyperopt import cli
from cnn_lstm_hyperopt.reporting.dashboard_notes import dashboard_notes
from cnn_lstm_hyperopt.reporting.status import status_facts
from cnn_lstm_hyperopt.search import StudyStorage
from waiting import wait_for

Start = Callable[..., "subprocess.Popen[str]"]
FORGED = [0.98765, 0.001, 0.001]
GIVE_UP = 300  # seconds; only a broken run ever waits that long


def outside(save_dir: Path) -> optuna.Study:
    """The study as another program opens it."""
    return optuna.load_study(study_name=None, storage=f"sqlite:///{save_dir / 'study.db'}")


def touch(save_dir: Path) -> list[int]:
    """Adds a RUNNING, a COMPLETE, a FAIL, a PRUNED and a WAITING trial; returns their numbers."""
    study = outside(save_dir)
    asked = [study.ask() for _ in range(4)]
    study.tell(asked[1], FORGED)
    study.tell(asked[2], state=TrialState.FAIL)
    study.tell(asked[3], state=TrialState.PRUNED)
    study.enqueue_trial({"cnn.dropout": 0.1}, user_attrs={"enqueued": "by another program"})
    waiting = next(trial for trial in study.trials if "enqueued" in trial.user_attrs)
    return [*(trial.number for trial in asked), waiting.number]


def rows(save_dir: Path, query: str) -> list[Any]:
    """What is stored, read without disturbing a run; nothing before there is a study."""
    if not (save_dir / "study.db").is_file():
        return []
    connection = sqlite3.connect(f"file:{save_dir / 'study.db'}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # the tables are being made
        return []
    finally:
        connection.close()


# ---------------------------------------------------------------------- commands that read


@pytest.fixture(scope="module")
def touched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A study of 40 trials with five foreign ones, and the numbers of these."""
    folder = searched(tmp_path_factory.mktemp("touched"), 40)
    return folder, touch(folder)


def run_command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[str]:
    """Its lines; the command succeeds."""
    code = cli.main([str(each) for each in arguments])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out.splitlines()


def test_status_counts_our_trials_and_names_the_others(
    touched: tuple[Path, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, foreign = touched
    lines = run_command(capsys, "status", "--save-dir", folder)
    assert "40 of 40 trials finished" in lines[0]
    names = ", ".join(map(str, foreign[:-1]))
    assert lines[2] == (
        f"Warning: trials {names} and {foreign[-1]} of the study were added by another program (RUNNING, COMPLETE, FAIL,"
        " PRUNED, WAITING) and are skipped: only trials of this program count"
    )
    facts = status_facts(folder)
    assert facts["skipped_trials"] == foreign
    assert facts["n_trials_completed"] == 40
    assert facts["counts"]["RUNNING"] == facts["counts"]["WAITING"] == 0
    assert not set(facts["front"]) & set(foreign)


def test_the_report_is_of_our_trials_and_names_the_others(
    touched: tuple[Path, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, foreign = touched
    lines = run_command(capsys, "report", "--save-dir", folder)
    assert lines[0].startswith(f"Warning: trials {foreign[0]}, ")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "were added by another program" in page
    assert "0.98765" not in page


def test_narrow_looks_at_our_trials_and_names_the_others(
    touched: tuple[Path, list[int]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder, foreign = touched
    lines = run_command(capsys, "narrow", "--save-dir", folder, "--output", tmp_path / "narrowed.yaml")
    assert lines[0].startswith(f"Warning: trials {foreign[0]}, ")
    assert lines[2].split() == ["parameter", "trials", "old", "range", "new", "range"]


def test_tracking_is_of_our_trials_and_names_the_others(
    touched: tuple[Path, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, foreign = touched
    (folder / "data.json").write_text("{}", encoding="utf-8")
    lines = run_command(capsys, "track", "--save-dir", folder)
    assert lines[0].startswith(f"Warning: trials {foreign[0]}, ")
    assert lines[1].startswith("MLflow has all 40 trials in its experiment ")


def test_the_note_for_optuna_dashboard_names_the_others(touched: tuple[Path, list[int]]) -> None:
    folder, foreign = touched
    storage = StudyStorage(folder / "study.db")
    storage.records()
    note = dashboard_notes(SKILL, None, [], skipped=storage.skipped)[None]
    storage.close()
    named = f"{', '.join(map(str, foreign[:-1]))} and {foreign[-1]}"
    assert f"- Skipped, since other programs added or changed them: trials {named}." in note


# ---------------------------------------------------------------------- runs


def config_of(tiny: dict[str, Any], tmp_path: Path, **study: Any) -> tuple[Path, Path]:
    """A file of settings, and the directory of its run."""
    tiny["study"] = {**tiny["study"], **study}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(tiny), encoding="utf-8")
    return path, Path(tiny["save_dir"])


def started(save_dir: Path, process: "subprocess.Popen[str]") -> None:
    """Waits for two finished trials."""
    finished = "SELECT number FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
    wait_for(lambda: len(rows(save_dir, finished)) >= 2, process)


def attack_a_running_trial(save_dir: Path, process: "subprocess.Popen[str]", how: Callable[[Path, int], None]) -> int:
    """Change a trial of ours while it runs; return its number.

    A trial that ends before the attack, or at the same moment with our seal, is tried again with the next.
    """
    running = (
        "SELECT trial_id, number FROM trials JOIN trial_system_attributes USING (trial_id)"
        " WHERE state = 'RUNNING' AND key = 'cnn_lstm_hyperopt:mark'"
    )
    while True:
        trial_id, number = wait_for(lambda: rows(save_dir, running), process)[0]
        try:
            how(save_dir, trial_id)
        except optuna.exceptions.UpdateFinishedTrialError:
            continue
        except ValueError:  # told of a trial that has ended
            continue
        sealed = "SELECT number FROM trials JOIN trial_system_attributes USING (trial_id) WHERE key = 'sha256'"
        if (number,) not in rows(save_dir, sealed):
            return int(number)


def tell_forged(save_dir: Path, trial_id: int) -> None:
    outside(save_dir)._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, FORGED)


def tell_failed(save_dir: Path, trial_id: int) -> None:
    outside(save_dir)._storage.set_trial_state_values(trial_id, TrialState.FAIL)


def delete_an_attribute(save_dir: Path, trial_id: int) -> None:
    connection = sqlite3.connect(save_dir / "study.db", timeout=30)
    connection.execute(
        "DELETE FROM trial_user_attributes WHERE key = 'size_mb' AND trial_id ="
        " (SELECT trial_id FROM trials WHERE trial_id = ? AND state = 'RUNNING')",
        (trial_id,),
    )
    changed = connection.total_changes
    connection.commit()
    connection.close()
    if not changed:
        raise ValueError("it has ended")


@pytest.mark.slow
@pytest.mark.mostly_thorough(2)
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("how", [tell_forged, tell_failed, delete_an_attribute])
def test_a_run_gets_all_its_trials_whatever_other_programs_do(
    tiny: dict[str, Any],
    tmp_path: Path,
    start_cli: Start,
    workers: str,
    how: Callable[[Path, int], None],
) -> None:
    total = 12
    config, save_dir = config_of(tiny, tmp_path, n_trials=total)
    process = start_cli("run", "--config", config, "--workers", workers)
    started(save_dir, process)
    foreign = touch(save_dir)
    attacked = attack_a_running_trial(save_dir, process, how)
    out, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode in (0, 1), out + err
    results = json.loads((save_dir / "results.json").read_text(encoding="utf-8"))
    assert process.returncode == (0 if results["best_trials"] else 1), err
    assert "a fault of this program" not in err
    assert results["n_trials_completed"] == total
    chosen = {trial["trial_number"] for trial in results["best_trials"]}
    assert not chosen & {*foreign, attacked}
    assert len(re.findall(rf"Warning: trial {attacked} is not used: another program", out)) == 1
    assert out.count("added by another program") >= 1
    states = {trial.number: trial.state for trial in outside(save_dir).trials}
    assert [states[number].name for number in foreign] == ["RUNNING", "COMPLETE", "FAIL", "PRUNED", "WAITING"]
    table = (save_dir / "trials.csv").read_text(encoding="utf-8").splitlines()
    assert not {int(row.split(",")[0]) for row in table[1:]} & {*foreign, attacked}

    more = start_cli("resume", "--save-dir", save_dir, "--n-trials", str(total + 2))
    _, err = more.communicate(timeout=GIVE_UP)
    assert more.returncode in (0, 1), err
    results = json.loads((save_dir / "results.json").read_text(encoding="utf-8"))
    assert results["n_trials_completed"] == total + 2


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_in_a_study_with_foreign_trials_ends_with_130_and_results(
    tiny: dict[str, Any], tmp_path: Path, start_cli: Start, workers: str
) -> None:
    config, save_dir = config_of(tiny, tmp_path, n_trials=500)
    process = start_cli("run", "--config", config, "--workers", workers)
    started(save_dir, process)
    touch(save_dir)
    attack_a_running_trial(save_dir, process, tell_forged)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    results = json.loads((save_dir / "results.json").read_text(encoding="utf-8"))
    ours = rows(
        save_dir, "SELECT number FROM trials JOIN trial_system_attributes USING (trial_id) WHERE key = 'sha256'"
    )
    assert results["n_trials_completed"] >= 2
    assert {trial["trial_number"] for trial in results["best_trials"]} <= {number for (number,) in ours}


@pytest.mark.slow
def test_a_refused_database_stays_as_it_is_under_every_command(tmp_path: Path, start_cli: Start) -> None:
    path = tmp_path / "study.db"
    theirs = optuna.create_study(study_name="theirs", storage=f"sqlite:///{path}", directions=["maximize"])
    theirs.add_trial(create_trial(value=1.0))
    before = path.read_bytes()
    commands = (["run", "--n-trials", "1"], ["status"], ["report"], ["narrow"])
    for command, *more in commands:
        process = start_cli(command, "--save-dir", tmp_path, *more)
        _, err = process.communicate(timeout=GIVE_UP)
        assert process.returncode == 2
        assert "did not make" in err
        assert len(err.splitlines()) == 1
        assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["study.db"]
