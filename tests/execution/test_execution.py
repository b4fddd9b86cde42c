"""Running trials: outcomes become states, failures are retried, stopping is orderly. Nothing is trained."""

import contextlib
import errno
import signal
import sys
import threading
import time
from dataclasses import astuple, dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
import torch

from builders.records import TINY, make_plan, make_space
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.errors import StorageFailedError, StudyFailedError
from cnn_lstm_hyperopt.execution import (
    CTRL_C,
    EXHAUSTED,
    FINISHED,
    STORED_AUTO_PRUNER,
    TIMEOUT,
    StopSignal,
    as_stored,
    delete_stale_checkpoints,
    resolve_workers,
    run_trials,
    study_plan,
)
from cnn_lstm_hyperopt.execution.stop import SIGTERM
from cnn_lstm_hyperopt.execution.trial_events import OutsideTrials
from cnn_lstm_hyperopt.execution.worker_pool import ALIVE, WORKER_MB, run_with_workers
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search import (
    LACKED_MEMORY,
    Cost,
    Limits,
    SkillThreshold,
    State,
    Study,
    StudyStorage,
    memory_levels,
)
from cnn_lstm_hyperopt.search.orphans import pause_orphans
from cnn_lstm_hyperopt.search.study import RESTARTS
from cnn_lstm_hyperopt.training import Evaluation, NonFiniteLossError, Outcome, Predictions
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork

EPOCHS = 3


@dataclass
class Fake:
    """A runner that reports three epochs and obeys; ``before`` may raise, or act, at (call, epoch)."""

    before: object = None
    epochs: int = EPOCHS
    accuracy: float = 0.7
    calls: list = field(default_factory=list)
    decisions: list = field(default_factory=list)
    memory_levels: list = field(default_factory=list)
    device = torch.device("cpu")

    def run_trial(self, number, params, on_report, *, checkpoint=None, start=None, memory_level=0):
        call = len(self.calls)
        self.memory_levels.append(memory_level)
        self.calls.append((number, params))
        decision, epoch = CONTINUE, 0
        for epoch in range(1, self.epochs + 1):
            if self.before is not None:
                self.before(call, epoch)
            last = epoch == self.epochs
            report = ProgressReport(float(epoch), 0.5 * epoch, 1.5, self.accuracy, 1 - self.accuracy, last)
            decision = on_report(report)
            self.decisions.append((call, epoch, decision))
            if decision.action is not Action.CONTINUE:
                break
        said = Predictions(np.full((1, 2), 0.5, np.float32), None)
        best = Evaluation(0.5, self.accuracy, None, said, self.accuracy)
        return TrainedNetwork(
            (torch.nn.Linear(1, 1),), Outcome(epoch, best, float(epoch), 0.5 * epoch, 1.5, decision), 12.5, "float32"
        )


@dataclass
class Recorder:
    """An observer that writes down what it hears."""

    name: str
    heard: list

    def on_trial_start(self, assignment):
        self.heard.append((self.name, "start", assignment.number))

    def on_trial_report(self, assignment, report):
        self.heard.append((self.name, "report", assignment.number, report.epoch))

    def on_trial_trained(self, assignment, trained):
        self.heard.append((self.name, "trained", assignment.number, trained.outcome.decision.action.value))

    def on_trial_end(self, record, trained):
        self.heard.append((self.name, "end", record.number, record.state.value, trained is not None))


def fixed_space(**cnn):
    """Only what ``cnn`` names is searched."""
    return {**TINY, "cnn": {**TINY["cnn"], "attention": False, **cnn}, "lstm": {**TINY["lstm"], "num_layers": 1}}


@pytest.fixture
def make_study(tmp_path):
    opened, paths = [], []

    def make(*, n_trials=3, space=None, trial_seconds=None, beside=None, **who):
        """``beside``: another study, on whose file this one works too."""
        if beside is None:
            paths.append(tmp_path / f"study{len(paths)}.db")
        opened.append(StudyStorage(paths[-1], create="x" if beside is None else None))
        cost = Cost(0.0, 0.25)
        space_ = make_space(space or fixed_space(dropout=[0.1, 0.5]))
        plan = make_plan(space_, n_trials=n_trials, limits=Limits(seconds=trial_seconds), cost=lambda params: cost)
        return Study(opened[-1], plan, **who)

    yield make
    for storage in opened:
        storage.close()


