"""Checkpoints: their files, what a resumed training reports, and how damage, other versions and kills end."""

import hashlib
import io
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from builders.trainings import PRUNE, SCALE, Training, assert_same_end, go_on, leaves, network, stop_after
from cnn_lstm_hyperopt.errors import CheckpointError, Violation
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import delete_checkpoint, evaluate, last_good, read_checkpoint, write_checkpoint
from cnn_lstm_hyperopt.training.checkpoint import FORMAT
from cnn_lstm_hyperopt.utils.atomic_io import new_part, remove_parts

EPOCHS = 5


@pytest.fixture
def probe(tmp_path):
    """The checkpoint of a training that was stopped after its first epoch."""
    path = tmp_path / "probe.pt"
    Training().run(stop_after(1), save=path)
    return path


def assert_same_states(first, second):
    np.testing.assert_equal(leaves(read_checkpoint(first).states), leaves(read_checkpoint(second).states))


# ---------------------------------------------------------------------- reports and decisions


def test_earlier_evaluations_are_reported_again_and_stored_as_first_reported(tmp_path):
    path, later, shares = tmp_path / "checkpoint.pt", tmp_path / "later.pt", {"early_reports": (0.5,)}
    stopped = Training(**shares).run(stop_after(2), save=path)
    again = Training(**shares).run(start=read_checkpoint(path), save=later)
    earlier = stopped.evaluated()
    assert [report.epoch for report in earlier] == [0.6, 1, 2]
    assert again.reports[:3] == [replace(report, again=True) for report in earlier]
    assert not any(report.again for report in again.reports[3:])
    assert all(a.seconds < b.seconds for a, b in zip(again.reports, again.reports[1:], strict=False))
    stored = read_checkpoint(later).reports
    assert list(stored[:3]) == earlier
    assert [report.epoch for report in stored] == [0.6, 1, 2, 3, 4, 5]
    assert not any(report.again for report in stored)


def test_of_the_answers_to_repeated_reports_only_the_last_counts(tmp_path):
    path, saved = tmp_path / "checkpoint.pt", tmp_path / "saved.pt"
    Training().run(stop_after(2), save=path)
    assert Training().run(stop_after(1), start=read_checkpoint(path)).outcome.epochs == EPOCHS
    ended = Training().run(stop_after(2), start=read_checkpoint(path), save=saved)
    assert (ended.outcome.epochs, ended.outcome.decision) == (2, PRUNE)
    assert evaluate(ended.networks[0], ended.validation[0], SCALE).loss == ended.outcome.best.loss
    assert_same_states(path, saved)


@pytest.mark.parametrize("action", [Action.PRUNE, Action.STOP])
def test_each_epochs_end_has_its_decision_and_its_checkpoint(probe, action):
    decision = Decision(action, "enough")
    ended = Training().run(lambda report: decision if report.epoch >= 3 else CONTINUE)
    assert ended.decisions == [CONTINUE, CONTINUE, decision]
    assert Training().run(lambda report: decision).saved == []  # within the first epoch
    assert ended.saved == [(1, False, CONTINUE), (2, False, CONTINUE), (3, False, decision)]
    for start in (None, read_checkpoint(probe)):
        assert Training().run(start=start).saved == [(n, n == EPOCHS, CONTINUE) for n in range(1, EPOCHS + 1)]
    one = Training(max_epochs=1).run(lambda report: decision if report.epoch == 1 else CONTINUE)
    assert one.saved == [(1, True, decision)]


FINISHED = {
    "all epochs": {},
    "patience": {"max_epochs": 40, "min_patience": 3, "scheduler": "exponential"},
    "pruned after the last epoch": {},
    "no regression": {"values": False},
    "dropout rises": {"dropout_schedule": "linear"},
}


@pytest.mark.parametrize("ended", FINISHED)
def test_a_finished_checkpoint_trains_nothing_and_has_the_same_end(tmp_path, ended):
    path, again_path, options = tmp_path / "finished.pt", tmp_path / "again.pt", FINISHED[ended]
    whole = Training(**options).run(stop_after(EPOCHS) if "pruned" in ended else go_on, save=path)
    net, passes = network(has_regression=options.get("values", True), seed=7), []
    net.register_forward_hook(lambda *_: passes.append(1))
    again = Training(net=net, **options).run(start=read_checkpoint(path), save=again_path)
    assert passes == []
    assert_same_end(whole, again)
    assert again.curve() == whole.curve()
    assert all(report.again for report in again.reports)
    times = [(o.seconds, o.projected_seconds, o.evaluation_seconds) for o in (whole.outcome, again.outcome)]
    assert times[0] == times[1]
    assert again.saved == whole.saved[-1:] == [(whole.outcome.epochs, True, whole.outcome.decision)]
    assert_same_states(path, again_path)
    rates = [[m.p for m in each.modules() if isinstance(m, torch.nn.Dropout)] for each in (net, whole.networks[0])]
    assert rates[0] == rates[1]
    ignored = Training(**options).run(lambda report: Decision(Action.STOP), start=read_checkpoint(path))
    assert_same_end(whole, ignored)


