"""A training that was stopped after an epoch and goes on from a file is the one that was never stopped, to the bit.

``test_resume`` does that for every choice of optimiser, schedules and balancing.
"""

import hashlib
import io
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.errors import CheckpointError
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision
from cnn_lstm_hyperopt.training import (
    ValueScale,
    delete_checkpoint,
    evaluate,
    last_good,
    read_checkpoint,
    train,
    write_checkpoint,
)
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.checkpoint import FORMAT
from cnn_lstm_hyperopt.training.runtime.device import seeded_dropout
from cnn_lstm_hyperopt.training.runtime.precision import supported_precisions
from cnn_lstm_hyperopt.utils.atomic_io import new_part, remove_parts

CPU, SCALE = torch.device("cpu"), ValueScale(5.0, 3.0)
EPOCHS, LATE = 5, 4
PRUNE = Decision(Action.PRUNE, "a probe")
EVERYTHING = {
    "optimizer": "rmsprop",
    "scheduler": "plateau",
    "balancing": "dynamic",
    "dropout_schedule": "cosine",
    "weight_decay": 1e-3,
    "label_smoothing": 0.1,
    "l1": 1e-4,
    "l2": 1e-4,
    "augmentation": AugmentationConfig(jitter=0.1, scaling=0.2, time_masking=0.5, mixup=0.4),
    "early_reports": (0.25, 0.5),
}
VARIANTS: dict[str, dict[str, Any]] = {
    "everything": EVERYTHING,
    "no regression": {"values": False},
    "bfloat16": {"precision": "bfloat16"},
}


def stop_after(epoch: float) -> Callable[[Any], Decision]:
    return lambda report: PRUNE if report.epoch == epoch and report.loss is not None else CONTINUE


def go_on(report: Any) -> Decision:
    return CONTINUE


class Run:
    """One training: its outcome, network, reports, and what was decided at each epoch's end."""

    def __init__(self, parts: SimpleNamespace, **options: Any) -> None:
        start, keep = options.pop("start", None), options.pop("keep", {})
        seed, on_report = options.pop("seed", 0), options.pop("on_report", go_on)
        values, windows = options.pop("values", True), options.pop("windows", 40)
        self.network = options.pop("net", None) or parts.network(has_regression=values, seed=seed)
        self.reports: list[Any] = []
        self.decisions: list[tuple[int, Decision]] = []

        def listen(report):
            self.reports.append(report)
            return on_report(report)

        def on_epoch_end(decision, take):
            epoch = int(self.reports[-1].epoch)
            self.decisions.append((epoch, decision))
            if epoch in keep:
                write_checkpoint(keep[epoch], take())

        # Labels without a pattern: validation gets worse, so the plateau schedule and patience have something to do.
        train_windows, validation = (parts.windows(n, s, values=values, noise=True) for n, s in ((windows, 1), (24, 2)))
        with seeded_dropout(seed, CPU):
            self.outcome = train(
                self.network,
                train_windows,
                validation,
                parts.config(**{"max_epochs": EPOCHS, "learning_rate": 0.03, **options}),
                scale=SCALE,
                generator=torch.Generator().manual_seed(seed),
                on_report=listen,
                start=start,
                on_epoch_end=on_epoch_end,
            )
        self.validation = validation

    def scores(self) -> list[tuple[float, float, float, bool]]:
        """All that was told with an evaluation."""
        return [(r.epoch, r.score, r.loss, r.last) for r in self.reports if r.loss is not None]


@pytest.fixture
def run(monkeypatch, make_network, make_windows, make_config) -> Callable[..., Run]:
    """``run(start=…, keep={epoch: file}, on_report=…, seed=…, values=…, windows=…, net=…, **config)``."""
    monkeypatch.setattr("cnn_lstm_hyperopt.training.trainer.LOOK_SECONDS", math.inf)
    parts = SimpleNamespace(network=make_network, windows=make_windows, config=make_config)
    return lambda **options: Run(parts, **options)


@pytest.fixture
def probe(run, tmp_path) -> Path:
    """The checkpoint of a training that was stopped after its first epoch."""
    path = tmp_path / "probe.pt"
    run(keep={1: path}, on_report=stop_after(1))
    return path


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in nested dicts, lists and tuples, tensors as arrays."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{name}.{place}")
    else:
        yield name, value.numpy() if isinstance(value, torch.Tensor) else value