def run(study, runner, stop=None, callbacks=()):
    nowhere = Path("no_state_is_kept")
    return run_trials(study, runner, stop=stop or StopSignal(), callbacks=list(callbacks), checkpoints=nowhere)


def states(study):
    return [record.state.value for record in study.records()]


# ---------------------------------------------------------------------- outcomes become states


def test_a_training_that_ran_to_its_end_is_complete_with_its_three_values(make_study):
    study, runner = make_study(), Fake()
    assert run(study, runner) == FINISHED
    assert states(study) == ["COMPLETE"] * 3
    assert [number for number, _ in runner.calls] == [0, 1, 2]
    for (_, params), record in zip(runner.calls, study.records(), strict=True):
        assert (params["lstm.hidden_dim"], params["cnn.dropout"]) == (8, record.params["cnn.dropout"])
    record = study.records()[0]
    assert record.values == (0.7, 1.5, 0.25)
    assert (record.seconds, record.projected_seconds, record.reason) == (1.5, 1.5, "")
    assert {k: record.attributes[k] for k in ("epochs", "best_epoch", "memory_mb")} == {
        "epochs": 3.0,
        "best_epoch": 3,
        "memory_mb": 12.5,
    }
    assert [point.epoch for point in record.curve] == [1, 2, 3]


def test_a_pruned_training_is_pruned_with_its_reason_and_no_values(make_study):
    study = make_study(trial_seconds=1.0)
    assert run(study, Fake()) == FINISHED
    assert states(study) == ["PRUNED"] * 3
    record = study.records()[0]
    assert record.values is None
    assert record.reason.startswith("limit: ")
    assert (record.seconds, record.attributes["epochs"]) == (0.5, 1.0)


def raise_at(call, error):
    def before(this_call, epoch):
        if this_call == call and epoch == 2:
            raise error

    return before


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NonFiniteLossError("the loss became nan in epoch 2"), "the loss became nan in epoch 2"),
        (RuntimeError("first line\nsecond line"), "RuntimeError: first line second line"),
        (ValueError("  \n "), "ValueError"),
        (KeyError("cnn.dropout"), "KeyError: 'cnn.dropout'"),
    ],
)
def test_an_exception_fails_the_trial_with_one_line_and_is_retried(make_study, error, reason):
    study, runner = make_study(), Fake(before=raise_at(0, error))
    assert run(study, runner) == FINISHED
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    failed, again, *_ = study.records()
    assert failed.reason == reason
    assert failed.attributes.get("diverged", False) is isinstance(error, NonFiniteLossError)
    assert [point.epoch for point in failed.curve] == [1]
    assert again.retry_of == 0
    assert again.params == failed.params
    assert runner.calls[0][1] == runner.calls[1][1]


def test_a_trial_that_lacks_memory_is_trained_with_less_until_it_fits(make_study):
    def before(call, epoch):
        if call < 5 and epoch == 2:
            raise MemoryError("800 MB are too much")

    study, runner = make_study(n_trials=2), Fake(before=before)
    assert run(study, runner) == FINISHED
    assert runner.memory_levels == [0, 1, 2, 3, 4, 5, 0]
    assert [number for number, _ in runner.calls] == [0] * 6 + [1]
    assert states(study) == ["COMPLETE"] * 2
    first, second = study.records()
    assert first.attributes["memory_saving"] == str(memory_levels(16)[5])
    assert "memory_saving" not in second.attributes
    assert [point.epoch for point in first.curve] == [1, 2, 3]  # what was told before the failure is not in it twice


def test_a_trial_whose_memory_never_suffices_fails_once_and_for_all(make_study):
    def before(call, epoch):
        if call < 6:
            raise MemoryError

    study, runner = make_study(n_trials=2), Fake(before=before)
    assert run(study, runner) == FINISHED
    assert runner.memory_levels == [0, 1, 2, 3, 4, 5, 0, 0]
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert study.records()[0].reason == f"{LACKED_MEMORY} (MemoryError)"
    assert [record.retry_of for record in study.records()] == [None] * 3


