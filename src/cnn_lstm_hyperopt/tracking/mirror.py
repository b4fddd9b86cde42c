"""Writes to MLflow what it lacks of a study. Doing so again, also after half of it was written, changes nothing."""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, DATA_FILE, RESULTS_FILE, TRIALS_FILE
from cnn_lstm_hyperopt.search import TrialRecord
from cnn_lstm_hyperopt.tracking.content import (
    STATUS,
    Content,
    front_figures,
    reference_text,
    study_content,
    study_figures,
    trial_content,
)
from cnn_lstm_hyperopt.tracking.finalists import count_written, entries_of, mirror_finalists
from cnn_lstm_hyperopt.tracking.refusals import Refusals
from cnn_lstm_hyperopt.tracking.runs import STUDY, TRIAL, Known, Runs
from cnn_lstm_hyperopt.tracking.source import Snapshot
from cnn_lstm_hyperopt.tracking.standing import Standing
from cnn_lstm_hyperopt.tracking.target import Target

_FILES = (RESULTS_FILE, TRIALS_FILE, CONFIG_FILE, DATA_FILE, "report.html")
_FIGURES = "figures"
_DIGESTS, _REFERENCE = "files", "hypervolume_reference"
"""Tags of a study's run: what its files were when they were written, and what hypervolumes are measured from."""

Tell = Callable[[Standing], None]


class Mirror:
    """Of one study in one store."""

    def __init__(self, target: Target, tell: Tell) -> None:
        self._target, self._tell = target, tell
        self._runs: Runs | None = None
        self._told: Settings | None = None
        self.standing = Standing()

    def sync(self, snapshot: Snapshot, *, final: bool) -> None:
        """Writes what is missing.

        Args:
            snapshot: the study as it is now.
            final: whether the run is over, so that files and models are written, too.

        Raises:
            Exception: whatever MLflow raises; what was written by then stays, and the next call goes on with it.
        """
        try:
            self._sync(snapshot, final=final)
        except BaseException:
            self._runs = self._told = None
            raise

    def _sync(self, snapshot: Snapshot, *, final: bool) -> None:
        runs = self._runs
        if runs is None:
            runs = self._runs = Runs(self._target, snapshot.study_id)
        study = self._study(runs, snapshot)
        entries = entries_of(snapshot)
        trials = runs.of_kind(TRIAL)
        done = sum(str(r.number) in trials and trials[str(r.number)].ended for r in snapshot.ended)
        written = count_written(runs, snapshot)
        self._say(
            trials=done,
            of_trials=len(snapshot.ended),
            models=written,
            of_models=len(entries),
            experiment_id=runs.experiment_id,
        )
        refusals = Refusals()
        for record in snapshot.ended:
            known = trials.get(str(record.number))
            if known is None or not known.ended:
                with refusals.of(f"trial {record.number}"):
                    self._trial(runs, study, snapshot, record)
                    done += 1
                    self._say(trials=done)
        since = max(0, study.counted - 1)  # half of a step may be there
        runs.write(study, Content(figures=study_figures(snapshot, since)))
        study.counted = len(snapshot.ended)
        if final:
            self._end(runs, study, snapshot, refusals)
        refusals.raise_first()

    def _trial(self, runs: Runs, study: Known, snapshot: Snapshot, record: TrialRecord) -> None:
        number, began = record.number, snapshot.began(record.number)
        known = runs.get_or_make(TRIAL, str(number), name=f"trial {number}", began=began, parent=study.run_id)
        runs.write(known, trial_content(record, snapshot))
        runs.end(known, STATUS[record.state], snapshot.ended_at(number))

    def _study(self, runs: Runs, snapshot: Snapshot) -> Known:
        """The parent run, which is at work again."""
        began = min((snapshot.began(record.number) for record in snapshot.ended), default=0) or _now()
        study = runs.get_or_make(STUDY, STUDY, name=snapshot.name, began=began)
        if study.ended:
            runs.client.update_run(study.run_id, status="RUNNING")
            study.ended = False
        if self._told is not snapshot.settings:
            runs.write(study, study_content(snapshot))
            self._told = snapshot.settings
        return study

    def _end(self, runs: Runs, study: Known, snapshot: Snapshot, refusals: Refusals) -> None:
        """The front's growth, files, models; then what the study's run ended with."""
        reference = reference_text(snapshot)
        if reference is not None:
            moved = study.tags.get(_REFERENCE, reference) != reference
            key = f"hypervolume_after_{len(snapshot.ended)}" if moved else "hypervolume"
            tags = {} if moved else {_REFERENCE: reference}
            runs.write(study, Content(tags=tags, figures=front_figures(snapshot, key)))
        _write_files(runs, study, snapshot.save_dir)
        for written in mirror_finalists(runs, study, snapshot, self._target, refusals):
            self._say(models=written)
        finished = sum(record.finished for record in snapshot.ended)
        runs.end(study, "FINISHED" if finished >= snapshot.n_trials else "KILLED", _end_of(snapshot))
        self._say(whole=refusals.none)

    def _say(self, **changed: int | bool | str) -> None:
        self.standing = Standing(**{**vars(self.standing), "problem": "", **changed})
        self._tell(self.standing)


def _write_files(runs: Runs, study: Known, save_dir: Path) -> None:
    """Those that are there and differ from what was written before."""
    paths: list[tuple[Path, str | None]] = [(save_dir / name, None) for name in _FILES]
    if (save_dir / _FIGURES).is_dir():
        paths += [(path, _FIGURES) for path in sorted((save_dir / _FIGURES).iterdir())]
    written: dict[str, str] = {}
    with contextlib.suppress(ValueError):  # of more files than a tag has room for
        written = dict(json.loads(study.tags.get(_DIGESTS, "{}")))
    digests = dict(written)
    for path, folder in paths:
        if path.is_file():
            name = path.name if folder is None else f"{folder}/{path.name}"
            digests[name] = digest_of(path)
            if digests[name] != written.get(name):
                runs.client.log_artifact(study.run_id, str(path), folder)
    runs.tag(study, {_DIGESTS: json.dumps(digests)})


def digest_of(path: Path) -> str:
    """By which the same file is known again."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _end_of(snapshot: Snapshot) -> int:
    """When the last of it was written, in ms since 1970, so that saying it again later changes nothing."""
    moments = [snapshot.ended_at(record.number) for record in snapshot.ended]
    with contextlib.suppress(OSError):  # there are no results yet
        moments.append(int((snapshot.save_dir / RESULTS_FILE).stat().st_mtime * 1000))
    return max(moments, default=_now())


def _now() -> int:
    return int(time.time() * 1000)