def assert_same(first: Any, second: Any) -> None:
    np.testing.assert_equal(dict(leaves(first)), dict(leaves(second)))


def assert_same_end(whole: Run, again: Run) -> None:
    a, b = whole.outcome, again.outcome
    assert (b.best_epoch, b.epochs, b.decision) == (a.best_epoch, a.epochs, a.decision)
    assert (b.best.loss, b.best.accuracy, b.best.mse) == (a.best.loss, a.best.accuracy, a.best.mse)
    np.testing.assert_array_equal(b.best.predictions.probabilities, a.best.predictions.probabilities)
    np.testing.assert_equal(b.best.predictions.values, a.best.predictions.values)
    assert_same(whole.network.state_dict(), again.network.state_dict())


# ---------------------------------------------------------------------- to the bit


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_it_goes_on_as_if_it_had_not_been_stopped(run, tmp_path, variant, cut):
    """Late states are compared whole: the weights at the end are those of the best epoch, perhaps one before the cut."""
    options = VARIANTS[variant]
    if options.get("precision") == "bfloat16" and "bfloat16" not in supported_precisions(CPU):
        pytest.skip("this processor has no bfloat16")
    at_cut, late, late_again = (tmp_path / name for name in ("cut", "late", "late again"))
    whole = run(keep={LATE: late}, **options)
    stopped = run(keep={cut: at_cut}, on_report=stop_after(cut), **options)
    assert (stopped.outcome.epochs, stopped.outcome.decision) == (cut, PRUNE)

    again = run(start=read_checkpoint(at_cut), keep={LATE: late_again}, seed=7, **options)
    assert_same_end(whole, again)
    assert stopped.scores() == whole.scores()[: len(stopped.scores())]
    assert again.scores() == whole.scores()
    assert all(report.loss is not None for report in again.reports)  # the first look was before the cut
    there, here = read_checkpoint(late), read_checkpoint(late_again)
    assert there.states.keys() == here.states.keys()
    for part in there.states.keys() - {"stopwatch"}:
        assert_same(there.states[part], here.states[part])


def test_the_schedule_and_the_balancing_move_across_the_cut(run, tmp_path):
    """The variants above would prove nothing if these stood still."""
    paths = {epoch: tmp_path / str(epoch) for epoch in range(1, EPOCHS)}
    run(keep=paths, **EVERYTHING)
    states = [read_checkpoint(path).states["fold 1"] for path in paths.values()]
    assert states[-1]["optimizer"]["param_groups"][0]["lr"] < 0.03
    assert states[0]["balancing"]["factors"] == (1.0, 1.0)
    assert len({state["balancing"]["factors"] for state in states}) == EPOCHS - 1
    assert any(state["schedule"]["num_bad_epochs"] > 0 for state in states)
    run(keep=paths, balancing="uncertainty")
    learnt = [read_checkpoint(path).states["fold 1"]["balancing"]["log_variances"] for path in paths.values()]
    assert not torch.equal(learnt[0], learnt[-1])


def test_a_training_can_be_stopped_after_every_epoch(run, tmp_path):
    whole, path, start = run(**EVERYTHING), tmp_path / "checkpoint.pt", None
    for epoch in range(1, EPOCHS):
        run(start=start, keep={epoch: path}, on_report=stop_after(epoch), seed=epoch - 1, **EVERYTHING)
        start = read_checkpoint(path)
    again = run(start=start, seed=9, **EVERYTHING)
    assert_same_end(whole, again)
    assert again.scores() == whole.scores()


def test_patience_counts_across_the_cut(run, tmp_path):
    options, path = {"max_epochs": 40, "min_patience": 3, "scheduler": "exponential"}, tmp_path / "checkpoint.pt"
    whole = run(**options)
    ended = int(whole.outcome.epochs)
    assert whole.outcome.best_epoch < ended - 1 < 39
    run(keep={ended - 1: path}, on_report=stop_after(ended - 1), **options)
    again = run(start=read_checkpoint(path), seed=3, **options)
    assert_same_end(whole, again)
    assert again.scores()[-1] == whole.scores()[-1]
    assert again.reports[-1].last