def test_a_trial_whose_process_ends_again_and_again_fails(make_study):
    """Otherwise it would end every run that goes on with it."""
    study, starts = make_study(n_trials=1), 0
    while study.n_finished() == 0:
        pause_orphans(study.storage)
        runner = Fake()
        runner.before = lambda call, epoch, runner=runner: killed_in_trial(0, runner)
        with contextlib.suppress(Killed):
            run(study, runner)
        starts += sum(number == 0 for number, _ in runner.calls)
        assert set(runner.memory_levels) == {0}
    assert starts == RESTARTS + 1
    first, second = study.records()
    assert first.reason.startswith("its process ended")
    assert (second.state, second.retry_of) == (State.COMPLETE, None)


def test_the_memory_level_of_an_interrupted_trial_is_kept(make_study):
    def before(call, epoch):
        if call == 0 and epoch == 2:
            raise MemoryError("800 MB are too much")
        if call == 1 and epoch == 3:
            raise Killed

    study, runner = make_study(n_trials=1), Fake(before=before)
    with contextlib.suppress(Killed):
        run(study, runner)
    pause_orphans(study.storage)
    assert run(study, runner) == FINISHED
    assert runner.memory_levels == [0, 1, 1]
    assert study.records()[0].attributes["memory_saving"] == str(memory_levels(16)[1])


def test_a_checkpoint_that_does_not_fit_into_memory_is_the_trials_fault(make_study, monkeypatch):
    """And what the disk does to it is not."""

    def lack(path):
        raise next(errors)

    monkeypatch.setattr("cnn_lstm_hyperopt.execution.trial_loop.last_good", lack)
    study = make_study(n_trials=1)
    errors = iter([OSError(errno.ENOMEM, "Cannot allocate memory")] * 6 + [OSError(errno.EIO, "Input/output error")])
    with pytest.raises(OSError, match="Input/output"):
        run(study, Fake())
    assert states(study) == ["FAIL", "RUNNING"]
    assert study.records()[0].attributes["given_up"]
    assert study.records()[1].retry_of is None


def test_only_checkpoints_without_a_trial_are_removed(make_study, tmp_path):
    study = make_study(n_trials=2)
    folder = tmp_path / "states"
    folder.mkdir()
    waiting = study.next_assignment()
    study.pause(waiting)
    for name in ("trial_00000.pt", "trial_00000.pt.previous", "trial_00001.pt", "trial_00000 copy.pt", "mine.pt"):
        (folder / name).touch()
    delete_stale_checkpoints(study, folder)
    kept = {"trial_00000.pt", "trial_00000.pt.previous", "trial_00000 copy.pt", "mine.pt"}
    assert {path.name for path in folder.iterdir()} == kept
    assert run(study, Fake()) == FINISHED
    delete_stale_checkpoints(study, folder)
    assert {path.name for path in folder.iterdir()} == {"trial_00000 copy.pt", "mine.pt"}


class Killed(BaseException):
    """What nothing catches, as nothing catches kill -9."""


def killed_in_trial(number, runner):
    if runner.calls[-1][0] == number:
        raise Killed


@pytest.mark.parametrize(
    "error", [OSError(28, "disk full"), StorageFailedError("locked"), KeyboardInterrupt()], ids=repr
)
def test_an_error_of_the_disk_or_a_second_interrupt_fails_no_trial(make_study, error):
    study = make_study()
    with pytest.raises(type(error)):
        run(study, Fake(before=raise_at(1, error)))
    assert states(study) == ["COMPLETE", "RUNNING"]


def test_a_study_in_which_everything_fails_ends_with_the_reason(make_study):
    def before(call, epoch):
        raise RuntimeError("no such kernel")

    study = make_study(n_trials=100)
    heard = []
    with pytest.raises(StudyFailedError, match="RuntimeError: no such kernel"):
        run(study, Fake(before=before), callbacks=[Recorder("a", heard), Recorder("b", heard)])
    assert states(study) == ["FAIL"] * 10
    assert [event for event in heard if event[1] == "end"] == [  # of the tenth, too
        (name, "end", number, "FAIL", False) for number in range(10) for name in ("a", "b")
    ]


# ---------------------------------------------------------------------- callbacks


def test_callbacks_hear_everything_in_order_each_in_turn(make_study):
    heard = []
    study = make_study(n_trials=1)
    run(study, Fake(before=raise_at(0, RuntimeError("x"))), callbacks=[Recorder("a", heard), Recorder("b", heard)])
    events = [
        ("start", 0),
        ("report", 0, 1.0),
        ("end", 0, "FAIL", False),
        ("start", 1),
        ("report", 1, 1.0),
        ("report", 1, 2.0),
        ("report", 1, 3.0),
        ("trained", 1, "continue"),
        ("end", 1, "COMPLETE", True),
    ]
    assert heard == [(name, *event) for event in events for name in ("a", "b")]


