"""Running trials: outcomes become states, failures are retried, stopping is orderly. Nothing is trained."""

import logging
import signal
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings, parse_space
from cnn_lstm_hyperopt.exceptions import StudyFailedError
from cnn_lstm_hyperopt.execution import CTRL_C, EXHAUSTED, FINISHED, TIMEOUT, StopSignal, run_trials
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search import INTERRUPTED, SkillGate, State, Study, StudyPlan, StudyStorage
from cnn_lstm_hyperopt.training import Evaluation, NonFiniteLossError, Outcome, Predictions
from cnn_lstm_hyperopt.trial_runner import TrainedNetwork

EPOCHS = 3


@dataclass
class Fake:
    """A runner that reports three epochs and obeys; ``before`` may raise, or act, at (call, epoch)."""

    before: object = None
    accuracy: float = 0.7
    calls: list = field(default_factory=list)
    decisions: list = field(default_factory=list)

    def run_trial(self, number, params, on_report):
        call = len(self.calls)
        self.calls.append((number, params))
        decision, epoch = CONTINUE, 0
        for epoch in range(1, EPOCHS + 1):
            if self.before is not None:
                self.before(call, epoch)
            decision = on_report(ProgressReport(float(epoch), 0.5 * epoch, 1.5, self.accuracy, 1 - self.accuracy))
            self.decisions.append((call, epoch, decision))
            if decision.action is not Action.CONTINUE:
                break
        best = Evaluation(0.5, self.accuracy, None, Predictions(np.full((1, 2), 0.5, np.float32), None))
        return TrainedNetwork(
            torch.nn.Linear(1, 1), Outcome(epoch, best, float(epoch), 0.5 * epoch, 1.5, decision), 12.5
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

    def on_trial_end(self, record, trained):
        self.heard.append((self.name, "end", record.number, record.state.value, trained is not None))


def fixed_space(**cnn):
    """Only what ``cnn`` names is searched."""
    return {
        "cnn": {
            "num_filters": 8,
            "filter_sizes": [[3]],
            "dropout": 0.1,
            "activation": "relu",
            "residual": False,
            "attention": False,
            **cnn,
        },
        "lstm": {
            "hidden_dim": 8,
            "num_layers": 1,
            "dropout": 0.1,
            "bidirectional": False,
            "attention": False,
            "skip_connections": False,
        },
        "fusion": {"method": "gated", "dim": 8, "dropout": 0.1},
        "training": {
            "learning_rate": 1e-3,
            "batch_size": 16,
            "weight_decay": 0,
            "optimizer": "adam",
            "scheduler": "step",
            "gradient_clip": 1,
        },
        "regularization": {"label_smoothing": 0},
        "multi_task": {"classification_weight": 0.5},
    }


@pytest.fixture
def make_study(tmp_path):
    opened = []

    def make(*, n_trials=3, space=None, trial_seconds=None):
        space_, faults = parse_space(space or fixed_space(dropout=[0.1, 0.5]))
        assert faults == []
        opened.append(StudyStorage(tmp_path / f"study{len(opened)}.db", create="x"))
        plan = StudyPlan(
            space=space_,
            sampler=SamplerSettings(type="random"),
            pruner=PrunerSettings(type="none"),
            seed=0,
            n_trials=n_trials,
            max_epochs=EPOCHS,
            trial_seconds=trial_seconds,
            gate=SkillGate(0.5, 100),
            size_mb=lambda params: 0.25,
        )
        return Study(opened[-1], plan)

    yield make
    for storage in opened:
        storage.close()


def run(study, runner, stop=None, observers=()):
    return run_trials(study, runner, stop=stop or StopSignal(), observers=list(observers))


def states(study):
    return [record.state.value for record in study.records()]


# ---------------------------------------------------------------------- outcomes become states


def test_a_training_that_ran_to_its_end_is_complete_with_its_three_values(make_study):
    study, runner = make_study(), Fake()
    assert run(study, runner) == FINISHED
    assert states(study) == ["COMPLETE"] * 3
    record = study.records()[0]
    assert record.values == (0.7, 1.5, 0.25)
    assert (record.seconds, record.projected_seconds, record.reason) == (1.5, 1.5, "")
    assert {k: record.attributes[k] for k in ("epochs", "best_epoch", "memory_mb")} == {
        "epochs": 3.0,
        "best_epoch": 3,
        "memory_mb": 12.5,
    }
    assert [point.epoch for point in record.curve] == [1, 2, 3]


def test_the_runner_gets_number_and_whole_configuration(make_study):
    study, runner = make_study(n_trials=2), Fake()
    run(study, runner)
    assert [number for number, _ in runner.calls] == [0, 1]
    for (_, params), record in zip(runner.calls, study.records(), strict=True):
        assert params["lstm.hidden_dim"] == 8
        assert params["cnn.dropout"] == record.params["cnn.dropout"]


def test_a_pruned_training_is_pruned_with_its_reason_and_no_values(make_study):
    study = make_study(trial_seconds=1.0)
    assert run(study, Fake()) == FINISHED
    assert states(study) == ["PRUNED"] * 3
    record = study.records()[0]
    assert record.values is None
    assert record.reason == "limit: projected 2 s exceed limits.trial_seconds=1"
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
        (RuntimeError("first line\nsecond line"), "RuntimeError: first line"),
        (MemoryError(), "MemoryError: no message"),
        (ValueError("  \n "), "ValueError: no message"),
        (KeyError("cnn.dropout"), "KeyError: 'cnn.dropout'"),
    ],
)
def test_an_exception_fails_the_trial_with_one_line_and_is_retried(make_study, error, reason):
    study, runner = make_study(), Fake(before=raise_at(0, error))
    assert run(study, runner) == FINISHED
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    failed, again, *_ = study.records()
    assert failed.reason == reason
    assert [point.epoch for point in failed.curve] == [1]
    assert again.retry_of == 0
    assert again.params == failed.params
    assert runner.calls[0][1] == runner.calls[1][1]


