"""Probes and what goes on from them: real trainings, real checkpoints, and what becomes of the files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings, TrainingSettings, parse_space
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.execution import CTRL_C, FINISHED, StopSignal, run_trials
from cnn_lstm_hyperopt.progress import CONTINUE, Decision, ProgressReport
from cnn_lstm_hyperopt.search import Limits, SkillGate, State, Study, StudyPlan, StudyStorage, TrialRecord, with_fixed
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

EPOCHS, PROBES, CONTINUED = 3, 6, 2
SPACE, _ = parse_space(
    {
        "cnn": {"num_filters": [4, 8], "attention": False},
        "lstm": {"hidden_dim": [8, 16], "num_layers": 1, "attention": False},
        "fusion": {"method": "gated", "dim": 8},
        "training": {"batch_size": 64},
    }
)


@dataclass
class House:
    """A study on disk, and what trains its trials; a study can be opened as often as wanted."""

    folder: Path
    runner: TrialRunner
    opened: list[StudyStorage]

    def study(self, worker: int | None = None, **changed: Any) -> Study:
        """Opens it, or makes it."""
        path = self.folder / "study.db"
        self.opened.append(StudyStorage(path, create=None if path.exists() else "probes"))
        plan: dict[str, Any] = {
            "space": SPACE,
            "sampler": SamplerSettings(type="gp", n_startup_trials=PROBES + CONTINUED, probes=True),
            "pruner": PrunerSettings(type="none"),
            "seed": 2,
            "n_trials": PROBES + CONTINUED + 1,
            "max_epochs": EPOCHS,
            "limits": Limits(),
            "gate": SkillGate(0.5, 400),
            "cost": self.runner.cost,
        }
        return Study(self.opened[-1], StudyPlan(**{**plan, **changed}), worker=worker)

    @property
    def checkpoints(self) -> Path:
        """Where probes' states lie."""
        return self.folder / "checkpoints"

    def states(self) -> set[int]:
        """Numbers of the trials whose state is kept."""
        return {int(path.name.split(".")[0].removeprefix("trial_")) for path in self.checkpoints.glob("*")}

    def run(self, study: Study, stop: StopSignal | None = None, observers: tuple[Any, ...] = ()) -> str:
        """To its end."""
        return run_trials(
            study, self.runner, stop=stop or StopSignal(), observers=observers, checkpoints=self.checkpoints
        )


@pytest.fixture(params=[1, 3], ids=["one fold", "three folds"])
def house(request: pytest.FixtureRequest, tmp_path: Path, apple: Callable[..., Dataset], speeds: CostModel) -> Any:
    """A tiny one, and the same with trials that train on several folds side by side."""
    data = apple(lookback=10, cv_folds=request.param).with_train_share(0.25).for_trials()
    assert len(data.folds) == request.param
    runner = TrialRunner(data, TrainingSettings(max_epochs=EPOCHS), seed=2, device=torch.device("cpu"), speeds=speeds)
    built = House(tmp_path, runner, [])
    yield built
    for storage in built.opened:
        storage.close()


def continued(records: list[TrialRecord]) -> list[TrialRecord]:
    """Trials that went on from a probe."""
    return [record for record in records if record.continues is not None]


def test_a_continued_trial_is_what_its_probe_would_have_become_and_costs_what_it_adds(house: House) -> None:
    study = house.study()
    assert house.run(study) == FINISHED
    records = study.records()
    probes = [record for record in records if record.probe]
    assert [len(probes), len(continued(records))] == [PROBES, CONTINUED]
    assert all(len(probe.curve) == 1 and probe.state is State.PRUNED for probe in probes)
    for trial in continued(records):
        probe = records[trial.continues or 0]
        assert trial.params == probe.params
        assert trial.curve[0] == probe.curve[0]
        assert len(trial.curve) == EPOCHS
        assert trial.own_seconds == pytest.approx(trial.seconds - probe.seconds)
        assert trial.attributes["measured_seconds"] == pytest.approx(trial.own_seconds)
        assert "trained_anew" not in trial.attributes
        # A training that was never cut, with the probe's number, has the very same curve.
        assert uncut(house.runner, probe) == [(point.epoch, point.score) for point in trial.curve]


def uncut(runner: TrialRunner, probe: TrialRecord) -> list[tuple[float, float]]:
    """Epochs and accuracies of a probe that is not ended."""
    seen: list[tuple[float, float]] = []

    def on_report(report: ProgressReport) -> Decision:
        if report.score is not None:
            seen.append((report.epoch, report.score))
        return CONTINUE

    runner.run_trial(probe.number, with_fixed(SPACE, probe.params), on_report)
    return seen


