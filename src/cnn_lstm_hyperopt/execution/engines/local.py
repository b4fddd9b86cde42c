"""Engine that runs trials in this process, or in worker processes of this machine."""

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.data.shared_arrays import save_trial_data
from cnn_lstm_hyperopt.execution.artifacts import checkpoint_copies
from cnn_lstm_hyperopt.execution.engines.base import Engine, SearchJob
from cnn_lstm_hyperopt.execution.trial_loop import run_trials
from cnn_lstm_hyperopt.execution.validation_files import ValidationWriter
from cnn_lstm_hyperopt.execution.worker_pool import run_with_workers
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, DATA_FOR_WORKERS, VALIDATION


class LocalEngine(Engine):
    """Engine that runs trials in this process, or in worker processes that share one file of windows."""

    name, place = "local", 1
    description = "processes of this machine"

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Nothing to check: this engine needs no other package."""

    def run(self, job: SearchJob) -> str:
        """Run the trials; one worker is this process."""
        study, save_dir, data, checkpoints = job.study, job.save_dir, job.runner.data, job.save_dir / CHECKPOINTS
        if job.workers == 1 or job.complete:  # start no workers without trials
            validation = ValidationWriter(save_dir / VALIDATION, data.folds)
            copies = checkpoint_copies(job.settings, study.storage, checkpoints)
            callbacks = [*job.callbacks, validation, job.activity, *copies]
            return run_trials(study, job.runner, stop=job.stop, callbacks=callbacks, checkpoints=checkpoints)
        job.on_workers(job.workers)
        save_trial_data(save_dir / DATA_FOR_WORKERS, data)
        return run_with_workers(
            study,
            save_dir,
            job.workers,
            stop=job.stop,
            gpus=job.gpus if len(set(job.gpus)) > 1 else (),
            callbacks=job.callbacks,
            silence_seconds=job.settings.limits.worker_silence_seconds,
            on_activity=job.activity.report,
            warn=job.warn,
        )