# ---------------------------------------------------------------------- several workers


def test_a_worker_waits_for_the_trials_of_others_and_ends_with_them(make_study, monkeypatch):
    study = make_study(n_trials=2, worker=1)
    other = make_study(n_trials=2, worker=2, beside=study)
    theirs, runner, waited = other.next_assignment(), Fake(), []

    def wait(stop, seconds):
        waited.append((seconds, states(study)))
        if len(waited) == 3:
            other.finish(theirs, State.PRUNED, None, {"reason": "x"})

    monkeypatch.setattr(StopSignal, "wait", wait)
    assert run(study, runner) == FINISHED
    assert len(runner.calls) == 1
    assert [seen for _, seen in waited] == [["RUNNING", "COMPLETE"]] * 3
    assert all(0 < seconds <= 1 for seconds, _ in waited)


def test_a_worker_that_waits_can_be_stopped(make_study, monkeypatch):
    study, stop = make_study(n_trials=1, worker=1), StopSignal()
    make_study(n_trials=1, worker=2, beside=study).next_assignment()
    monkeypatch.setattr(StopSignal, "wait", lambda self, _: self.end("told so"))
    assert run(study, Fake(), stop) == "told so"
    assert states(study) == ["RUNNING"]


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many cores and so much free memory, in workers' shares."""

    def make(cores, shares):
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
        free = None if shares is None else shares * WORKER_MB
        monkeypatch.setattr("cnn_lstm_hyperopt.execution.worker_pool.available_mb", lambda: free)

    return make


def settings_with(workers, n_trials=1000):
    return load_settings(None, {"workers": workers, "study": {"n_trials": n_trials}}, {})


WORKERS = [  # device, cores, free memory in shares of a worker, setting, trials → workers
    ("cpu", 8, 100, "auto", 1000, 8),  # cores are the minimum
    ("cpu", 8, 5.9, "auto", 1000, 5),  # memory
    ("cpu", 8, 100, "auto", 3, 3),  # trials
    ("cpu", 8, 0.2, "auto", 1000, 1),
    ("cpu", 8, None, "auto", 1000, 8),  # a platform that does not report memory
    ("cuda", 8, 100, "auto", 1000, 1),
    ("mps", 8, 100, "auto", 1000, 1),
    *((device, 2, 1, workers, 2, workers) for device in ("cpu", "cuda", "mps") for workers in (1, 3, 64)),
]


@pytest.mark.parametrize(("device", "cores", "shares", "setting", "n_trials", "expected"), WORKERS)
def test_number_of_workers(machine, monkeypatch, device, cores, shares, setting, n_trials, expected):
    machine(cores, shares)
    assert resolve_workers(settings_with(setting, n_trials), device) == expected
    monkeypatch.delattr("os.sched_getaffinity")  # a platform without it
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert resolve_workers(settings_with(setting, n_trials), device) == expected


@pytest.mark.parametrize(("names", "found"), [(("auto", "auto"), ("gp", "none")), (("tpe", "front"), ("tpe", "front"))])
def test_auto_is_the_sampler_gp_and_no_pruner(names, found):
    settings = load_settings(None, {"sampler": {"type": names[0]}, "pruner": {"type": names[1]}}, {})
    runner = SimpleNamespace(
        data=SimpleNamespace(has_regression=True, columns={}, raw=False), costs=SimpleNamespace(cost=None)
    )
    plan = study_plan(settings, SkillThreshold(0.5, 100), runner, torch.device("cpu"), workers=1)
    assert (plan.sampler.type, plan.pruner.type) == found
    again, earlier = (
        as_stored(plan, settings, SimpleNamespace(attribute=stored.get))
        for stored in ({STORED_AUTO_PRUNER: "none"}, {})
    )
    assert again.pruner.type == found[1]
    assert earlier.pruner.type == "front"  # auto, or what the settings name


# ---------------------------------------------------------------------- when to stop


def test_a_used_up_space_ends_the_run(make_study):
    study = make_study(n_trials=50, space=fixed_space(residual=[False, True]))
    assert run(study, Fake()) == EXHAUSTED
    assert states(study) == ["COMPLETE"] * 2