@pytest.mark.mostly_slow(1)
def test_states_are_kept_as_long_as_a_probe_may_be_continued_and_no_longer(house: House) -> None:
    house.run(house.study(n_trials=PROBES))
    assert house.states() == set(range(PROBES))
    house.run(house.study(n_trials=PROBES + 1))
    study = house.study()
    assert house.states() == set(range(PROBES)) - {continued(study.records())[0].continues}
    house.run(study)
    assert house.states() == set()


def test_a_state_that_another_worker_is_about_to_read_is_not_swept_away(house: House) -> None:
    house.run(house.study(n_trials=PROBES))
    mine, other = house.study(worker=1), house.study(worker=2)
    assignments = [mine.next_assignment() for _ in range(CONTINUED)]  # claimed, and not yet begun
    assert all(getattr(assignment, "continues", None) is not None for assignment in assignments)
    other_trial = other.next_assignment()
    assert other.continues_probes
    other.finish(other_trial, State.FAIL, None, {"reason": "interrupted: by the test"})  # type: ignore[arg-type]
    for assignment in assignments:
        mine.finish(assignment, State.PRUNED, None, {"reason": "limit: of the test"})  # type: ignore[arg-type]
    assert not other.continues_probes


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:500])])
def test_a_lost_or_damaged_state_is_said_and_the_trial_trains_from_its_beginning(
    house: House, damage: Callable[[Path], Any]
) -> None:
    house.run(house.study(n_trials=PROBES))
    for path in house.checkpoints.glob("*"):
        damage(path)
    study = house.study(n_trials=PROBES + 1)
    assert house.run(study) == FINISHED
    (trial,) = continued(study.records())
    assert "trial_" in trial.attributes["trained_anew"]
    assert len(trial.curve) == EPOCHS
    assert trial.state is State.COMPLETE
    assert trial.own_seconds == trial.seconds


class Impatient:
    """Ends the run after an epoch, in good order or as a kill does, which nothing catches."""

    def __init__(self, epoch: float, stop: StopSignal | None = None) -> None:
        self.epoch, self.stop = epoch, stop

    def on_trial_start(self, assignment: Any) -> None:
        """Nothing to do."""

    def on_trial_report(self, assignment: Any, report: Any) -> None:
        """Ends it."""
        if report.epoch == self.epoch and not report.again:
            if self.stop is None:
                raise Killed
            self.stop.end(CTRL_C)

    def on_trial_trained(self, assignment: Any, trained: Any) -> None:
        """Nothing to do."""

    def on_trial_end(self, record: Any, trained: Any) -> None:
        """Nothing to do."""


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("kill", [False, True], ids=["ctrl-c", "kill"])
def test_a_continued_trial_that_is_cut_off_goes_on_from_where_it_was(house: House, kill: bool) -> None:
    """Under its number, to the same curve; its own state counts, and where there is none yet, the probe's."""
    house.run(house.study(n_trials=PROBES))
    stop = None if kill else StopSignal()
    try:
        house.run(house.study(), stop=stop, observers=(Impatient(2, stop),))
    except Killed:
        house.opened[-1].pause_orphans()
    (cut,) = continued(house.study().records())
    assert cut.state is State.WAITING
    study = house.study(n_trials=PROBES + 1)
    house.run(study)
    (whole,) = continued(study.records())
    assert (whole.number, whole.state, whole.retry_of) == (cut.number, State.COMPLETE, None)
    probe = study.records()[whole.continues or 0]
    assert "trained_anew" not in whole.attributes
    assert uncut(house.runner, probe) == [(point.epoch, point.score) for point in whole.curve]
    assert whole.attributes["measured_seconds"] == pytest.approx(whole.own_seconds)
    assert probe.number not in house.states()
    assert whole.number not in house.states()


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("epoch", [1, 2])
def test_any_trial_that_is_cut_off_becomes_what_it_would_have(house: House, epoch: int) -> None:
    plan = {"sampler": SamplerSettings(type="random"), "n_trials": 2}
    for observers in ((Impatient(epoch),), ()):
        study = house.study(**plan)
        study.storage.pause_orphans()
        try:
            house.run(study, observers=observers)
        except Killed:
            assert house.states() == (
                {0} if epoch == 2 else set()
            )  # the first report comes before its epoch's state is kept
    assert [record.state for record in study.records()] == [State.COMPLETE] * 2
    for record in study.records():
        assert uncut(house.runner, record) == [(point.epoch, point.score) for point in record.curve]
    assert house.states() == set()
