"""Engine that runs trials as Ray tasks on one or many machines."""

import importlib.util

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.execution.engines.base import Engine, SearchJob
from cnn_lstm_hyperopt.execution.remote.cluster import connected
from cnn_lstm_hyperopt.execution.remote.ray_pool import RayPool
from cnn_lstm_hyperopt.execution.remote.workload import TrainingWorkload, gpus_per_worker
from cnn_lstm_hyperopt.execution.trial_loop import FINISHED
from cnn_lstm_hyperopt.utils.text import install_command


class RayEngine(Engine):
    """Engine that runs trials as Ray tasks; one Ray actor has the study."""

    name, place = "ray", 2
    description = "Ray tasks on this machine or on a cluster; needs the extra ray"

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Check that Ray is installed and that the cluster of ``ray_address`` can be reached."""
        if importlib.util.find_spec("ray") is None:
            raise ConfigError(
                f"engine=ray needs the package ray: {install_command('ray')}", field="engine", code="missing-extra"
            )
        if settings.study.storage is not None:
            raise ConfigError(
                "engine=ray keeps the study in study.db, so it needs no database server; leave out --storage, or use --engine"
                " local",
                field="study.storage",
                code="ray-with-storage",
            )
        if settings.ray_address is not None:
            with connected(settings.ray_address):
                pass

    def run(self, job: SearchJob) -> str:
        """Run the trials; the main process only shows the progress."""
        if job.complete:
            return FINISHED
        job.on_workers(job.workers)
        gpus = gpus_per_worker(job.settings, job.runner.device)
        workload = TrainingWorkload.of(job.settings, job.study.plan, job.runner, gpus=gpus)
        address, limits = job.settings.ray_address, job.settings.limits
        with connected(address, cpus=job.workers, gpus=gpus, data_bytes=workload.n_bytes) as ray:
            pool = RayPool(
                ray,
                job.study,
                workload,
                job.save_dir,
                job.workers,
                gpus=gpus,
                stop=job.stop,
                callbacks=job.callbacks,
                silence_seconds=limits.worker_silence_seconds,
                on_activity=job.activity.report,
                warn=job.warn,
            )
            return pool.run()