def interrupt_at(stop, call, epoch):
    def before(this_call, this_epoch):
        if (this_call, this_epoch) == (call, epoch):
            stop.end(CTRL_C)

    return before


def test_a_trial_that_ctrl_c_cuts_off_waits_and_goes_on_under_its_number(make_study):
    stop, study = StopSignal(), make_study()
    runner = Fake(before=interrupt_at(stop, 1, 2))
    assert run(study, runner, stop) == CTRL_C
    assert states(study) == ["COMPLETE", "WAITING"]
    assert runner.decisions[-1] == (1, 2, Decision(Action.STOP, CTRL_C))

    again = Fake()
    assert run(study, again) == FINISHED
    assert states(study) == ["COMPLETE"] * 3
    assert again.calls[0] == runner.calls[1]
    assert [record.retry_of for record in study.records()] == [None] * 3
    assert [point.epoch for point in study.records()[1].curve] == [1, 2, 3]


@pytest.mark.parametrize(("epoch", "epochs", "limit"), [(EPOCHS, EPOCHS, None), (2, 2, None), (1, EPOCHS, 1.0)])
def test_a_trial_that_ends_as_ctrl_c_comes_is_stored(make_study, epoch, epochs, limit):
    """After its last epoch, by patience, or pruned."""
    stop, study = StopSignal(), make_study(trial_seconds=limit)
    assert run(study, Fake(before=interrupt_at(stop, 0, epoch), epochs=epochs), stop) == CTRL_C
    assert states(study) == ["COMPLETE" if limit is None else "PRUNED"]


def test_a_study_that_is_finished_when_it_is_stopped_is_finished(make_study):
    stop, study = StopSignal(), make_study(n_trials=1)
    assert run(study, Fake(before=interrupt_at(stop, 0, EPOCHS)), stop) == FINISHED
    assert stop.interrupted
    assert run(study, Fake(), stop) == FINISHED
    assert run(study, Fake(), StopSignal(0.0)) == FINISHED


