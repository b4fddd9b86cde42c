"""Runs of one study in an MLflow store: found by tags, made when they are missing, written in few requests."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME

from cnn_lstm_hyperopt.errors import TrackingError
from cnn_lstm_hyperopt.tracking.content import Content, batches
from cnn_lstm_hyperopt.tracking.quiet import forget_artifact_root
from cnn_lstm_hyperopt.tracking.target import Target

STUDY_ID, KIND, KEY = "study_id", "kind", "key"
STUDY, TRIAL, FINALIST = "study", "trial", "finalist"
_PAGE = 200
"""Runs in one answer: a slow server has to make it within the time-out of a request."""
Place = tuple[str, str]
"""Kind and key of a run: with the study's id, there is one of each."""


@dataclass
class Known:
    """A run that the store has.

    Attributes:
        run_id: the store's name for it.
        ended: whether its status says that it is whole.
        tags: as they were when it was found.
        params: as they were then.
        counted: trials that have ended, as it says of the study.
    """

    run_id: str
    ended: bool
    tags: dict[str, str]
    params: dict[str, str]
    counted: int = 0


class Runs:
    """All runs of one study. After an error, make another: what the store has may differ from what was seen."""

    def __init__(self, target: Target, study_id: str) -> None:
        """Looks at what the store has.

        Raises:
            TrackingError: the experiment was deleted.
        """
        self.client = MlflowClient(tracking_uri=target.uri, registry_uri=target.uri)
        forget_artifact_root()
        self.study_id = study_id
        self.experiment_id = self._experiment(target)
        self._known: dict[Place, Known] = {}
        for run in list(self._stored()):  # all of them, before any is deleted and moves the pages
            self._take(run)

    def _experiment(self, target: Target) -> str:
        found = self.client.get_experiment_by_name(target.experiment)
        if found is None:
            return str(self.client.create_experiment(target.experiment, artifact_location=target.artifacts))
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"its experiment {target.experiment} was deleted; restore it there, or name another (mlflow.experiment)"
            )
        return str(found.experiment_id)

    def _stored(self) -> Iterator[Run]:
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                f"tags.{STUDY_ID} = '{self.study_id}'",
                ViewType.ACTIVE_ONLY,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return

    def _take(self, run: Run) -> None:
        """The first of each place is kept. Another one is there when a request was carried out whose answer was lost."""
        tags = run.data.tags
        place = tags.get(KIND, ""), tags.get(KEY, "")
        if place in self._known:
            self.client.delete_run(run.info.run_id)
            return
        ended = run.info.status in ("FINISHED", "FAILED", "KILLED")
        counted = int(run.data.metrics.get("trials_ended", 0))
        self._known[place] = Known(run.info.run_id, ended, dict(tags), dict(run.data.params), counted)

    def find(self, kind: str, key: str) -> Known | None:
        """The run of this place; None: there is none."""
        return self._known.get((kind, key))

    def of_kind(self, kind: str) -> dict[str, Known]:
        """All runs of a kind, by key."""
        return {key: known for (each, key), known in self._known.items() if each == kind}

    def get_or_make(self, kind: str, key: str, *, name: str, began: int, parent: str | None = None) -> Known:
        """The run of this place, made if it is not there."""
        known = self.find(kind, key)
        if known is None:
            tags = {STUDY_ID: self.study_id, KIND: kind, KEY: key, MLFLOW_RUN_NAME: name}
            if parent is not None:
                tags[MLFLOW_PARENT_RUN_ID] = parent
            run = self.client.create_run(self.experiment_id, start_time=began, tags=tags, run_name=name)
            known = self._known[kind, key] = Known(run.info.run_id, False, dict(tags), {})
        return known

    def write(self, known: Known, content: Content) -> None:
        """Adds to a run; what it has already may be written again.

        A param can't be changed, so what differs from the first reading (a resumed study may have more trials) is a tag.
        """
        changed = {
            f"now.{name}": value
            for name, value in content.params.items()
            if name in known.params and (known.params[name] != value or f"now.{name}" in known.tags)
        }
        new = {name: value for name, value in content.params.items() if name not in known.params}
        tags = {name: value for name, value in {**content.tags, **changed}.items() if known.tags.get(name) != value}
        for part in batches(Content(new, tags, content.figures)):
            self.client.log_batch(
                known.run_id,
                metrics=[Metric(each.name, each.value, each.moment, each.step) for each in part.figures],
                params=[Param(name, value) for name, value in part.params.items()],
                tags=[RunTag(name, value) for name, value in part.tags.items()],
                synchronous=True,
            )
        known.params |= new
        known.tags |= tags

    def end(self, known: Known, status: str, moment: int) -> None:
        """Says last of all how it ended: a run that has ended is whole."""
        self.client.set_terminated(known.run_id, status, moment)
        known.ended = True

    def tag(self, known: Known, tags: Mapping[str, str]) -> None:
        """Sets tags and nothing else."""
        self.write(known, Content(tags=dict(tags)))
