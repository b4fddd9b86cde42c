"""Kills real runs at random moments, as ``kill -9`` does, and resumes them until they end by themselves.

A *story* is one study: it is run, killed, resumed, killed again, left to end, and what it left is checked (``torture.checker``);
for one worker also against a run that nobody disturbed (``torture.comparison``). Short stages are rarely struck at random
moments, so each kill is aimed: at a stage, and at a random moment of the length that the stage had in the undisturbed run. Where
it struck is told afterwards, by what lies in the directory.
"""

import copy
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import yaml

from torture.checker import faults, torn_files
from torture.comparison import differences, unlike_by_number
from torture.stored import StoredStudy, read_study

ROOT = Path(__file__).parents[1]
GIVE_UP = 300.0
"""Seconds after which a run that got no further counts as hung."""
POLL = 0.002

DATA = {
    "source": "embedded",
    "symbols": ["AAPL", "IBM"],
    "start": "2004-01-01",
    "end": "2008-12-31",
    "target": "volatility",
    "lookback": 10,
    "train_share": 0.5,
}
SETTINGS: dict[str, Any] = {
    "study": {"n_trials": 30, "portfolio": False, "time_objective": "estimated"},
    "data": DATA,
    "training": {"max_epochs": 4},
    "pruner": {"type": "median", "n_startup_trials": 3, "n_warmup_steps": 1},
    "sampler": {"type": "tpe", "n_startup_trials": 6},
    "retrain": {"enabled": True, "top_k": 2, "full_epochs": 3, "confirm_seeds": 2, "seeds": 2},
    "mlflow": {"enabled": False},
    "report": False,
    "workers": 1,
    "search_space": {
        "cnn": {"num_filters": [4, 8], "attention_heads": [1, 2]},
        "lstm": {"hidden_dim": [8, 16], "num_layers": [1, 2], "attention_heads": [1, 2]},
        "fusion": {"dim": [8, 16], "attention_heads": [1, 2]},
        "training": {"batch_size": [64, 128], "learning_rate": [1e-3, 2e-2], "optimizer": ["adam", "rmsprop"]},
        "augmentation": {"switch": False},
    },
}
"""Of a study whose trials take a fifth of a second; MLflow and the report, which read what it leaves, have their own tests."""
_GP = {"sampler": {"type": "gp"}, "pruner": {"type": "front"}}
_FOLDS = {"data": {**DATA, "cv_folds": 2}}
SETUPS: dict[str, dict[str, Any]] = {
    "tpe, median": {},
    "gp, front": _GP,
    "tpe, median, 2 folds": _FOLDS,
    "gp, front, 2 folds": {**_GP, **_FOLDS},
    "tpe, median, 2 workers": {"workers": 2},
    "gp, front, 2 workers": {**_GP, "workers": 2},
}
"""What each changes of ``SETTINGS``."""

# Stages as they are seen while a run goes on, in their order, and what is then written to run.log.
START, MAKING, SEARCH, SEARCHED, CONFIRMATION, RETRAINING, SAVING, WRITING, OVER = range(9)
_PHASES = {
    SEARCH: "search",
    SEARCHED: "search ended",
    CONFIRMATION: "confirmation",
    RETRAINING: "retraining",
    WRITING: "results",
    OVER: "finished",
}
"""Names of the phases in run.log."""

STRUCK = (
    "imports, reading data",
    "making the study",
    "opening the study again",
    "search, within a trial",
    "search, between trials",
    "search, a single worker",
    "end of the search",
    "confirmation",
    "retraining",
    "saving models",
    "test period",
    "writing results",
    "after all",
)
"""Where a kill can strike, as told by what lies in the directory."""
WORKER_KILLED = STRUCK[5]


@dataclass(frozen=True)
class Aim:
    """When a run is to be killed.

    Attributes:
        stage: once it is seen, or a later one.
        events: trials that must have started or ended since the run began.
        share: of the stage's length (of a trial's, in the search), which is then waited for.
        victim: ``all`` processes of the run, the ``main`` one alone, or a single ``worker``.
    """

    stage: int
    events: int
    share: float
    victim: str = "all"


