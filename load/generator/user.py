"""The Locust user: one request at a time in the closed loop; in the open loop, only a sign that the run goes on."""

from __future__ import annotations

import random

import gevent  # type: ignore[import-untyped]
from locust import User, task
from locust.env import Environment

from rejoinder.load.generator.generator import generator_of
from rejoinder.load.generator.locust_internals import share_task_queue


class ResponsesUser(User):
    """Sends ``POST /v1/responses`` as the settings of the run say."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._generator = generator_of(environment)
        self._number = self._generator.next_user()

    def on_start(self) -> None:
        """Save the memory of a queue for each user."""
        share_task_queue(self)

    @task
    def send(self) -> None:
        """Send requests until the run, or its warm-up, ends."""
        run = self._generator.wait_begun()
        if run.settings.mode == "closed":
            run.closed_loop(self._number)
        # Locust stops its users when the run has been drained; after a warm-up the run comes.
        while not run.ended:
            gevent.sleep(0.1)
        gevent.sleep(random.uniform(0.05, 0.15))