def test_the_best_epoch_before_the_cut_stays_the_best(run, tmp_path):
    """A learning rate that spoils the network: what was kept before the cut comes out in the end."""
    whole, path = run(learning_rate=0.1), tmp_path / "checkpoint.pt"
    cut = whole.outcome.best_epoch + 1
    assert cut < EPOCHS
    run(keep={cut: path}, on_report=stop_after(cut), learning_rate=0.1)
    again = run(start=read_checkpoint(path), seed=3, learning_rate=0.1)
    assert_same_end(whole, again)
    assert evaluate(again.network, again.validation, SCALE).loss == again.outcome.best.loss


def test_the_best_weights_are_written_once_when_they_are_the_last(run, tmp_path):
    """A probe's only epoch is its best: the file need not hold its weights twice."""
    paths = {1: tmp_path / "1", EPOCHS - 1: tmp_path / "late"}
    assert run(keep=paths, learning_rate=0.1).outcome.best_epoch < EPOCHS - 1
    first, late = (read_checkpoint(path).states["fold 1"] for path in paths.values())
    assert_same(first["network"], first["best"]["weights"])
    assert not torch.equal(*(part["classify.weight"] for part in (late["network"], late["best"]["weights"])))
    weights = sum(weight.nbytes for weight in first["network"].values())
    assert paths[EPOCHS - 1].stat().st_size - paths[1].stat().st_size >= weights


# ---------------------------------------------------------------------- what is told and asked


def test_earlier_evaluations_are_told_again_with_their_seconds(run, tmp_path):
    path, shares = tmp_path / "checkpoint.pt", {"early_reports": (0.5,)}
    stopped = run(keep={2: path}, on_report=stop_after(2), **shares)
    again = run(start=read_checkpoint(path), **shares)
    earlier = [report for report in stopped.reports if report.loss is not None]
    assert [report.epoch for report in earlier] == [0.6, 1, 2]
    assert again.reports[: len(earlier)] == [replace(report, again=True) for report in earlier]
    assert not any(report.again for report in again.reports[len(earlier) :])
    assert all(a.seconds < b.seconds for a, b in zip(again.reports, again.reports[1:], strict=False))


def test_of_the_answers_to_what_is_told_again_only_the_last_counts(run, tmp_path):
    path, kept = tmp_path / "checkpoint.pt", tmp_path / "kept.pt"
    run(keep={2: path}, on_report=stop_after(2))
    assert run(start=read_checkpoint(path), on_report=stop_after(1)).outcome.epochs == EPOCHS
    ended = run(start=read_checkpoint(path), on_report=stop_after(2), keep={2: kept})
    assert (ended.outcome.epochs, ended.outcome.decision) == (2, PRUNE)
    assert evaluate(ended.network, ended.validation, SCALE).loss == ended.outcome.best.loss
    assert_same(read_checkpoint(path).states, read_checkpoint(kept).states)


