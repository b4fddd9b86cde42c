"""How well the cost model knows a trial before it starts: predicted against measured seconds and memory.

Takes random configurations of the whole search space, runs the first steps of each as a trial would, and prints the errors of the
predicted training seconds (of all epochs, as the study's limits see them) and of the peak memory.

    python benchmarks/cost.py --configurations 100
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from cnn_lstm_hyperopt.calibration import calibrate
from cnn_lstm_hyperopt.config import SamplerSettings, Settings, TrainingSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search import RandomSampler, with_fixed
from cnn_lstm_hyperopt.training.metrics import EVALUATION_BATCH
from cnn_lstm_hyperopt.trial_runner import TrialRunner
from machine import machine_line

CPU = torch.device("cpu")


def first_look(report: ProgressReport) -> Decision:
    """Ends a trial at its first report, which already projects the whole."""
    return Decision(Action.STOP, "seen enough")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest-step", type=float, default=8.0, help="seconds; configurations beyond are left out")
    given = parser.parse_args()

    settings = Settings()
    started = time.perf_counter()
    speeds = calibrate(CPU)
    calibrated = time.perf_counter() - started
    dataset = prepare_dataset(settings.data)
    data = dataset.for_trials()
    runner = TrialRunner(data, settings.training, seed=0, device=CPU, speeds=speeds)
    few = data.validation.subset(np.arange(EVALUATION_BATCH))
    sampler = RandomSampler(settings.space, SamplerSettings(), seed=given.seed)

    seconds, memory, precisions, left_out, number = [], [], [], 0, 0
    while len(seconds) < given.configurations:
        params = with_fixed(settings.space, sampler.propose(number, [], 0))
        number += 1
        cost = runner.cost(params)
        steps = -(-len(dataset.train) // int(params["training.batch_size"])) * settings.training.max_epochs
        if cost.seconds / steps > given.longest_step:
            left_out += 1
            continue
        projected = runner.run_trial(number, params, first_look).outcome.projected_seconds
        batches = data.train.subset(np.arange(2 * int(params["training.batch_size"])))
        short = TrialRunner(
            replace(data, train=batches, validation=few),
            TrainingSettings(max_epochs=1),
            seed=0,
            device=CPU,
            speeds=speeds,
        )
        trained = short.run_trial(number, params, lambda report: CONTINUE)
        peak = trained.memory_mb
        if projected is None or peak is None:
            raise SystemExit("this platform does not say how much memory a process uses, or the trial had no step")
        seconds.append(cost.seconds / projected)
        memory.append(cost.memory_mb / peak)
        precisions.append(trained.precision)

    print(f"{machine_line()}; calibration {calibrated:.0f} s, median error of its fit {speeds.error:.1%}")
    share = np.mean([precision == "bfloat16" for precision in precisions])
    print(
        f"{len(seconds)} random configurations of the whole space, {left_out} slower ones left out, {share:.0%} in bfloat16\n"
    )
    print("| predicted ÷ measured | median | median error | 95 % are within | smallest | largest |")
    print("|---|---|---|---|---|---|")
    for name, ratios in (("training seconds", np.array(seconds)), ("peak memory", np.array(memory))):
        within = np.exp(np.quantile(np.abs(np.log(ratios)), 0.95))
        print(
            f"| {name} | {np.median(ratios):.2f} | {np.median(np.abs(ratios - 1)):.1%} | × {within:.2f} |"
            f" {ratios.min():.2f} | {ratios.max():.2f} |"
        )


if __name__ == "__main__":
    main()
