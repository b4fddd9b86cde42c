"""Trials on real Ray machines (processes of this machine), one of which is killed in mid-study."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from builders.remote import CheapWorkload
from builders.runs import FINISHED, ROOT, require_whole, results_of, trials_of
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.execution import FINISHED as ALL_TRIALS
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.execution.remote.cluster import connected
from cnn_lstm_hyperopt.execution.remote.ray_pool import RayPool
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.run import run as run_study
from cnn_lstm_hyperopt.search import Study, StudyStorage

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MACHINE = {"num_cpus": 1, "object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two machines, whose processes find the modules of the tests."""
    before = dict(os.environ)
    os.environ |= {"PYTHONPATH": str(ROOT / "tests"), "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**MACHINE, "include_dashboard": False})
    try:
        yield cluster
    finally:
        cluster.shutdown()
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ |= before


def other_machine(cluster: Any, ray: Any) -> Any:
    """Add a machine; return it, or the head if this process has connected to the new one."""
    added = cluster.add_node(**MACHINE)
    here = ray.get_runtime_context().get_node_id()
    return added if added.node_id != here else cluster.head_node


def require_no_copies(trials: list[Any]) -> None:
    """Check that a configuration occurs twice only in a retry."""
    seen: dict[str, list[Any]] = {}
    for trial in trials:
        seen.setdefault(json.dumps(trial.params, sort_keys=True), []).append(trial)
    for same in seen.values():
        assert all(trial.user_attrs.get("retry_of") is not None for trial in same[1:])


class Ended(TrialEvents):
    """Subscriber that counts the ends of each trial."""

    def __init__(self) -> None:
        self.numbers: Counter[int] = Counter()

    def on_trial_end(self, record: Any, trained: Any) -> None:
        self.numbers[record.number] += 1


def test_a_machine_that_is_lost_costs_no_trial(cluster: Any, tmp_path: Path) -> None:
    held = tmp_path / "held"
    ended = Ended()
    with connected(cluster.address) as ray:
        lost = other_machine(cluster, ray)
        workload = CheapWorkload(200, held, lost.node_id)
        storage = StudyStorage(tmp_path / "study.db", create="cheap")

        def kill_once(activities: Any) -> None:
            if held.exists() and lost in cluster.list_all_nodes():
                cluster.remove_node(lost, allow_graceful=False)

        try:
            study = Study(storage, workload.plan())
            pool = RayPool(
                ray, study, workload, tmp_path, 2, stop=StopSignal(), callbacks=[ended], on_activity=kill_once
            )
            assert pool.run() == ALL_TRIALS
        finally:
            storage.close()
    assert lost not in cluster.list_all_nodes()
    trials = trials_of(tmp_path)
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] == 200
    assert states[TrialState.RUNNING] == states[TrialState.WAITING] == 0
    require_no_copies(trials)
    assert sum(ended.numbers.values()) == len(ended.numbers) == len(trials)
    resumed = [trial for trial in trials if "cut_off" in trial.user_attrs]
    assert resumed  # the trial that the lost machine held
    assert all(trial.state in FINISHED for trial in resumed)
    assert len({trial.user_attrs["worker"] for trial in trials}) == 2


class Killing(RunEvents):
    """Subscriber that kills a machine after two trials."""

    def __init__(self, cluster: Any) -> None:
        self.cluster, self.lost, self.warnings, self.ended = cluster, None, [], 0

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)

    def on_trial_end(self, record: Any, trained: Any) -> None:
        import ray

        self.ended += 1
        if self.ended == 2:
            here = ray.get_runtime_context().get_node_id()
            self.lost = next(node for node in self.cluster.list_all_nodes() if node.node_id != here)
            self.cluster.remove_node(self.lost, allow_graceful=False)


def test_a_run_on_a_cluster_leaves_the_files_of_a_local_run(cluster: Any, tiny: dict[str, Any], tmp_path: Path) -> None:
    if len(cluster.list_all_nodes()) < 2:
        cluster.add_node(**MACHINE)
    results = {}
    for name, more in {
        "local": {"workers": 1},
        "cluster": {"workers": 2, "engine": "ray", "ray_address": cluster.address},
    }.items():
        folder = tmp_path / name
        study = {**tiny["study"], "n_trials": 8}
        settings = load_settings({**tiny, **more, "study": study, "save_dir": str(folder)}, environment={})
        events = RunEvents() if name == "local" else Killing(cluster)
        results[name] = run_study(settings, events, resume=False)
        trials = require_whole(folder, 8)
        require_no_copies(trials)
        finished = {trial.number for trial in trials if trial.state in FINISHED}
        assert {path.stem for path in (folder / "validation").iterdir()} == {f"trial_{n:05d}" for n in finished}
        assert not list((folder / "checkpoints").glob("trial_*"))
    assert isinstance(events, Killing)
    assert events.lost is not None
    assert events.ended == len(trials)
    local, remote = (results_of(tmp_path / name) for name in ("local", "cluster"))
    assert local.keys() == remote.keys()
    assert {path.name for path in (tmp_path / "local").iterdir()} == {p.name for p in (tmp_path / "cluster").iterdir()}
