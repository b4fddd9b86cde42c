"""Connection to a Ray cluster, or to a Ray of this run alone."""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.text import one_line

STORE_BYTES = 100_000_000
"""Smallest object store of a Ray that the run starts."""
CONNECT_SECONDS = 10.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def connected(address: str | None, *, cpus: int = 1, gpus: float = 0.0, data_bytes: int = 0) -> Iterator[Any]:
    """Context with the module ray, connected to a cluster. A Ray that this context starts ends with the context.

    Args:
        address: address of a running cluster, or ``auto``; None starts Ray on this machine for this run alone. If the user's
            program is connected to a cluster already, that cluster is used.
        cpus: number of workers that a Ray of this run must run at once.
        gpus: share of a GPU that each worker reserves.
        data_bytes: size of the data in the object store of a Ray of this run.

    Raises:
        ConfigError: there is no cluster at the address, or this machine has too few GPUs.
    """
    if address is not None and address != "auto":
        _require_listener(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # otherwise Ray prints a tip
    import ray

    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        store = max(STORE_BYTES, 2 * data_bytes)
        quiet |= {"num_cpus": max(cpus, os.cpu_count() or 1), "object_store_memory": store, "include_dashboard": False}
    try:
        with _same_signal_handlers():
            ray.init(address="local" if address is None else address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, AssertionError) as error:
        if address is None:
            raise
        raise _no_cluster(address, error) from error
    try:
        if address is None and gpus > (there := ray.cluster_resources().get("GPU", 0.0)):
            raise ConfigError(
                f"gpus_per_trial={gpus:g}: Ray finds {there:g} GPUs on this machine; lower --gpus-per-trial, or omit it",
                field="gpus_per_trial",
                code="too-few-gpus",
            )
        yield ray
    finally:
        ray.shutdown()


def _require_listener(address: str) -> None:
    """Raise ConfigError if no program listens at ``address``, HOST:PORT, since Ray itself would try for a long time."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"ray_address={address}: no Ray cluster can be reached there ({one_line(error)}); start the run on a machine of the"
        " cluster, with the address that ray start showed, or omit --ray-address to start Ray on this machine",
        field="ray_address",
        code="no-cluster",
    )


@contextlib.contextmanager
def _same_signal_handlers() -> Iterator[None]:
    """Context after which signals are handled as before, since ``ray.init`` sets a handler that ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