def test_what_is_told_again_is_kept_as_it_was_told_first(run, tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    run(keep={1: first}, on_report=stop_after(1))
    run(start=read_checkpoint(first), keep={2: second}, on_report=stop_after(2))
    reports = read_checkpoint(second).reports
    assert reports[:1] == read_checkpoint(first).reports
    assert [(report.epoch, report.again) for report in reports] == [(1, False), (2, False)]


@pytest.mark.parametrize("action", [Action.PRUNE, Action.STOP])
def test_the_end_of_every_epoch_is_told_with_its_decision(run, probe, action):
    decision = Decision(action, "enough")
    ended = run(on_report=lambda report: decision if report.epoch >= 3 else CONTINUE)
    assert ended.decisions == [(1, CONTINUE), (2, CONTINUE), (3, decision)]
    assert [epoch for epoch, _ in run().decisions] == [1, 2, 3, 4, 5]
    assert [epoch for epoch, _ in run(start=read_checkpoint(probe)).decisions] == [1, 2, 3, 4, 5]
    one = run(max_epochs=1, on_report=lambda report: decision if report.epoch == 1 else CONTINUE)
    assert one.decisions == [(1, decision)]


def test_a_checkpoint_says_what_was_decided_and_whether_there_is_more_to_train(run, tmp_path):
    paths = {epoch: tmp_path / str(epoch) for epoch in range(1, EPOCHS + 1)}
    run(keep=paths)
    kept = {epoch: read_checkpoint(path) for epoch, path in paths.items()}
    assert {epoch: (c.epoch, c.finished, c.decision) for epoch, c in kept.items()} == {
        epoch: (epoch, epoch == EPOCHS, CONTINUE) for epoch in paths
    }
    run(keep=paths, on_report=stop_after(3))
    pruned = read_checkpoint(paths[3])
    assert (pruned.finished, pruned.decision) == (False, PRUNE)


def test_listening_and_taking_do_not_change_a_training(run, tmp_path):
    assert_same_end(run(), run(keep=dict.fromkeys(range(1, EPOCHS + 1), tmp_path / "checkpoint.pt")))


# ---------------------------------------------------------------------- finished


FINISHED: dict[str, dict[str, Any]] = {
    "all epochs": {},
    "patience": {"max_epochs": 40, "min_patience": 3, "scheduler": "exponential"},
    "pruned after the last epoch": {"on_report": stop_after(EPOCHS)},
    "no regression": {"values": False},
    "dropout rises": {"dropout_schedule": "linear"},
}


@pytest.mark.parametrize("ended", FINISHED)
def test_from_a_finished_one_nothing_is_trained_and_the_end_is_the_same(run, make_network, tmp_path, ended):
    path, again_path, options = tmp_path / "finished.pt", tmp_path / "again.pt", FINISHED[ended]
    whole = run(keep=dict.fromkeys(range(1, 41), path), **options)
    last = int(whole.outcome.epochs)
    net, passes = make_network(has_regression=options.get("values", True), seed=7), []
    net.register_forward_hook(lambda *_: passes.append(1))
    start = read_checkpoint(path)
    assert (start.epoch, start.finished) == (last, True)
    again = run(net=net, start=start, keep={last: again_path}, **options | {"on_report": go_on})
    assert passes == []
    assert_same_end(whole, again)
    assert again.scores() == whole.scores()
    assert all(report.again for report in again.reports)
    assert [report.last for report in again.reports][-1]
    a, b = whole.outcome, again.outcome
    assert (b.seconds, b.projected_seconds, b.evaluation_seconds) == (
        a.seconds,
        a.projected_seconds,
        a.evaluation_seconds,
    )
    assert again.decisions == [(last, whole.outcome.decision)]
    assert_same(read_checkpoint(path).states, read_checkpoint(again_path).states)
    rates = [module.p for module in net.modules() if isinstance(module, torch.nn.Dropout)]
    assert rates == [module.p for module in whole.network.modules() if isinstance(module, torch.nn.Dropout)]


def test_no_answer_ends_what_is_finished(run, tmp_path):
    path = tmp_path / "finished.pt"
    whole = run(keep={EPOCHS: path})
    again = run(start=read_checkpoint(path), on_report=lambda report: PRUNE)
    assert again.outcome.decision == CONTINUE
    assert_same_end(whole, again)


class TestOnAClockOfOurOwn:
    """A run's first step takes 32 seconds, every other one a quarter, an evaluation 64: exact in binary. Five steps an epoch."""

    @pytest.fixture
    def timed(self, monkeypatch, run, make_network):
        def go(**options):
            clock = SimpleNamespace(now=1000.0, warm=False)
            net = make_network()

            def tick(module, args, output):
                if module.training:
                    clock.now += 0.25 if clock.warm else 32.0
                    clock.warm = True
                else:
                    clock.now += 64.0

            net.register_forward_hook(tick)
            monkeypatch.setattr(
                "cnn_lstm_hyperopt.training.trainer.time",
                SimpleNamespace(perf_counter=lambda: clock.now, process_time=lambda: clock.now),
            )
            return run(net=net, max_epochs=3, **options)

        return go

    def test_seconds_count_on(self, timed, tmp_path):
        path = tmp_path / "checkpoint.pt"
        first = timed(keep={1: path}, on_report=stop_after(1)).outcome
        assert (first.seconds, first.evaluation_seconds) == (33, 64)
        again = timed(start=read_checkpoint(path))
        assert [report.seconds for report in again.reports] == [33, 66, 67.25]
        assert (again.outcome.seconds, again.outcome.evaluation_seconds) == (67.25, 192)

    def test_the_projection_leaves_the_first_step_of_each_run_out_of_the_speed(self, timed, tmp_path):
        path = tmp_path / "checkpoint.pt"
        first = timed(keep={1: path}, on_report=stop_after(1))
        assert first.outcome.projected_seconds == 32 + 14 * 0.25
        again = timed(start=read_checkpoint(path))
        assert [report.projected_seconds for report in again.reports] == [35.5, 67.25, 67.25]
        assert again.outcome.projected_seconds == again.outcome.seconds

    def test_with_one_step_an_epoch_the_speed_is_known_after_the_first_step_that_is_not_the_first(
        self, timed, tmp_path
    ):
        path = tmp_path / "checkpoint.pt"
        timed(windows=8, keep={1: path}, on_report=stop_after(1))
        again = timed(windows=8, start=read_checkpoint(path))
        assert [report.projected_seconds for report in again.reports] == [None, None, 64.25]


# ---------------------------------------------------------------------- another training


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"learning_rate": 0.01}, r"training\.learning_rate is 0\.03 there and 0\.01 here"),
        ({"max_epochs": 9}, r"training\.max_epochs is 5 there and 9 here"),
        ({"windows": 48}, r"windows is \[40\] there and \[48\] here"),
        ({"values": False}, r"network\.has_regression is True there and False here"),
        ({"l1": 0.1, "l2": 0.2}, r"training\.l1 is 0\.0 there and 0\.1 here; training\.l2 is 0\.0 there and 0\.2 here"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_with_what_differs(run, probe, changed, told):
    heard: list[Any] = []
    with pytest.raises(CheckpointError, match=rf"probe\.pt is of another training: {told}$"):
        run(start=read_checkpoint(probe), on_report=heard.append, **changed)
    assert heard == []


# ---------------------------------------------------------------------- the file


def assert_refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.95, 0.9999])
def test_a_file_that_was_cut_off_is_refused(probe, share):
    content = probe.read_bytes()
    probe.write_bytes(content[: int(share * len(content))])
    assert "damaged, cut off or no checkpoint" in assert_refused(probe)