def test_an_unexpected_error_is_logged_with_its_traceback(make_study, caplog):
    with caplog.at_level(logging.ERROR, logger="cnn_lstm_hyperopt"):
        run(make_study(), Fake(before=raise_at(0, RuntimeError("boom"))))
    assert any(record.exc_info and "trial 0 failed" in record.getMessage() for record in caplog.records)


def test_a_study_in_which_everything_fails_ends_with_the_reason(make_study):
    def before(call, epoch):
        raise RuntimeError("no such kernel")

    study = make_study(n_trials=100)
    with pytest.raises(
        StudyFailedError, match="10 trials failed in a row, the last with: RuntimeError: no such kernel"
    ):
        run(study, Fake(before=before))
    assert states(study) == ["FAIL"] * 10


def test_a_second_interrupt_is_not_taken_for_a_failed_trial(make_study):
    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        run(study, Fake(before=raise_at(1, KeyboardInterrupt())))
    assert states(study) == ["COMPLETE", "RUNNING"]


# ---------------------------------------------------------------------- observers


def test_observers_hear_everything_in_order_each_in_turn(make_study):
    heard = []
    study = make_study(n_trials=1)
    run(study, Fake(before=raise_at(0, RuntimeError("x"))), observers=[Recorder("a", heard), Recorder("b", heard)])
    events = [
        ("start", 0),
        ("report", 0, 1.0),
        ("end", 0, "FAIL", False),
        ("start", 1),
        ("report", 1, 1.0),
        ("report", 1, 2.0),
        ("report", 1, 3.0),
        ("end", 1, "COMPLETE", True),
    ]
    assert heard == [(name, *event) for event in events for name in ("a", "b")]


def test_at_the_end_observers_get_the_stored_record(make_study):
    study = make_study(n_trials=1)
    seen = []

    class Last(Recorder):
        def on_trial_end(self, record, trained):
            seen.append((record == study.records()[record.number], trained.outcome.best.accuracy))

    run(study, Fake(), observers=[Last("a", [])])
    assert seen == [(True, 0.7)]


# ---------------------------------------------------------------------- when to stop


def test_a_finished_study_runs_nothing(make_study):
    study, runner = make_study(n_trials=2), Fake()
    run(study, runner)
    assert run(study, runner) == FINISHED
    assert len(runner.calls) == 2


def test_a_used_up_space_ends_the_run(make_study):
    study = make_study(n_trials=50, space=fixed_space(residual=[False, True]))
    assert run(study, Fake()) == EXHAUSTED
    assert states(study) == ["COMPLETE"] * 2


def test_a_timeout_before_the_first_trial_runs_nothing(make_study):
    study, runner = make_study(), Fake()
    assert run(study, runner, StopSignal(0.0)) == TIMEOUT
    assert runner.calls == []


