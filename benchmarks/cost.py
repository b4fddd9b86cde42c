"""How well the cost model knows a trial before it starts: predicted against measured seconds and memory.

Takes random configurations of the whole search space, runs the first steps of each as a trial would, and prints the errors of the
predicted training seconds (of all epochs, as the study's limits see them) and of the peak memory.

    python benchmarks/cost.py --configurations 100
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from cnn_lstm_hyperopt.config import Settings, TrainingSettings, load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.space.search_space import ARCHITECTURES
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.machine_benchmark import CACHE_VARIABLE, calibration_for
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from cnn_lstm_hyperopt.training.validation import EVALUATION_BATCH
from machine import machine_line

CPU = torch.device("cpu")


ENOUGH_SECONDS = 1.0
TRIALS_A_PROCESS = 25
"""As a worker of a study is replaced when it has grown."""


@cache
def preparation() -> tuple[CostModel, TrialRunner]:
    """Once a process: the synthetic market and the speeds that the main process measured."""
    settings = Settings()
    speeds = calibration_for(CPU)
    data = prepare_dataset(settings.data).for_trials()
    return speeds, TrialRunner(data, settings.training, seed=0, device=CPU, speeds=speeds)


def measure(number: int, params: dict[str, Scalar]) -> tuple[float, float, str]:
    """Predicted ÷ measured seconds and memory of a configuration, and its precision."""
    speeds, runner = preparation()

    def enough(report: ProgressReport) -> Decision:
        return Decision(Action.STOP, "seen enough") if report.seconds > ENOUGH_SECONDS else CONTINUE

    projected = runner.run_trial(number, params, enough).outcome.projected_seconds
    batches = runner.data.folds[0].train.subset(np.arange(2 * int(params["training.batch_size"])))
    few = runner.data.folds[0].validation.subset(np.arange(EVALUATION_BATCH))
    short = TrialRunner(
        replace(runner.data, folds=(replace(runner.data.folds[0], train=batches, validation=few),)),
        TrainingSettings(max_epochs=1),
        seed=0,
        device=CPU,
        speeds=speeds,
    )
    trained = short.run_trial(number, params, lambda report: CONTINUE)
    if projected is None or trained.memory_mb is None:
        raise RuntimeError("this platform does not say how much memory a process uses, or the trial had no step")
    cost = runner.costs.cost(params)
    return cost.seconds / projected, cost.memory_mb / trained.memory_mb, trained.precision


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--architecture", choices=ARCHITECTURES, default=ARCHITECTURES[0])
    parser.add_argument("--longest-step", type=float, default=4.0, help="seconds; configurations beyond are left out")
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = folder  # the children find the speeds there
        started = time.perf_counter()
        speeds, runner = preparation()
        calibrated = time.perf_counter() - started
        settings = load_settings(
            None, {"search_space": {"architecture": given.architecture, "inputs": {"standardise": False}}}, {}
        )
        left_out = number = 0
        chosen = []
        while len(chosen) < given.configurations:
            params = random_configuration(settings.search_space, given.seed, number)
            number += 1
            steps = (
                -(-len(runner.data.folds[0].train) // int(params["training.batch_size"])) * settings.training.max_epochs
            )
            if runner.costs.cost(params).seconds / steps > given.longest_step:
                left_out += 1
            else:
                chosen.append((number, params))
        spawn, rows = multiprocessing.get_context("spawn"), []
        for first in range(0, len(chosen), TRIALS_A_PROCESS):
            with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                rows += pool.map(measure, *zip(*chosen[first : first + TRIALS_A_PROCESS], strict=True))
            print(f"{len(rows)} of {len(chosen)}", file=sys.stderr, flush=True)
        seconds, memory, precisions = zip(*rows, strict=True)

    print(f"{machine_line()}; calibration {calibrated:.0f} s, median error of its fit {speeds.error:.1%}")
    share = np.mean([precision == "bfloat16" for precision in precisions])
    print(
        f"{len(seconds)} random configurations of the architecture {given.architecture}, {left_out} slower ones left out,"
        f" {share:.0%} in bfloat16\n"
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