@dataclass
class Story:
    """What became of one study.

    Attributes:
        kills: by where they struck.
        found: what is wrong, a line each.
    """

    name: str
    folder: Path
    kills: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Run:
    """A process of the command line, in a session of its own, and what can be seen of it from outside."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.save_dir = folder / "results"
        there = (self.save_dir / "study.db").is_file()
        arguments = ["resume", "--save-dir", self.save_dir] if there else ["run", "--config", folder / "config.yaml"]
        self._log = self.save_dir / "run.log"
        self._read = self._log.stat().st_size if self._log.is_file() else 0
        self.log = ""
        self._saving = False
        self._written: list[int] = []
        self._before = self._counted = self._count_events() if there else 0
        self.errors = folder / "errors.txt"
        self.begun = time.time()
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cnn_lstm_hyperopt", *map(str, arguments)],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=dict(environment),
                start_new_session=True,
            )

    def look(self) -> None:
        """Reads on in ``run.log``."""
        if self._log.is_file():
            with self._log.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            self.log += new.decode("utf-8", errors="replace")

    @property
    def stage(self) -> int:
        """The last one that was seen."""
        seen = [stage for stage, name in _PHASES.items() if f"INFO Phase: {name}\n" in self.log]
        if self.saving_has_begun:
            seen.append(SAVING)
        if self.log or (self.save_dir.is_dir() and not self._read):
            seen.append(MAKING)
        return max(seen, default=START)

    @property
    def events(self) -> int:
        """Starts and ends of trials since it began."""
        written = [_changed(self.save_dir / name) for name in ("study.db", "study.db-wal")]
        if written != self._written:
            self._written, self._counted = written, self._count_events()
        return self._counted - self._before

    def _count_events(self) -> int:
        try:
            return sum(1 + (trial.state != "RUNNING") for trial in read_study(self.save_dir).trials)
        except (sqlite3.Error, ValueError):  # the study is being made
            return 0

    @property
    def saving_has_begun(self) -> bool:
        """Whether it has begun to save the retrained models. Once seen, this stays true: the folders come and go."""
        self._saving = self._saving or self._has_fresh_models()
        return self._saving

    def _has_fresh_models(self) -> bool:
        try:
            return any(path.stat().st_mtime >= self.begun for path in self.save_dir.glob(".retrained_model_*.part"))
        except FileNotFoundError:  # just deleted, or moved to its place
            return True

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Returns whether it came true before the process ended.

        Raises:
            TimeoutError: neither happened.
        """
        deadline = time.monotonic() + GIVE_UP
        while True:
            ended = self.process.poll() is not None
            self.look()
            if condition():
                return True
            if ended:
                return False
            if time.monotonic() > deadline:
                self.kill("all")
                raise TimeoutError(f"the run got no further for {GIVE_UP:g} s; run.log ends with: {self.log[-300:]}")
            time.sleep(POLL)

    def kill(self, victim: str) -> None:
        """All of its processes at once, or the main one alone; then all of them are gone."""
        if victim == "main":
            self.process.kill()
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        deadline = time.monotonic() + 60
        while _in_group(self.process.pid):
            if time.monotonic() > deadline:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise TimeoutError("workers outlived their killed parent for a minute")
            time.sleep(POLL)
        self.look()

    def kill_a_worker(self, random: Random) -> bool:
        """Returns whether there was one."""
        workers = [pid for pid in _in_group(self.process.pid) if pid != self.process.pid]
        if not workers:
            return False
        os.kill(random.choice(workers), signal.SIGKILL)
        return True


def _changed(path: Path) -> int:
    """Time of the last change of a file, in nanoseconds; 0 without the file."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _in_group(group: int) -> list[int]:
    """Living processes of a process group."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == group and fields[0] not in "ZX":
                found.append(int(entry.name))
    return sorted(found)


def settings_of(setup: str, seed: int, folder: Path, **study: Any) -> dict[str, Any]:
    """Settings of a setup with this seed, whose ``save_dir`` is in the folder."""
    settings = copy.deepcopy(SETTINGS | SETUPS[setup])
    settings["study"] |= {"seed": seed, **study}
    settings["save_dir"] = str(folder / "results")
    return settings