def interrupt_at(stop, call, epoch):
    def before(this_call, this_epoch):
        if (this_call, this_epoch) == (call, epoch):
            stop.interrupted = True

    return before


def test_ctrl_c_within_a_trial_ends_it_and_it_is_run_again(make_study):
    stop, study = StopSignal(), make_study()
    runner = Fake(before=interrupt_at(stop, 1, 2))
    assert run(study, runner, stop) == CTRL_C
    assert states(study) == ["COMPLETE", "FAIL"]
    record = study.records()[1]
    assert record.reason == INTERRUPTED + CTRL_C
    assert [point.epoch for point in record.curve] == [1, 2]
    assert runner.decisions[-1] == (1, 2, Decision(Action.STOP, INTERRUPTED + CTRL_C))

    assert run(study, Fake()) == FINISHED
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.records()[2].retry_of == 1
    assert study.records()[2].params == record.params


def test_ctrl_c_at_the_last_epoch_keeps_the_trial(make_study):
    """All epochs are done: ending it now would throw away a finished training."""
    stop, study = StopSignal(), make_study()
    runner = Fake(before=interrupt_at(stop, 0, EPOCHS))
    assert run(study, runner, stop) == CTRL_C
    assert states(study) == ["COMPLETE"]
    assert runner.decisions[-1][2] == CONTINUE


def test_a_trial_that_is_pruned_while_interrupted_is_pruned(make_study):
    stop, study = StopSignal(), make_study(trial_seconds=1.0)
    assert run(study, Fake(before=interrupt_at(stop, 0, 1)), stop) == CTRL_C
    assert states(study) == ["PRUNED"]


def test_a_timeout_within_a_trial_names_itself(make_study, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("cnn_lstm_hyperopt.execution.time.monotonic", lambda: now[0])
    stop, study = StopSignal(5.0), make_study()

    def before(call, epoch):
        now[0] += 2.0  # 3 epochs are 6 s: the deadline passes in the third epoch of the first trial, its last

    assert run(study, Fake(before=before), stop) == TIMEOUT
    assert states(study) == ["COMPLETE"]
    now[0] = 0.0
    stop = StopSignal(9.0)
    assert run(study, Fake(before=before), stop) == TIMEOUT
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL"]
    assert study.records()[2].reason == INTERRUPTED + TIMEOUT


# ---------------------------------------------------------------------- the signal itself


def test_no_reason_to_stop_without_deadline_or_interrupt():
    stop = StopSignal()
    assert stop.reason is None
    assert stop.seconds_left is None


def test_the_deadline_counts_down_and_is_a_reason(monkeypatch):
    now = [10.0]
    monkeypatch.setattr("cnn_lstm_hyperopt.execution.time.monotonic", lambda: now[0])
    stop = StopSignal(4.0)
    assert (stop.reason, stop.seconds_left) == (None, 4.0)
    now[0] = 13.5
    assert (stop.reason, stop.seconds_left) == (None, 0.5)
    now[0] = 14.0
    assert (stop.reason, stop.seconds_left) == (TIMEOUT, 0.0)
    now[0] = 99.0
    assert stop.seconds_left == 0.0
    stop.interrupted = True
    assert stop.reason == CTRL_C


def test_ctrl_c_is_a_reason_and_not_an_exception_while_listening():
    stop = StopSignal()
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        assert stop.reason == CTRL_C


def test_a_second_ctrl_c_ends_at_once():
    stop = StopSignal()
    with stop.listening():
        signal.raise_signal(signal.SIGINT)
        assert stop.interrupted
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("error", [None, RuntimeError("x")])
def test_the_handler_comes_back_afterwards(error):
    before = signal.getsignal(signal.SIGINT)
    try:
        with StopSignal().listening():
            assert signal.getsignal(signal.SIGINT) is not before
            if error is not None:
                raise error
    except RuntimeError:
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nothing_is_changed():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with StopSignal().listening():
            seen.append(signal.getsignal(signal.SIGINT) is before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


def test_a_real_ctrl_c_within_a_trial(make_study):
    stop, study = StopSignal(), make_study()

    def before(call, epoch):
        if (call, epoch) == (0, 1):
            signal.raise_signal(signal.SIGINT)

    with stop.listening():
        assert run(study, Fake(before=before), stop) == CTRL_C
    assert study.records()[0].state is State.FAIL
