"""A study that other programs change, through every command. Real processes."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from builders.runs import Process, ended, finished_in, require_success, results_of, rows, run, start, wait_for
from builders.studies import SKILL, searched
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.reporting.dashboard_notes import dashboard_notes
from cnn_lstm_hyperopt.reporting.status import status_facts
from cnn_lstm_hyperopt.search import StudyStorage

FORGED = [0.98765, 0.001, 0.001]
SEALED = "SELECT number FROM trials JOIN trial_system_attributes USING (trial_id) WHERE key = 'sha256'"
STATES = ["RUNNING", "COMPLETE", "FAIL", "PRUNED", "WAITING"]


def outside(save_dir: Path) -> optuna.Study:
    """The study as another program opens it."""
    return optuna.load_study(study_name=None, storage=f"sqlite:///{save_dir / 'study.db'}")


def touch(save_dir: Path) -> list[int]:
    """Add a trial of each of :data:`STATES`; return their numbers."""
    study = outside(save_dir)
    asked = [study.ask() for _ in range(4)]
    study.tell(asked[1], FORGED)
    study.tell(asked[2], state=TrialState.FAIL)
    study.tell(asked[3], state=TrialState.PRUNED)
    study.enqueue_trial({"cnn.dropout": 0.1}, user_attrs={"enqueued": "by another program"})
    waiting = next(trial for trial in study.trials if "enqueued" in trial.user_attrs)
    return [*(trial.number for trial in asked), waiting.number]


@pytest.fixture(scope="module")
def touched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A study of 40 trials with five foreign ones, and the numbers of these."""
    folder = searched(tmp_path_factory.mktemp("touched"), 40)
    (folder / "data.json").write_text("{}", encoding="utf-8")
    return folder, touch(folder)


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("command", ["status", "report", "narrow", pytest.param("track", marks=pytest.mark.slow)])
def test_each_command_skips_foreign_trials_with_one_warning(
    touched: tuple[Path, list[int]], capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    folder, foreign = touched
    more = ["--output", str(tmp_path / "narrowed.yaml")] if command == "narrow" else []
    assert main([command, "--save-dir", str(folder), *more]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    [warning] = [line for line in out.splitlines() if line.startswith("Warning: ")]
    assert all(str(number) in warning for number in foreign)
    if command == "report":
        assert str(FORGED[0]) not in (folder / "report.html").read_text(encoding="utf-8")


def test_facts_and_notes_leave_foreign_trials_out(touched: tuple[Path, list[int]]) -> None:
    folder, foreign = touched
    facts = status_facts(folder)
    assert facts["skipped_trials"] == foreign
    assert facts["n_trials_completed"] == 40
    assert facts["counts"]["RUNNING"] == facts["counts"]["WAITING"] == 0
    assert not set(facts["front"]) & set(foreign)
    with closing(StudyStorage(folder / "study.db")) as storage:
        storage.records()
        note = dashboard_notes(SKILL, None, [], skipped=storage.skipped)[None]
    assert all(str(number) in note for number in foreign)


# ---------------------------------------------------------------------- runs


def attack_a_running_trial(save_dir: Path, process: Process, how: Callable[[Path, int], None]) -> int:
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
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):  # it has ended
            continue
        if (number,) not in rows(save_dir, SEALED):
            return int(number)


def complete(save_dir: Path, trial_id: int) -> None:
    outside(save_dir)._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, FORGED)


def fail(save_dir: Path, trial_id: int) -> None:
    outside(save_dir)._storage.set_trial_state_values(trial_id, TrialState.FAIL)


def delete_an_attribute(save_dir: Path, trial_id: int) -> None:
    delete = (
        "DELETE FROM trial_user_attributes WHERE key = 'size_mb' AND trial_id ="
        " (SELECT trial_id FROM trials WHERE trial_id = ? AND state = 'RUNNING')"
    )
    with closing(sqlite3.connect(save_dir / "study.db", timeout=30)) as db:
        db.execute(delete, (trial_id,))
        changed = db.total_changes
        db.commit()
    if not changed:
        raise ValueError("it has ended")


def started(path: Path, save_dir: Path, workers: str) -> Process:
    """A run with two finished trials."""
    process = start("run", "--config", path, "--workers", workers)
    wait_for(lambda: finished_in(save_dir) >= 2, process)
    return process


@pytest.mark.slow
@pytest.mark.mostly_thorough(2)
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("how", [complete, fail, delete_an_attribute])
def test_a_run_gets_all_its_trials_though_other_programs_change_some(
    config: Callable[..., Path], save_dir: Path, workers: str, how: Callable[[Path, int], None]
) -> None:
    process = started(config(12), save_dir, workers)
    foreign = touch(save_dir)
    attacked = attack_a_running_trial(save_dir, process, how)
    code, out, err = ended(process)
    require_success(code, err, save_dir)
    results = results_of(save_dir)
    assert results["n_trials_completed"] == 12
    not_ours = {*foreign, attacked}
    assert not {trial["trial_number"] for trial in results["best_trials"]} & not_ours
    assert len([line for line in out.splitlines() if f"Warning: trial {attacked} " in line]) == 1
    states = {trial.number: trial.state.name for trial in outside(save_dir).trials}
    assert [states[number] for number in foreign] == STATES
    table = (save_dir / "trials.csv").read_text(encoding="utf-8").splitlines()
    assert not {int(row.split(",")[0]) for row in table[1:]} & not_ours
    code, _, err = run("resume", "--save-dir", save_dir, "--n-trials", "14")
    assert code in (0, 1), err
    assert results_of(save_dir)["n_trials_completed"] == 14
