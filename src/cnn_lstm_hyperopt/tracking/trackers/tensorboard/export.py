"""Writing of a study's event files. The folder of a trial gets its name when it is complete."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from cnn_lstm_hyperopt.tracking.content import (
    Content,
    Snapshot,
    hypervolume_metrics,
    model_content,
    study_content,
    study_metrics,
    trial_content,
)
from cnn_lstm_hyperopt.tracking.exporter import StudyExporter
from cnn_lstm_hyperopt.tracking.trackers.tensorboard.target import TensorBoardTarget

_STUDY, _MODEL = "study", r"retrained_model_\d+"
"""Names of the folders of the study and of retrained models. They are written again by each exporting process."""
_PART = ".incomplete"
"""Folder in which a trial or a model is written before it gets its name."""


class EventFileExporter(StudyExporter):
    """Exporter of one study to event files: one folder for each trial and model, and one for the study."""

    def __init__(self, save_dir: Path, target: TensorBoardTarget, status_file: Path) -> None:
        super().__init__(save_dir, target, status_file)
        self._folder = Path(target.folder)
        self._study: SummaryWriter | None = None
        self._steps = 0  # number of ended trials whose values are in the study's folder

    def close(self) -> None:
        """Close the files and the study."""
        self.disconnect()
        super().close()

    def disconnect(self) -> None:
        """Close the study's event file; the next attempt writes it again."""
        if self._study is not None:
            self._study.close()
            self._study = None

    def send(self, snapshot: Snapshot, *, final: bool) -> None:
        """Write the missing trials and the study's values; with ``final`` also the hypervolume and the models."""
        self._folder.mkdir(exist_ok=True)
        models = self.models(snapshot)
        missing = [record for record in snapshot.ended if not (self._folder / _trial(record.number)).is_dir()]
        self.update(trials=len(snapshot.ended) - len(missing), of_models=len(models), models=0)
        for record in missing:
            content = trial_content(record, snapshot)
            last = {metric.key: metric.value for metric in content.metrics}
            with self._new_folder(_trial(record.number)) as writer:
                _write(writer, content)
                _write_hyperparameters(writer, content, last)
            self.update(trials=self.status.trials + 1)
        self._write_study(snapshot, final=final)
        if final:
            for folder in self._folder.iterdir():
                if re.fullmatch(_MODEL, folder.name) and folder.name not in {_model(each) for each in models.values()}:
                    shutil.rmtree(folder)
            for entry in models.values():
                with self._new_folder(_model(entry)) as writer:
                    _write(writer, model_content(entry, snapshot))
                self.update(models=self.status.models + 1)

    def _write_study(self, snapshot: Snapshot, *, final: bool) -> None:
        if self._study is None:
            shutil.rmtree(self._folder / _STUDY, ignore_errors=True)
            self._study, self._steps = SummaryWriter(str(self._folder / _STUDY)), 0
            _write(self._study, study_content(snapshot))
        metrics = study_metrics(snapshot, self._steps)
        if final:
            metrics += hypervolume_metrics(snapshot, "hypervolume")
        _write(self._study, Content(metrics=metrics))
        self._study.flush()
        self._steps = len(snapshot.ended)

    @contextmanager
    def _new_folder(self, name: str) -> Iterator[SummaryWriter]:
        """Context with the writer of a new folder, which replaces the folder with this name at the end."""
        part = self._folder / _PART
        shutil.rmtree(part, ignore_errors=True)
        with SummaryWriter(str(part)) as writer:
            yield writer
        shutil.rmtree(self._folder / name, ignore_errors=True)
        part.rename(self._folder / name)


def _trial(number: int) -> str:
    return f"trial_{number:05d}"


def _model(entry: Mapping[str, Any]) -> str:
    return f"retrained_model_{entry['model_rank']}"


def _write(writer: SummaryWriter, content: Content) -> None:
    """Write metrics as scalars, and params and tags as one table."""
    for metric in content.metrics:
        writer.add_scalar(metric.key, metric.value, metric.step, walltime=metric.moment / 1000)
    rows = [f"| {name} | {text.replace('|', '&#124;')} |" for name, text in (content.tags | content.params).items()]
    if rows:
        writer.add_text("settings", "\n".join(["| name | value |", "|---|---|", *rows]))


def _write_hyperparameters(writer: SummaryWriter, content: Content, last: Mapping[str, float]) -> None:
    """Write what TensorBoard's page HPARAMS shows: params and the last value of each metric."""
    from torch.utils.tensorboard.summary import hparams

    for summary in hparams({name: _plain(text) for name, text in content.params.items()}, dict(last)):
        writer._get_file_writer().add_summary(summary)


def _plain(text: str) -> bool | float | str:
    """Return a param as a number or a truth value, if it is one."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float)) else text