def test_seconds_and_their_projection_count_across_the_cut(tmp_path, clock):
    """Five steps an epoch; the speed excludes the first step of each run."""
    path = tmp_path / "checkpoint.pt"

    def timed(sizes=(40,), on_report=go_on, start=None):
        training = Training(sizes, max_epochs=3)
        clock(*training.networks)
        return training.run(on_report, start=start, save=path)

    first = timed(on_report=stop_after(1)).outcome
    assert (first.seconds, first.evaluation_seconds, first.projected_seconds) == (33, 64, 32 + 14 * 0.25)
    again = timed(start=read_checkpoint(path))
    assert [report.seconds for report in again.reports] == [33, 66, 67.25]
    assert [report.projected_seconds for report in again.reports] == [35.5, 67.25, 67.25]
    assert (again.outcome.seconds, again.outcome.evaluation_seconds) == (67.25, 192)
    timed((8,), stop_after(1))  # one step an epoch: the speed is known after the second step of a run
    single = timed((8,), start=read_checkpoint(path))
    assert [report.projected_seconds for report in single.reports] == [None, None, 64.25]


@pytest.mark.parametrize(
    ("sizes", "changed", "fields"),
    [
        ((40,), {"learning_rate": 0.01}, ["training.learning_rate"]),
        ((40,), {"max_epochs": 9}, ["training.max_epochs"]),
        ((40,), {"metric": "mcc"}, ["training.metric"]),
        ((48,), {}, ["windows"]),
        ((40, 48), {}, ["validation windows", "windows"]),
        ((40,), {"values": False}, ["network.has_regression"]),
        ((40,), {"l1": 0.1, "l2": 0.2}, ["training.l1", "training.l2"]),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_with_the_fields_that_differ(probe, sizes, changed, fields):
    reports = []
    with pytest.raises(CheckpointError) as caught:
        Training(sizes, **changed).run(reports.append, start=read_checkpoint(probe))
    assert caught.value.violations == tuple(Violation(field, "other-training") for field in fields)
    assert reports == []


# ---------------------------------------------------------------------- the file


def assert_refused(path, code):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def save_with_checksum(path, content):
    if not isinstance(content, bytes):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        content = buffer.getvalue()
    path.write_bytes(hashlib.sha256(content).digest() + content)


def test_wherever_a_bit_is_wrong_or_the_file_ends_early_it_is_refused(probe):
    """torch would read a wrong weight without an error, and uninitialised memory where a bit says "folder"."""
    content = probe.read_bytes()
    weight = read_checkpoint(probe).states["fold 1"]["network"]["lstm.layers.0.weight_hh_l0"].numpy().tobytes()
    folder = content.find(b"PK\x01\x02") + 38  # external attributes of the archive's first file
    places = np.random.default_rng(0).integers(len(content), size=20).tolist()
    for place in [*places, 0, len(content) - 1, content.find(weight) + 5, folder]:
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        for part in (damaged, content[:place]):
            probe.write_bytes(part)
            assert_refused(probe, "checkpoint-checksum")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"some text", [1, 2], {"format": FORMAT + 1}, {"epoch": 1}])
def test_other_files_and_other_versions_are_refused(tmp_path, content):
    save_with_checksum(tmp_path / "other.pt", content)
    assert_refused(tmp_path / "other.pt", "not-a-checkpoint" if isinstance(content, bytes) else "checkpoint-version")
    assert_refused(tmp_path / "missing.pt", "checkpoint-unreadable")


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_in_the_file_is_run(tmp_path):
    path, trap = tmp_path / "checkpoint.pt", tmp_path / "made by the file"
    save_with_checksum(path, {"format": FORMAT, "epoch": Trap(trap)})
    assert_refused(path, "not-a-checkpoint")
    assert not trap.exists()
    torch.load(io.BytesIO(path.read_bytes()[32:]), weights_only=False)
    assert trap.exists()  # the trap works