def test_wherever_a_bit_is_wrong_the_file_is_refused(probe):
    """torch would read a wrong weight without a word, and where a bit says "folder", whatever lay in memory."""
    content = probe.read_bytes()
    weight = read_checkpoint(probe).states["fold 1"]["network"]["lstm.layers.0.weight_hh_l0"].numpy().tobytes()
    folder = content.find(b"PK\x01\x02") + 38  # external attributes of the archive's first file
    places = np.random.default_rng(0).integers(len(content), size=20).tolist()
    for place in [*places, 0, len(content) - 1, content.find(weight) + 5, folder]:
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        probe.write_bytes(damaged)
        assert "its checksum is wrong" in assert_refused(probe)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    assert assert_refused(tmp_path / "gone.pt").endswith("can't be read: No such file or directory")


def save_whole(path: Path, content: Any) -> None:
    """Any content, with the checksum that is right for it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())


@pytest.mark.parametrize("content", [[1, 2], {"format": FORMAT + 1}, {"epoch": 1}])
def test_another_version_is_refused(tmp_path, content):
    path = tmp_path / "other.pt"
    save_whole(path, content)
    assert "was written by another version" in assert_refused(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"some text"])
def test_what_torch_can_not_read_is_refused(tmp_path, content):
    path = tmp_path / "other.pt"
    path.write_bytes(hashlib.sha256(content).digest() + content)
    assert "is no checkpoint: " in assert_refused(path)


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_no_code_in_the_file_is_run(tmp_path):
    path, trap = tmp_path / "checkpoint.pt", tmp_path / "made by the file"
    save_whole(path, {"format": FORMAT, "epoch": _Evil(trap)})
    assert "is no checkpoint: " in assert_refused(path)
    assert not trap.exists()
    torch.load(io.BytesIO(path.read_bytes()[32:]), weights_only=False)
    assert trap.exists()  # the trap works


def test_what_can_not_be_written_leaves_the_old_file_alone(probe, monkeypatch, tmp_path):
    checkpoint, content = read_checkpoint(probe), probe.read_bytes()

    class Full:
        """A disk with a little room, as torch's writer meets it."""

        def __init__(self, file: Any) -> None:
            self.file, self.left = file, 5000

        def write(self, data: Any) -> int:
            self.left -= len(data)
            if self.left < 0:
                raise OSError(28, "No space left on device")
            return self.file.write(data)

    save = torch.save
    monkeypatch.setattr(torch, "save", lambda content, file: save(content, Full(file)))
    with pytest.raises(OSError, match=rf"No space left on device: '{probe}'"):
        write_checkpoint(probe, checkpoint)
    assert probe.read_bytes() == content
    assert list(tmp_path.iterdir()) == [probe]