def environment_with(cache: Path) -> dict[str, str]:
    """The environment of runs, which measure this machine's speed once for all and keep it in ``cache``."""
    quiet = {
        "CNN_LSTM_HYPEROPT__MLFLOW__ENABLED": "false"
    }  # a follower would slow down what is killed, and adds nothing to it
    return {"CNN_LSTM_HYPEROPT_CACHE": str(cache), **quiet, **os.environ}


@dataclass(frozen=True)
class Reference:
    """A run that nobody disturbed.

    Attributes:
        folder: of what it left.
        lengths: seconds of each of its stages; of the search the mean from one trial's end to the next one's.
    """

    folder: Path
    lengths: dict[int, float]


def undisturbed(settings: Mapping[str, Any], folder: Path, environment: Mapping[str, str]) -> Reference:
    """Runs to the end and takes the time of the stages.

    Raises:
        RuntimeError: it does not end well, or what it leaves is not as promised.
    """
    run = _begin(settings, folder, environment)
    first_seen: dict[int, float] = {}

    def note() -> bool:
        for stage in range(run.stage + 1):
            first_seen.setdefault(stage, time.monotonic())
        return False

    run.wait_until(note)
    found = _end_of(run) or faults(run.save_dir, n_trials=settings["study"]["n_trials"])
    if found:
        raise RuntimeError(f"{folder}: an undisturbed run left: {'; '.join(found)}")
    times = [first_seen[stage] for stage in range(OVER + 1)]
    lengths = {stage: b - a for stage, (a, b) in enumerate(pairwise(times))}
    lengths[SEARCH] /= settings["study"]["n_trials"]
    return Reference(folder, lengths)


def aims(random: Random, count: int, workers: int) -> list[Aim]:
    """Kills in the order of their stages; those of opening the study again come anywhere."""
    weights = {MAKING: 2, SEARCH: 8, SEARCHED: 1.5, CONFIRMATION: 2, RETRAINING: 2, SAVING: 3, WRITING: 2}
    chosen = sorted(random.choices(list(weights), list(weights.values()), k=count))
    victims = ["all", "main"] if workers > 1 else ["all"]
    planned = []
    for stage in chosen:
        # What follows the models' saving, the test, takes a hundred times as long.
        share = random.random() * (random.choice((0.01, 1)) if stage == SAVING else 1)
        planned.append(Aim(stage, random.randrange(7) if stage == SEARCH else 0, share, random.choice(victims)))
    if (
        random.random() < 0.3
    ):  # again and again within one epoch: the first trial after each start is the one that goes on
        planned += [Aim(SEARCH, 1, 0.1 * random.random()) for _ in range(3)]
        planned.sort(key=lambda aim: aim.stage)
    if workers > 1:
        planned += [Aim(SEARCH, random.randrange(1, 4), random.random(), "worker")]
        planned.sort(key=lambda aim: aim.stage)
    if random.random() < 0.3:
        planned.insert(random.randrange(len(planned) + 1), Aim(START, 0, random.random()))
    if random.random() < 0.5:  # a study that is there is killed while it is opened
        planned.insert(random.randrange(1, len(planned) + 1), Aim(MAKING, 0, random.random()))
    return planned


