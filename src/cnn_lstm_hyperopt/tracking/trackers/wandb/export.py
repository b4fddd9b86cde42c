"""Sending of the missing runs of a study to Weights & Biases. A list of the runs that it has makes each step repeatable."""

import json
import uuid
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import wandb

from cnn_lstm_hyperopt.run_dir import paths
from cnn_lstm_hyperopt.search import State
from cnn_lstm_hyperopt.tracking.content import (
    Content,
    Metric,
    Snapshot,
    hypervolume_metrics,
    model_content,
    study_content,
    study_metrics,
    trial_content,
)
from cnn_lstm_hyperopt.tracking.exporter import StudyExporter
from cnn_lstm_hyperopt.tracking.trackers.wandb.target import WandbTarget
from cnn_lstm_hyperopt.utils.atomic_io import write_json

_ID_ATTRIBUTE = "wandb_id"
"""Name of the study's attribute with its unique id, which is part of the id of each run."""
_SENT = "exported.json"
"""File in the folder of the runs that lists the ids of complete runs."""
_FILES = (paths.RESULTS_FILE, paths.TRIALS_FILE, paths.CONFIG_FILE, paths.DATA_FILE, paths.REPORT_FILE)


class WandbExporter(StudyExporter):
    """Exporter of one study: one run for each trial and each model, and one for the study at its end."""

    def __init__(self, save_dir: Path, target: WandbTarget, status_file: Path) -> None:
        super().__init__(save_dir, target, status_file)
        self._wandb = target
        self._sent_file = Path(target.folder) / _SENT
        self._sent: list[str] | None = None
        self._id = ""

    def disconnect(self) -> None:
        """End an incomplete run; the next attempt sends it again."""
        self._sent = None
        if wandb.run is not None:
            wandb.finish(exit_code=1)

    def send(self, snapshot: Snapshot, *, final: bool) -> None:
        """Send the missing trials; with ``final`` also the models, and the study as it is now."""
        if self._sent is None:
            self._id = self.storage.attribute(_ID_ATTRIBUTE) or uuid.uuid4().hex[:10]
            self.storage.set_attribute(_ID_ATTRIBUTE, self._id)
            self._sent = json.loads(self._sent_file.read_text("utf-8")) if self._sent_file.is_file() else []
        models, mode = self.models(snapshot), self._wandb.mode
        trials = {f"{mode}-trial-{record.number}": record for record in snapshot.ended}
        self.update(
            trials=sum(key in self._sent for key in trials),
            models=sum(f"{mode}-model-{key}" in self._sent for key in models),
            of_models=len(models),
        )
        for key, record in trials.items():
            if key not in self._sent:
                content = trial_content(record, snapshot)
                failed = record.state is State.FAIL
                self._send_run(snapshot, key, f"trial {record.number}", "trial", content, failed=failed)
                self.update(trials=self.status.trials + 1)
        if final:
            for key, entry in models.items():
                if f"{mode}-model-{key}" not in self._sent:
                    name = f"retrained model {entry['model_rank']} (trial {entry['trial_number']})"
                    content = model_content(entry, snapshot)
                    self._send_run(snapshot, f"{mode}-model-{key}", name, "retrained model", content)
                    self.update(models=self.status.models + 1)
            self._send_study(snapshot, models)

    def _send_study(self, snapshot: Snapshot, models: Iterable[str]) -> None:
        """Send the study as it is now. A study that has changed since the last export is a new run."""
        ended, content = len(snapshot.ended), study_content(snapshot)
        metrics = study_metrics(snapshot, 0) + hypervolume_metrics(snapshot, "hypervolume")
        content = Content(content.params, content.tags, sorted(metrics, key=lambda metric: metric.step))
        digest = uuid.uuid5(uuid.NAMESPACE_OID, " ".join(models)).hex[:6]
        key = f"{self._wandb.mode}-study-{ended}-{digest}"
        if key not in (self._sent or ()):
            self._send_run(snapshot, key, f"study after {ended} trials", "study", content, files=_FILES)

    def _send_run(
        self,
        snapshot: Snapshot,
        key: str,
        name: str,
        kind: str,
        content: Content,
        *,
        failed: bool = False,
        files: Iterable[str] = (),
    ) -> None:
        Path(self._wandb.folder).mkdir(exist_ok=True)
        run = wandb.init(
            project=self._wandb.project,
            group=snapshot.name,
            job_type=kind,
            name=name,
            id=f"{self._id}-{key.partition('-')[2]}",
            dir=str(self.save_dir),
            mode="offline" if self._wandb.mode == "offline" else "online",
            config={**_values(content.params), "tags": content.tags},
            notes="\n".join(f"{tag}: {text}" for tag, text in content.tags.items()),
            resume=None if self._wandb.mode == "offline" else "allow",
            reinit="finish_previous",
            settings=wandb.Settings(
                disable_git=True,
                disable_code=True,
                disable_job_creation=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        run.define_metric("*", step_metric="step")
        for row, (moment, metrics) in enumerate(groupby(content.metrics, key=_moment_and_step)):
            values = {metric.key: metric.value for metric in metrics}
            run.log({**values, "step": moment[1]}, step=row)  # the server ignores rows that it has
        run.summary.update({metric.key: metric.value for metric in content.metrics})
        for file in files:
            if (self.save_dir / file).is_file():
                run.save(str(self.save_dir / file), base_path=str(self.save_dir), policy="now")
        run.finish(exit_code=1 if failed else 0)
        self._sent = [*(self._sent or ()), key]
        write_json(self._sent_file, self._sent, make_folder=False)


def _moment_and_step(metric: Metric) -> tuple[int, int]:
    return metric.moment, metric.step


def _values(params: Mapping[str, str]) -> dict[str, Any]:
    """Return params with their values: numbers, truth values, lists and texts."""
    values: dict[str, Any] = {}
    for name, text in params.items():
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values