def test_a_timeout_within_a_trial_cuts_it_off(make_study, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("cnn_lstm_hyperopt.execution.stop.time.monotonic", lambda: now[0])
    stop, study = StopSignal(5.0), make_study()

    def before(call, epoch):
        now[0] += 2.0  # 3 epochs are 6 s: the deadline passes in the third epoch of the first trial, its last

    assert run(study, Fake(before=before), stop) == TIMEOUT
    assert states(study) == ["COMPLETE"]
    now[0] = 0.0
    assert run(study, Fake(before=before), StopSignal(0.0)) == TIMEOUT
    assert states(study) == ["COMPLETE"]  # no trial began
    stop = StopSignal(9.0)
    assert run(study, Fake(before=before), stop) == TIMEOUT
    assert states(study) == ["COMPLETE", "COMPLETE", "WAITING"]


# ---------------------------------------------------------------------- the signal itself


def test_a_stop_signal_has_one_reason_and_a_deadline(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert (StopSignal().reason, StopSignal().seconds_left, StopSignal().interrupted) == (None, None, False)
    stop = StopSignal(4.0)
    for now[0], reason, left in ((10.0, None, 4.0), (13.5, None, 0.5), (14.0, TIMEOUT, 0.0), (99.0, TIMEOUT, 0.0)):
        assert (stop.reason, stop.seconds_left, stop.interrupted) == (reason, left, False)
    stop.set_deadline(None)
    assert (stop.reason, stop.seconds_left) == (None, None)
    for reason, interrupted in ((CTRL_C, True), (TIMEOUT, False), ("a request", False)):
        stop.end(reason)
        assert (stop.reason, stop.interrupted) == (reason, interrupted)


@pytest.mark.parametrize(("sent", "reason"), [(signal.SIGINT, CTRL_C), (signal.SIGTERM, SIGTERM)])
def test_the_first_signal_is_the_reason_and_the_second_interrupts(make_study, sent, reason):
    both = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(each) for each in both]
    stop, study = StopSignal(), make_study()

    def before(call, epoch):
        if (call, epoch) == (0, 1):
            signal.raise_signal(sent)

    with stop.listening():
        assert run(study, Fake(before=before), stop) == reason
        assert stop.interrupted
        for again in both:
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(again)
    assert study.records()[0].state is State.WAITING
    assert [signal.getsignal(each) for each in both] == handlers


def test_outside_the_main_thread_signals_keep_their_handlers():
    handler, seen = signal.getsignal(signal.SIGTERM), []

    def listen():
        with StopSignal().listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [handler]


# ---------------------------------------------------------------------- other programs


def outside(study):
    """The study as another program opens it."""
    return optuna.load_study(study_name=None, storage=f"sqlite:///{study.storage.path}")


def test_a_foreign_running_trial_delays_no_run(make_study):
    study, stop, warned = make_study(n_trials=5), StopSignal(), []
    outside(study).ask()

    def before(call, epoch):
        if call == 2:
            stop.end(CTRL_C)

    assert run(study, Fake(before=before), stop, [OutsideTrials(study.storage, warned.append)]) == CTRL_C
    assert states(study) == ["COMPLETE", "COMPLETE", "WAITING"]
    assert len(warned) == 1
    assert run(study, Fake()) == FINISHED
    assert [record.number for record in study.records()] == [1, 2, 3, 4, 5]
    assert [trial.state.name for trial in outside(study).trials] == ["RUNNING", *["COMPLETE"] * 5]


def test_a_program_that_ends_every_trial_ends_the_search_with_its_reason(make_study):
    study = make_study(n_trials=2)

    def before(call, epoch):
        outside(study).tell(call, state=optuna.trial.TrialState.FAIL)

    with pytest.raises(StudyFailedError):
        run(study, Fake(before=before, epochs=1))
    assert study.records() == []


# ---------------------------------------------------------------------- workers that die


@pytest.mark.parametrize(
    ("deaths", "ends"),
    [
        (["killed", "killed", "at start"], None),
        (["at start", "at start", "killed", "at start"], None),
        (["killed", "at start", "at start", "at start"], "workers-die-at-start"),
    ],
)
def test_only_deaths_at_the_start_in_a_row_say_that_no_worker_can_start(
    make_study, tmp_path, monkeypatch, deaths, ends
):
    """Each worker is a real process that ends as told; the one after the last death has nothing left to do."""
    script = (
        "import os, pathlib, signal, sys, time\n"
        f"left = pathlib.Path({str(tmp_path / 'deaths')!r})\n"
        "death, *more = left.read_text().splitlines() or ['']\n"
        "left.write_text('\\n'.join(more))\n"
        "if death == 'killed':\n"
        f"    print({ALIVE!r}, 1, 0, 0.5, 100, flush=True)\n"
        "    time.sleep(0.2)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.exit(1 if death else 0)\n"
    )
    (tmp_path / "deaths").write_text("\n".join(deaths))
    monkeypatch.setattr(
        "cnn_lstm_hyperopt.execution.worker_pool.module_command", lambda *_: [sys.executable, "-S", "-c", script]
    )
    arguments = {"stop": StopSignal(), "callbacks": [], "warn": lambda _: None}
    if ends is None:
        assert run_with_workers(make_study(), tmp_path, 1, **arguments) == EXHAUSTED
    else:
        with pytest.raises(StudyFailedError) as caught:
            run_with_workers(make_study(), tmp_path, 1, **arguments)
        assert caught.value.code == ends


def test_output_of_other_code_and_cut_heartbeats_do_not_end_the_reading_of_heartbeats(
    make_study, tmp_path, monkeypatch
):
    """The worker is a real process; all its output but the second heartbeat is no heartbeat."""
    lines = [
        b"alive\n",
        b"alive and well\n",
        b"\xff\n",
        b"alive 1 x 0.5 100\n",
        b"alive 2.5 7 1.5 120\n",
        b"alive 3 8 2.0 9",
    ]
    script = f"import os, time\nfor line in {lines}:\n    os.write(1, line)\n    time.sleep(0.1)\ntime.sleep(1)"
    monkeypatch.setattr(
        "cnn_lstm_hyperopt.execution.worker_pool.module_command", lambda *_: [sys.executable, "-S", "-c", script]
    )
    threads: list[object] = []
    monkeypatch.setattr("threading.excepthook", threads.append)
    seen: set[tuple[float, ...]] = set()
    run_with_workers(
        make_study(),
        tmp_path,
        1,
        stop=StopSignal(),
        callbacks=[],
        on_activity=lambda now: seen.update(map(astuple, now)),
    )
    assert seen == {(1, 7, 1.5, 120.0)}
    assert threads == []