def tell(
    name: str,
    settings: Mapping[str, Any],
    planned: list[Aim],
    folder: Path,
    *,
    random: Random,
    environment: Mapping[str, str],
    reference: Reference,
    resumed_once_more: bool = False,
) -> Story:
    """Runs a study with these kills to its end, and checks what is left after each kill and at the end.

    Args:
        planned: the kills, in the order of their stages.
        folder: made for it.
        random: chooses among workers.
        environment: of the processes.
        reference: with one worker the results must be its; with more, what its trials say at each epoch.
        resumed_once_more: whether the study is resumed when it is complete, which changes nothing.
    """
    begun = time.monotonic()
    story = Story(name, folder)
    history = History()
    try:
        run = _begin(settings, folder, environment)
        for aim in planned:
            if not run.wait_until(lambda aim=aim, run=run: _reached(run, aim)):
                break
            if run.stage != aim.stage:  # over before it was seen
                continue
            time.sleep(aim.share * reference.lengths[aim.stage])
            if run.process.poll() is not None:
                break
            if aim.victim == "worker":
                if run.stage == SEARCH and run.kill_a_worker(random):
                    story.kills[WORKER_KILLED] += 1
                continue
            run.kill(aim.victim)
            story.kills[struck_at(run, history)] += 1
            story.found += history.after_kill(run.save_dir)
            if story.found:
                return story
            run = Run(folder, environment)
        for _ in range(2):  # what has ended is resumed once more, and stays as it is
            run.wait_until(lambda: False)
            story.found += _end_of(run)
            if not story.found:
                story.found += faults(run.save_dir, n_trials=settings["study"]["n_trials"])
                story.found += history.at_end(run.save_dir)
            if not story.found:
                compare = differences if settings["workers"] == 1 else unlike_by_number
                story.found += compare(run.save_dir, reference.folder / "results")
            if story.found or not resumed_once_more:
                break
            resumed_once_more = False
            run = Run(folder, environment)
    except TimeoutError as error:
        story.found.append(str(error))
    finally:
        story.seconds = time.monotonic() - begun
    return story


def _begin(settings: Mapping[str, Any], folder: Path, environment: Mapping[str, str]) -> Run:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
    return Run(folder, environment)


def _reached(run: Run, aim: Aim) -> bool:
    return run.stage > aim.stage or (run.stage == aim.stage and run.events >= aim.events)


def _end_of(run: Run) -> Iterator[str] | list[str]:
    """What is wrong with how the process ended."""
    errors = run.errors.read_text(encoding="utf-8")
    found = [] if run.process.returncode == 0 else [f"exit code {run.process.returncode}: {errors.strip()[-500:]}"]
    whole_log = (run.save_dir / "run.log").read_text(encoding="utf-8") if run.save_dir.is_dir() else ""
    if "Traceback" in errors + whole_log:
        found.append("a traceback in the standard error or in run.log")
    return found


def struck_at(run: Run, history: "History") -> str:
    """Where a run was when it was killed: one of :data:`STRUCK`."""
    if not run.save_dir.is_dir():
        return "imports, reading data"
    if not (run.save_dir / "study.db").is_file():
        return "making the study"
    if run.stage < SEARCH:
        return "opening the study again" if history.studies else "making the study"
    study = read_study(run.save_dir)
    match run.stage:
        case stage if stage == SEARCH:
            running = any(trial.state == "RUNNING" for trial in study.trials)
            return "search, within a trial" if running else "search, between trials"
        case stage if stage == SEARCHED:
            return "end of the search"
        case stage if stage == CONFIRMATION:
            return "confirmation"
        case stage if stage == RETRAINING:
            return "retraining"
        case stage if stage == SAVING:
            return "test period" if study.attributes.get("test_openings") else "saving models"
        case stage if stage == WRITING:
            return "writing results"
        case _:
            return "after all"


class History:
    """What was there after each kill; all of it must be there at the end."""

    def __init__(self) -> None:
        self.studies: list[StoredStudy] = []

    def after_kill(self, save_dir: Path) -> list[str]:
        """What is torn, or gone since the last kill."""
        if not (save_dir / "study.db").is_file():
            return ["study.db is gone"] if self.studies else []
        found = [f"after a kill: {text}" for text in torn_files(save_dir)]
        if not found:
            found += self.at_end(save_dir)
            self.studies.append(read_study(save_dir))
        return found

    def at_end(self, save_dir: Path) -> list[str]:
        """What is gone, or is not what it was: a trial that had ended, a number's configuration, an opening of the test."""
        if not self.studies:
            return []
        before, now = self.studies[-1], read_study(save_dir)
        trials = {trial.number: trial for trial in now.trials}
        found = []
        for old in before.trials:
            new = trials.get(old.number)
            if new is None or new.params != old.params:
                found.append(f"trial {old.number} of before a kill is gone or has another configuration")
            elif old.state in ("COMPLETE", "PRUNED", "FAIL") and new != old:
                found.append(f"trial {old.number} had ended before a kill and was changed after it")
        opened = before.attributes.get("test_openings", [])
        if now.attributes.get("test_openings", [])[: len(opened)] != opened:
            found.append("an opening of the test period is forgotten")
        return found
