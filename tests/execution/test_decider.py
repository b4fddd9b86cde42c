"""The process that has the study of a run on several machines, and its workers' connection to it. Nothing is trained."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from builders.records import execute
from builders.remote import CheapWorkload
from builders.runs import trials_of
from cnn_lstm_hyperopt.errors import RunError, TrialChangedError
from cnn_lstm_hyperopt.execution import CTRL_C, StopSignal, run_trials
from cnn_lstm_hyperopt.execution.remote.decider import REPLACED, Decider
from cnn_lstm_hyperopt.execution.remote.study_client import StudyClient
from cnn_lstm_hyperopt.execution.trial_loop import checkpoint_path
from cnn_lstm_hyperopt.execution.validation_files import validation_path
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import DIED, Assignment, NoTrial, State, StudyStorage, Values

VALUES = Values(0.7, 1.0, 0.1)


@pytest.fixture
def decider(tmp_path: Path) -> Iterator[Decider]:
    """Of a study of four trials."""
    StudyStorage(tmp_path / "study.db", create="cheap").close()
    decider = Decider(tmp_path, CheapWorkload(4), 45.0)
    yield decider
    decider.close()


@pytest.fixture
def join(decider: Decider, tmp_path: Path) -> Callable[..., StudyClient]:
    """``join(7)``: a worker's connection, with a folder of its own."""

    def joined(process: int, stop: StopSignal | None = None) -> StudyClient:
        folder = tmp_path / f"machine{process}"
        folder.mkdir()
        decider.join(process, process + 1)

        def ask(method: str, *arguments: Any) -> Any:
            return decider.call(process, method, *arguments)

        return StudyClient(CheapWorkload(4).plan(), ask, stop or StopSignal(), folder)

    return joined


def next_trial(client: StudyClient) -> Assignment:
    assignment = client.next_assignment()
    assert isinstance(assignment, Assignment)
    return assignment


def write_state(tmp_path: Path, process: int, number: int, content: bytes) -> None:
    path = checkpoint_path(tmp_path / f"machine{process}" / "checkpoints", number)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def test_workers_of_two_machines_share_the_trials_of_a_study(join, tmp_path):
    first, second = join(0), join(1)
    held = next_trial(first)
    ended = run_trials(
        second, CheapWorkload(4).runner(), stop=_EndsWhenIdle(second), callbacks=[], checkpoints=tmp_path / "none"
    )
    assert ended == "idle"  # the last trial is the other worker's
    first.finish(held, State.COMPLETE, VALUES, {"seconds": 1.0})
    assert first.next_assignment() is NoTrial.ENOUGH
    trials = trials_of(tmp_path)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert sorted(trial.user_attrs["worker"] for trial in trials) == [1, 2, 2, 2]


class _EndsWhenIdle(StopSignal):
    def __init__(self, study: StudyClient) -> None:
        super().__init__()
        self.study = study

    def wait(self, seconds: float) -> None:
        self.end("idle")


def test_a_trial_of_a_lost_machine_is_resumed_elsewhere_from_the_checkpoint_that_was_sent(join, decider, tmp_path):
    first, second = join(0), join(1)
    held = next_trial(first)
    write_state(tmp_path, 0, held.number, b"after epoch 1")
    first._sent = -1e9  # the time to send a copy has come
    first.report(held, _report(1))
    assert decider.remove(0, "its machine was lost", None).value == held.number
    again = next_trial(second)
    assert (again.number, again.params) == (held.number, held.params)
    state = checkpoint_path(tmp_path / "machine1" / "checkpoints", held.number)
    assert state.read_bytes() == b"after epoch 1"
    second.finish(again, State.COMPLETE, VALUES, {"seconds": 1.0})
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_process_that_was_given_up_can_no_longer_change_the_study(join, decider, tmp_path):
    first, second = join(0), join(1)
    held = next_trial(first)
    decider.remove(0, "it was silent", DIED)
    with pytest.raises(RunError) as caught:
        first.finish(held, State.COMPLETE, VALUES, {"seconds": 1.0})
    assert caught.value.code == REPLACED
    retry = next_trial(second)
    assert (retry.retry_of, retry.params) == (held.number, held.params)
    assert [trial.state for trial in trials_of(tmp_path)] == [TrialState.FAIL, TrialState.RUNNING]


def test_a_worker_learns_from_any_call_that_the_run_ends_and_returns_its_trial(join, decider, tmp_path):
    stop = StopSignal()
    client = join(0, stop)
    held = next_trial(client)
    decider.look(CTRL_C)
    client.report(held, _report(1))
    assert stop.reason == CTRL_C
    write_state(tmp_path, 0, held.number, b"after epoch 1")
    client.pause(held)
    (trial,) = trials_of(tmp_path)
    assert trial.state is TrialState.WAITING
    assert checkpoint_path(tmp_path / "checkpoints", held.number).read_bytes() == b"after epoch 1"


def test_predictions_are_stored_with_their_trial(join, tmp_path):
    client = join(0)
    held = next_trial(client)
    path = validation_path(tmp_path / "machine0" / "validation", held.number)
    path.parent.mkdir()
    path.write_bytes(b"predictions")
    client.finish(held, State.COMPLETE, VALUES, {"seconds": 1.0})
    assert validation_path(tmp_path / "validation", held.number).read_bytes() == b"predictions"
    assert not path.exists()


def test_errors_of_the_study_reach_the_worker(join, tmp_path):
    client = join(0)
    held = next_trial(client)
    execute(tmp_path / "study.db", "UPDATE trials SET state = 'FAIL'")  # another program
    with pytest.raises(TrialChangedError):
        client.finish(held, State.COMPLETE, VALUES, {"seconds": 1.0})


def test_a_worker_is_silent_without_progress(tmp_path, monkeypatch):
    StudyStorage(tmp_path / "study.db", create="cheap").close()
    clock = [0.0]
    monkeypatch.setattr("cnn_lstm_hyperopt.execution.remote.decider.time.monotonic", lambda: clock[0])
    decider = Decider(tmp_path, CheapWorkload(4), 10.0)
    try:
        decider.join(0, 1)
        decider.join(1, 2)
        for second in range(1, 13):
            clock[0] = float(second)
            decider.beat(0, second, 3, 0.5, 100.0)
            decider.beat(1, 7, -1, 0.0, 100.0)
            look = decider.look(None)
        assert look.silent == {1}
        clock[0] += 100  # all processes were stopped
        assert not decider.look(None).silent
    finally:
        decider.close()


def test_lines_of_workers_are_in_the_log(decider, tmp_path):
    decider.write_log(3, logging.INFO, "trial 5 failed")
    assert "worker 3: trial 5 failed" in (tmp_path / "run.log").read_text(encoding="utf-8")


def _report(epoch: int) -> Any:
    return ProgressReport(float(epoch), 0.1 * epoch, 0.3, 0.7, 0.3, last=False)
