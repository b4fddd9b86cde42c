"""One line about the machine that a table was measured on, and the output of a table."""

import os
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import torch

from cnn_lstm_hyperopt.errors import HyperoptError


def printed(title: str, table: Iterable[str]) -> int:
    """Print the lines of a table as they are measured, below the machine and a title; return the exit code of the command."""
    try:
        print(f"{machine_line()}{title}\n")
        for line in table:
            print(line, flush=True)
    except HyperoptError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def machine_line() -> str:
    """What :func:`machine_name` says, and the date."""
    return f"{machine_name()}, {datetime.now(UTC):%Y-%m-%d}"


def machine_name() -> str:
    """Processor, cores, memory and version of torch."""
    processor, memory = platform.processor() or platform.machine(), ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), processor)
        total = int(Path("/proc/meminfo").read_text().split()[1]) / 1e6
        memory = f", {total:.0f} GB"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processor}, {cores} cores{memory}, torch {torch.__version__}"
