"""The private names of Locust that rejoinder uses, and why; nothing else here relies on more than Locust documents."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from locust import User, runners

_TASKS: Final[deque[Any]] = deque()


def report_every(seconds: float) -> None:
    """Let workers report to their master at this interval, in seconds.

    Sets ``runners.WORKER_REPORT_INTERVAL`` (3 s): the parent process shows progress more often than that.
    """
    runners.WORKER_REPORT_INTERVAL = seconds


def send_stats(runner: Any) -> None:
    """Send a worker's last statistics to its master at once.

    Calls ``WorkerRunner._send_stats``: otherwise Locust loses what ended within its last reporting interval.
    """
    runner._send_stats()


def share_task_queue(user: User) -> None:
    """Let all users share one queue of tasks.

    Replaces ``TaskSet._task_queue``, which Locust makes for each user (0.7 KB) and which is empty but for a moment.
    """
    user._taskset_instance._task_queue = _TASKS  # type: ignore[union-attr]