def test_what_can_not_be_read_for_lack_of_memory_is_no_fault_of_the_file(probe, monkeypatch):
    """Else a whole checkpoint would be passed over, and epochs trained again."""
    monkeypatch.setattr(torch, "load", lambda *_, **__: torch.empty(10**15))
    with pytest.raises(RuntimeError, match="allocate"):
        last_good(probe)


def test_the_file_can_be_moved_to_a_folder_that_is_made(probe, tmp_path):
    path = tmp_path / "a" / "b.pt"
    write_checkpoint(path, read_checkpoint(probe))
    moved = shutil.move(path, tmp_path / "c.pt")
    assert_same(read_checkpoint(moved).states, read_checkpoint(probe).states)
    assert list(path.parent.iterdir()) == []


# ---------------------------------------------------------------------- the newest and the previous one


@pytest.fixture
def two(run, tmp_path) -> tuple[Path, Path]:
    """The newest and the previous checkpoint of a training that was killed in its fourth epoch."""
    path = tmp_path / "trial_00007.pt"
    run(keep=dict.fromkeys((1, 2, 3), path))
    return path, tmp_path / "trial_00007.pt.previous"


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def test_the_newest_is_gone_on_from_and_the_previous_one_is_kept(two):
    newest, previous = two
    assert set(newest.parent.iterdir()) == {newest, previous}
    assert last_good(newest).epoch == 3
    assert read_checkpoint(previous).epoch == 2


def test_a_damaged_newest_costs_an_epoch_and_is_said(run, two, caplog):
    newest, previous = two
    damage(newest)
    start = last_good(newest)
    assert (start.name, start.epoch) == (str(previous), 2)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert (
        record.message == f"{newest} is damaged, cut off or no checkpoint: its checksum is wrong; going on without it"
    )
    assert_same_end(run(), run(start=start, seed=5))


def test_when_both_are_damaged_there_is_none(two, caplog):
    newest, previous = two
    damage(newest)
    previous.write_bytes(b"")
    assert last_good(newest) is None
    assert [str(newest), str(previous)] == [record.message.split()[0] for record in caplog.records]


def test_where_nothing_is_there_is_none_and_nothing_to_say(tmp_path, caplog):
    assert last_good(tmp_path / "a" / "b.pt") is None
    assert caplog.records == []


class Killed(BaseException):
    """What ends a write where it stands."""


@pytest.mark.parametrize(
    ("calls", "found"),
    [(0, {"trial.pt": 3}), (1, {"trial.pt.previous": 3}), (2, {"trial.pt.previous": 3, "trial.pt": 4})],
)
def test_wherever_a_write_is_cut_off_a_whole_checkpoint_is_found(run, monkeypatch, tmp_path, calls, found):
    """Before the first rename, between the two, and after them; what a killed process leaves beside it does no harm."""
    path, later = tmp_path / "trial.pt", tmp_path / "later"
    run(keep={3: path, 4: later})
    checkpoint, rename = read_checkpoint(later), Path.replace
    later.unlink()
    left = iter([True] * calls)

    def cut_off(self: Path, target: Path) -> Path:
        if not next(left, False):
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut_off)
        patch.setattr(Path, "unlink", lambda self, missing_ok: None)  # a killed process tidies nothing up
        if calls < 2:
            with pytest.raises(Killed):
                write_checkpoint(path, checkpoint)
        else:
            write_checkpoint(path, checkpoint)
    assert {file.name: read_checkpoint(file).epoch for file in tmp_path.iterdir() if file.suffix != ".part"} == found
    assert any(tmp_path.glob(".trial.pt.*.part")) is (calls < 2)
    remove_parts(tmp_path)  # as a run does that goes on
    start = last_good(path)
    assert start.epoch == max(found.values())
    assert_same_end(run(), run(start=start, keep={4: path, 5: path}, seed=5))
    assert {file.name for file in tmp_path.iterdir()} == {"trial.pt", "trial.pt.previous"}
    assert last_good(path).finished


def test_forgetting_removes_all_of_one_training_and_nothing_else(two):
    newest, previous = two
    new_part(newest).write_bytes(b"half")
    other = shutil.copy(newest, newest.with_name("trial_00008.pt"))
    delete_checkpoint(newest)
    assert list(newest.parent.iterdir()) == [other]
    delete_checkpoint(newest)
    delete_checkpoint(previous.parent / "gone" / "x.pt")
