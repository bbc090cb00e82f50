"""Flower, imported in one place: its telemetry is off first, its log stays off the terminal.

Everything else of the bridge takes Flower's names from here, so nothing of Flower is imported before the
environment variables that keep it (and Ray under it) from calling home are set.
"""

from __future__ import annotations

import logging
import os
import warnings

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its command line pulls in an old typer
    from flwr.app import (
        Array,
        ArrayRecord,
        ConfigRecord,
        Context,
        Error,
        Message,
        MessageType,
        MetricRecord,
        RecordDict,
    )
    from flwr.clientapp import ClientApp
    from flwr.common.constant import ErrorCode
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import FedAvg, Strategy
    from flwr.serverapp.strategy.strategy_utils import sample_nodes
    from flwr.supercore.task_identity import TaskIdentity

__all__ = [
    "Array",
    "ArrayRecord",
    "ClientApp",
    "ConfigRecord",
    "Context",
    "Error",
    "ErrorCode",
    "FedAvg",
    "Grid",
    "Message",
    "MessageType",
    "MetricRecord",
    "RecordDict",
    "Strategy",
    "identify",
    "sample_nodes",
]

logging.getLogger("flwr").setLevel(logging.ERROR)


def identify() -> None:
    """Give this process the identity without which Flower makes no message, unless a runtime gave it one."""
    for name, value in (("task_id", 1), ("run_id", 1), ("node_id", 1)):
        try:
            getattr(TaskIdentity, name)
        except RuntimeError:
            setattr(TaskIdentity, name, value)