def test_a_failed_write_leaves_the_old_file_alone(probe, monkeypatch, tmp_path):
    checkpoint, content, save = read_checkpoint(probe), probe.read_bytes(), torch.save

    class FullDisk:
        def __init__(self, file):
            self.file, self.left = file, 5000

        def write(self, data):
            self.left -= len(data)
            if self.left < 0:
                raise OSError(28, "No space left on device")
            return self.file.write(data)

    monkeypatch.setattr(torch, "save", lambda content, file: save(content, FullDisk(file)))
    with pytest.raises(OSError, match="No space left") as caught:
        write_checkpoint(probe, checkpoint)
    assert (caught.value.errno, caught.value.filename) == (28, str(probe))
    assert probe.read_bytes() == content
    assert list(tmp_path.iterdir()) == [probe]


def test_a_lack_of_memory_while_reading_is_not_blamed_on_the_file(probe, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *_, **__: torch.empty(10**15))
    with pytest.raises(RuntimeError) as caught:
        last_good(probe)
    assert not isinstance(caught.value, CheckpointError)


# ---------------------------------------------------------------------- the newest and the previous one


@pytest.fixture
def two(tmp_path):
    """The newest and the previous checkpoint of a training that was killed in its fourth epoch."""
    path = tmp_path / "trial_00007.pt"
    Training().run(stop_after(3), save=path)
    return path, tmp_path / "trial_00007.pt.previous"


def test_a_damaged_newest_costs_an_epoch_and_a_warning(two, caplog):
    newest, previous = two
    assert set(newest.parent.iterdir()) == {newest, previous}
    assert (last_good(newest).epoch, read_checkpoint(previous).epoch, caplog.records) == (3, 2, [])
    newest.write_bytes(newest.read_bytes()[:-1] + b"?")
    start = last_good(newest)
    assert (start.name, start.epoch) == (str(previous), 2)
    assert [(record.levelname, str(newest) in record.message) for record in caplog.records] == [("WARNING", True)]
    assert_same_end(Training().run(), Training(seed=5).run(start=start))
    previous.write_bytes(b"")
    assert last_good(newest) is None
    assert len(caplog.records) == 3
    assert last_good(newest.parent / "a" / "b.pt") is None
    assert len(caplog.records) == 3


class Killed(BaseException):
    """Ends a write at once."""


@pytest.mark.parametrize(
    ("calls", "found"),
    [(0, {"trial.pt": 3}), (1, {"trial.pt.previous": 3}), (2, {"trial.pt.previous": 3, "trial.pt": 4})],
)
def test_wherever_a_write_is_killed_a_whole_checkpoint_is_found(monkeypatch, tmp_path, calls, found):
    """Before the first rename, between the two, and after them."""
    path, later, folder = tmp_path / "run" / "trial.pt", tmp_path / "later.pt", tmp_path / "run"
    Training().run(stop_after(4), save=later)
    Training().run(stop_after(3), save=path)
    delete_checkpoint(path.with_name("trial.pt.previous"))
    checkpoint, rename, left = read_checkpoint(later), Path.replace, iter([True] * calls)

    def killed(self, target):
        if not next(left, False):
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(Path, "unlink", lambda self, missing_ok: None)  # a killed process removes nothing
        try:
            write_checkpoint(path, checkpoint)
        except Killed:
            assert calls < 2
    assert {file.name: read_checkpoint(file).epoch for file in folder.iterdir() if file.suffix != ".part"} == found
    assert any(folder.glob(".trial.pt.*.part")) is (calls < 2)
    remove_parts(folder)  # as a resumed run does
    start = last_good(path)
    assert start.epoch == max(found.values())
    assert_same_end(Training().run(), Training(seed=5).run(start=start, save=path))
    assert {file.name for file in folder.iterdir()} == {"trial.pt", "trial.pt.previous"}
    assert last_good(path).finished


def test_deleting_removes_all_of_one_training_and_nothing_else(two):
    newest, previous = two
    new_part(newest).write_bytes(b"half")
    other = shutil.copy(newest, newest.with_name("trial_00008.pt"))
    delete_checkpoint(newest)
    assert list(newest.parent.iterdir()) == [other]
    delete_checkpoint(newest)
    delete_checkpoint(previous.parent / "gone" / "x.pt")
