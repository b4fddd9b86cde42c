"""Checkpoints: their files, what a resumed training reports, and how damage, other versions and kills end."""

import hashlib
import io
import itertools
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


def test_earlier_evaluations_are_reported_again_and_stored_as_first_reported(tmp_path):
    path, later, shares = tmp_path / "checkpoint.pt", tmp_path / "later.pt", {"early_reports": (0.5,)}
    earlier = Training(**shares).run(stop_after(2), save=path).evaluated()
    again = Training(**shares).run(start=read_checkpoint(path), save=later).reports
    assert again[:3] == [replace(report, again=True) for report in earlier]
    assert not any(report.again for report in again[3:])
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(again))
    stored = read_checkpoint(later).reports
    assert list(stored[:3]) == earlier
    assert [(report.epoch, report.again) for report in stored] == [(n, False) for n in (0.6, 1, 2, 3, 4, 5)]


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
    assert Training().run(lambda report: decision).saved == []  # within the first epoch
    assert ended.saved == [(1, False, CONTINUE), (2, False, CONTINUE), (3, False, decision)]
    for start in (None, read_checkpoint(probe)):
        assert Training().run(start=start).saved == [(n, n == EPOCHS, CONTINUE) for n in range(1, EPOCHS + 1)]
    one = Training(max_epochs=1).run(lambda report: decision if report.epoch == 1 else CONTINUE)
    assert one.saved == [(1, True, decision)]


FINISHED = {"pruned after the last epoch": {}, "no regression": {"values": False}}
FINISHED |= {"patience": {"max_epochs": 40, "min_patience": 3, "scheduler": "exponential"}}
FINISHED |= {"dropout rises": {"dropout_schedule": "linear"}}


@pytest.mark.parametrize("ended", FINISHED)
def test_a_finished_checkpoint_trains_nothing_and_has_the_same_end(tmp_path, ended):
    path, again_path, options = tmp_path / "finished.pt", tmp_path / "again.pt", FINISHED[ended]
    whole = Training(**options).run(stop_after(EPOCHS) if "pruned" in ended else go_on, save=path)
    net, passes = network(has_regression=options.get("values", True), seed=7), []
    net.register_forward_hook(lambda *_: passes.append(1))
    again = Training(net=net, **options).run(start=read_checkpoint(path), save=again_path)
    assert_same_end(whole, again)
    assert passes == []
    assert again.curve() == whole.curve()
    assert all(report.again for report in again.reports)
    for time in ("seconds", "projected_seconds", "evaluation_seconds"):
        assert getattr(whole.outcome, time) == getattr(again.outcome, time)
    assert again.saved == whole.saved[-1:] == [(whole.outcome.epochs, True, whole.outcome.decision)]
    assert_same_states(path, again_path)
    assert {module.p for module in net.modules() if isinstance(module, torch.nn.Dropout)} == {0.1}
    ignored = Training(**options).run(lambda report: Decision(Action.STOP), start=read_checkpoint(path))
    assert_same_end(whole, ignored)


def test_seconds_and_their_projection_count_all_folds_and_across_the_cut(tmp_path, clock):
    """Five steps an epoch, or one; the speed excludes the first step of each run."""
    path = tmp_path / "checkpoint.pt"

    def timed(sizes=(16, 24), on_report=go_on, start=None):
        training = Training(sizes, max_epochs=3)
        clock(*training.networks)
        outcome = training.run(on_report, start=start, save=path).outcome
        return [report.projected_seconds for report in training.reports], outcome.seconds, outcome.evaluation_seconds

    assert timed(on_report=stop_after(1)) == ([35.5, 35.5], 33, 2 * 64)
    assert timed(start=read_checkpoint(path)) == ([35.5, 67.25, 67.25], 67.25, 6 * 64)
    timed((8,), stop_after(1))
    assert timed((8,), start=read_checkpoint(path))[0] == [None, None, 64.25]


OTHER = [({"learning_rate": 0.01}, ["training.learning_rate"]), ({"max_epochs": 9}, ["training.max_epochs"])]
OTHER += [({"metric": "mcc"}, ["training.metric"]), ({"values": False}, ["network.has_regression"])]
OTHER += [({"sizes": (48,)}, ["windows"]), ({"sizes": (40, 48)}, ["validation windows", "windows"])]


@pytest.mark.parametrize(("changed", "fields"), [*OTHER, ({"l1": 0.1, "l2": 0.2}, ["training.l1", "training.l2"])])
def test_a_checkpoint_of_another_training_is_refused_with_the_fields_that_differ(probe, changed, fields):
    reports = []
    with pytest.raises(CheckpointError) as caught:
        Training(**changed).run(reports.append, start=read_checkpoint(probe))
    assert caught.value.violations == tuple(Violation(field, "other-training") for field in fields)
    assert reports == []


def assert_refused(path, code):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert (caught.value.code, str(path) in message, "\n" in message) == (code, True, False)


def save_with_checksum(path, content):
    if not isinstance(content, bytes):
        torch.save(content, buffer := io.BytesIO())
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


def test_no_code_in_the_file_is_run(tmp_path):
    path, trap = tmp_path / "checkpoint.pt", tmp_path / "made by the file"
    harmful = type("Harmful", (), {"__reduce__": lambda self: (os.mkdir, (str(trap),))})
    save_with_checksum(path, {"format": FORMAT, "epoch": harmful()})
    assert_refused(path, "not-a-checkpoint")
    assert not trap.exists()
    torch.load(io.BytesIO(path.read_bytes()[32:]), weights_only=False)
    assert trap.exists()  # the trap works


def test_a_failed_write_leaves_the_old_file_alone(probe, monkeypatch, tmp_path):
    checkpoint, content, save = read_checkpoint(probe), probe.read_bytes(), torch.save

    class FullDisk(io.BytesIO):
        def write(self, data):
            if self.tell() > 5000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(torch, "save", lambda content, file: save(content, FullDisk()))
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
    assert [last_good(newest), last_good(newest.parent / "a" / "b.pt")] == [None, None]
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
    assert any(folder.glob(".trial.pt.*.part")) is (calls < 2)
    remove_parts(folder)  # as a resumed run does
    assert {file.name: read_checkpoint(file).epoch for file in folder.iterdir()} == found
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
