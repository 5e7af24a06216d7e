"""What a seed decides: orders, messages, callers of the API, and everything that goes wrong."""

import json
import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.simulation.aws import Json
from tests.simulation.clopos import FAILURES, FORMS, REFUSALS, TOO_LATE
from tests.simulation.stack import Settings, Stack

SERVICES = ("sqs", "secretsmanager", "events", "lambda")
AWS_FAILURES = ("refused", "stalled", "throttled", "answers lost")


def settings_of(seed: object) -> Settings:
    """Return the stack of a seed."""
    choice = random.Random(f"settings {seed}")
    return Settings(
        seed=seed,
        queue_workers=choice.choice((2, 2, 2, 3, 5, 10)),
        api_reserve=choice.choice((30, 30, 0, 100)),
        event_bus=choice.choice(("default", "default", "")),
        refreshes=choice.random() < 0.9,
        clock_stops=choice.random() < 0.3,
        short_batches=choice.random() < 0.3,
    )


class Load:
    """The load of a seed on a stack. After `calm_at` nothing goes wrong any more.

    `story` says what goes wrong, for a person.
    """

    def __init__(self, stack: Stack, seed: object) -> None:
        self._stack = stack
        self._random = random.Random(f"load {seed}")
        self._starts_at = stack.scheduler.now
        choice = self._random
        self.duration_s = choice.choice((300, 1200, 3600, 3 * 3600)) * choice.uniform(0.5, 1.5)
        self.calm_at = self._starts_at + self.duration_s
        self.story: list[str] = []
        stack.clopos.is_strict = choice.random() < 0.5
        stack.clopos.form = choice.choice(FORMS)
        stack.clopos.list_status = choice.choice((0, 0, 200, 400))
        stack.queue.duplicates = choice.choice((0.0, 0.0, 0.05))
        self.at(self.duration_s, partial(setattr, stack.queue, "duplicates", 0.0))
        if not stack.settings.refreshes:  # another system keeps the secret up to date
            for moment in range(0, int(self.duration_s) + 3600, 1800):
                stack.scheduler.at(self._starts_at + moment, self._store_token)
        self._send_messages(choice.choice((5, 30, 80, 200)))
        self._call_api(choice.choice((0, 5, 40)))
        for fault in choice.choices(self._faults(), k=choice.choice((0, 1, 2, 4, 6))):
            fault()

    def at(self, moment_s: float, function: Callable[[], Any]) -> None:
        """Do something so many seconds after the start, and not after `calm_at`."""
        self._stack.scheduler.at(min(self._starts_at + moment_s, self.calm_at), function)

    # -- the load

    def _send_messages(self, count: int) -> None:
        stack, choice = self._stack, self._random
        burst_at = choice.uniform(0, self.duration_s)
        share_of_burst = choice.choice((0, 0.5, 1))
        for number in range(count):
            order_id = str(1000 + number)
            kinds = {"pending": 75, "accepted": 5, "unknown": 4, "malformed": 3, "done": 3, "overtaken": 10}
            kind = choice.choices([*kinds], [*kinds.values()])[0]
            body = json.dumps({"order_id": order_id})
            sent_s = burst_at if choice.random() < share_of_burst else choice.uniform(0, self.duration_s)
            if kind == "malformed":
                body = choice.choice(("", "{}", "[1]", '{"order_id": true}', '{"order_id": "a b"}'))
            elif kind == "overtaken":  # by its cancellation, for less than two minutes
                self.at(sent_s + choice.uniform(0, 110), partial(stack.clopos.set_status, order_id))
            elif kind != "unknown":
                status = {"accepted": choice.choice(TOO_LATE), "done": "IGNORE"}.get(kind, "PENDING")
                stack.clopos.set_status(order_id, status)
            self.at(sent_s, partial(stack.queue.send, body))
            if choice.random() < 0.05:  # the sender sends a duplicate
                self.at(sent_s + choice.uniform(0, 60), partial(stack.queue.send, body))
            if choice.random() < 0.05:  # the restaurant accepts it
                self.at(
                    sent_s + choice.uniform(0, 5), partial(self._accept, order_id, choice.choice(TOO_LATE))
                )
            if choice.random() < 0.03:  # a caller of the API cancels it too
                self.at(sent_s + choice.uniform(0, 5), partial(stack.call_api, order_id))

    def _accept(self, order_id: str, status: str) -> None:
        if self._stack.clopos.orders.get(order_id) == "PENDING":
            self._stack.clopos.set_status(order_id, status)

    def _call_api(self, count: int) -> None:
        stack, choice = self._stack, self._random
        for number in range(count):
            order_id = str(900_000 + number)
            if choice.random() < 0.95:
                stack.clopos.set_status(order_id, "PENDING" if choice.random() < 0.95 else "RECEIVED")
            self.at(choice.uniform(0, self.duration_s), partial(stack.call_api, order_id))

    def _store_token(self) -> None:
        stack = self._stack
        token = f"stored-{stack.scheduler.now:.0f}"
        stack.clopos.tokens[token] = stack.scheduler.now + 3600
        stack.aws.secrets["arn:token"] = json.dumps(
            {"token": token, "expires_at": stack.clopos.tokens[token]}
        )

    # -- what goes wrong

    def _faults(self) -> list[Callable[[], None]]:
        return [
            *[self._clopos_fails] * 8,
            self._aws_down,
            self._aws_down,
            self._some_events_not_taken,
            self._revoked_token,
            self._other_integration,
            self._killed_workers,
            self._killed_refresh,
            self._deployment,
        ]

    def _period(self, longest_s: float = math.inf) -> tuple[float, float]:
        choice = self._random
        begin, end = sorted(choice.uniform(0, self.duration_s) for _ in range(2))
        return begin, min(end, begin + longest_s)

    def _clopos_fails(self) -> None:
        """Set attributes of the model for a while, and then back to what is normal."""
        choice, clopos = self._random, self._stack.clopos
        how = choice.choice(FAILURES)
        outage: Json = {"failing": how, "auth_failing": choice.choice((None, how))}
        values = choice.choice(
            (
                *(outage, outage, outage),
                {"refusing": choice.choice([*REFUSALS])},
                {"broken": frozenset(str(1000 + choice.randrange(200)) for _ in range(20))},
                {"flaky": choice.uniform(0.05, 0.5)},
                {"lost": choice.uniform(0.05, 0.3)},
                {"lost": choice.uniform(0.05, 0.3), "lag_s": choice.uniform(1, 10)},
                {"garbled": choice.uniform(0.05, 0.3)},
                {"closed": choice.uniform(0.05, 0.5)},
                {"latency_s": (1, choice.uniform(1, 12))},
            )
        )
        begin, end = self._period()
        self.story.append(f"{begin:.0f}-{end:.0f} s: {values}")
        self.at(begin, lambda: vars(clopos).update(values))
        self.at(end, lambda: vars(clopos).update({name: getattr(type(clopos), name) for name in values}))

    def _some_events_not_taken(self) -> None:
        begin, end = self._period()
        self.story.append(f"{begin:.0f}-{end:.0f} s: some events not taken")
        self.at(begin, partial(setattr, self._stack.aws, "partly", self._random.uniform(0.1, 0.9)))
        self.at(end, partial(setattr, self._stack.aws, "partly", 0.0))

    def _aws_down(self) -> None:
        service, how = self._random.choice(SERVICES), self._random.choice(AWS_FAILURES)
        begin, end = self._period(1200)
        self.story.append(f"{begin:.0f}-{end:.0f} s: {service} {how}")
        self.at(begin, lambda: self._stack.aws.down.update({service: how}))
        self.at(end, lambda: self._stack.aws.down.pop(service, None))

    def _revoked_token(self) -> None:
        moment = self._random.uniform(0, self.duration_s)
        self.story.append(f"{moment:.0f} s: tokens revoked")
        self.at(moment, self._stack.clopos.tokens.clear)
        if not self._stack.settings.refreshes:
            self.at(moment + 120, self._store_token)

    def _other_integration(self) -> None:
        begin, end = self._period()
        calls = self._random.choice((5, 20, 60))
        self.story.append(f"{begin:.0f}-{end:.0f} s: {calls} calls per 10 s by others")
        for number in range(int((end - begin) / 10)):
            self.at(begin + number * 10, partial(self._stack.clopos.use_quota, calls))

    def _killed_workers(self) -> None:
        begin, end = self._period(600)
        for _ in range(self._random.randint(1, 20)):
            moment = self._random.uniform(begin, end)
            self.story.append(f"{moment:.0f} s: a worker killed")
            self.at(moment, self._stack.kill_one)

    def _killed_refresh(self) -> None:
        begin, end = self._period(600)
        for _ in range(20):
            self.at(self._random.uniform(begin, end), partial(self._stack.kill_one, "token_refresh"))

    def _deployment(self) -> None:
        for _ in range(self._random.randint(1, 3)):
            moment = self._random.uniform(0, self.duration_s)
            self.story.append(f"{moment:.0f} s: deployment")
            self.at(moment, self._stack.replace_environments)
