"""Models of SQS, Secrets Manager and EventBridge, as far as the functions use them, and of their failures."""

import heapq
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from tests.simulation.scheduler import Future, Scheduler

Json = dict[str, Any]
LATENCY_S = (0.005, 0.04)


class ResourceNotFoundException(ClientError):
    """A secret has no value."""


@dataclass(eq=False)
class Message:
    """A message of a queue, and what was observed of it."""

    message_id: str
    body: str
    sent_at: float
    visible_at: float
    receive_count: int = 0
    is_gone: bool = False
    gone_at: float | None = None

    def record(self) -> Json:
        """Return it as Lambda's event source hands it over."""
        counts = {
            "ApproximateReceiveCount": str(self.receive_count),
            "SentTimestamp": f"{self.sent_at * 1000:.0f}",
        }
        ids = {"messageId": self.message_id, "receiptHandle": self.message_id, "eventSource": "aws:sqs"}
        return {**ids, "body": self.body, "attributes": counts, "messageAttributes": {}}

    @property
    def order_id(self) -> str | None:
        """The order that it names; None if it names none."""
        try:
            return str(json.loads(self.body)["order_id"])
        except (ValueError, KeyError, TypeError):  # a message that is wrong on purpose
            return None


class Queue:
    """A standard queue of SQS: at least once, in roughly the order of arrival."""

    def __init__(self, scheduler: Scheduler, visibility_s: float, max_receives: int) -> None:
        self._scheduler, self._visibility_s, self._max_receives = scheduler, visibility_s, max_receives
        self.messages: dict[str, Message] = {}
        self.waiting = 0
        self.redriven: list[Message] = []  # by SQS, after the last receive that it allows
        self.duplicates = 0.0  # share of receives and deletes that SQS forgets
        self._visible: list[tuple[float, float, Message]] = []
        self._pollers: list[Future] = []

    def send(self, body: str) -> None:
        now = self._scheduler.now
        message = Message(f"message-{len(self.messages)}", body, now, now)
        self.messages[message.message_id] = message
        self.waiting += 1
        self._show(message, now)

    def _show(self, message: Message, at: float) -> None:
        message.visible_at = at
        heapq.heappush(self._visible, (at, self._scheduler.random.random(), message))
        for poller in self._pollers:
            poller.set_result(None)
        self._pollers.clear()

    def receive(self, most: int) -> list[Json]:
        """Wait for messages and return some."""
        while True:
            records: list[Json] = []
            now, random = self._scheduler.now, self._scheduler.random
            while self._visible and self._visible[0][0] <= now and len(records) < most:
                at, _, message = heapq.heappop(self._visible)
                if message.is_gone or message.visible_at != at:
                    continue
                if message.receive_count >= self._max_receives:
                    self.redriven.append(message)
                    self._remove(message)
                    continue
                message.receive_count += 1
                self._show(message, now if random.random() < self.duplicates else now + self._visibility_s)
                records.append(message.record())
            if records:
                return records
            more = self._scheduler.Future()
            self._pollers.append(more)
            try:
                more.result(self._visible[0][0] - now if self._visible else None)
            except TimeoutError:  # something is visible by now
                self._pollers.remove(more)

    def delete(self, message_id: str) -> None:
        """Delete a message, unless SQS forgets it."""
        message = self.messages[message_id]
        if not message.is_gone and self._scheduler.random.random() >= self.duplicates:
            self._remove(message)

    def _remove(self, message: Message) -> None:
        message.is_gone, message.gone_at = True, self._scheduler.now
        self.waiting -= 1

    def hide(self, message_id: str, seconds: int) -> bool:
        """Change a message's visibility; False if it is not in flight."""
        message = self.messages[message_id]
        if message.is_gone or message.visible_at <= self._scheduler.now:
            return False
        self._show(message, self._scheduler.now + seconds)
        return True


@dataclass
class Event:
    """An event that the bus took, and the order's status at Clopos at that time."""

    at: float
    detail: Json
    status: str | None


class Aws:
    """The services that the functions call; `status_of` returns an order's status at Clopos, for the record."""

    def __init__(
        self,
        scheduler: Scheduler,
        queue: Queue,
        dead_letter: Callable[[str, Json], None],
        invoke: Callable[[str, Json], Json],
        status_of: Callable[[str], str | None],
    ) -> None:
        self.secrets: dict[str, str] = {}
        self.versions: dict[str, list[float]] = defaultdict(list)  # when each was stored
        self.events: list[Event] = []
        self.down: dict[str, str] = {}  # service: how it fails ("refused", "stalled" or "throttled")
        self.partly = 0.0  # share of events that EventBridge does not take
        self._scheduler, self._queue = scheduler, queue
        self._dead_letter, self._invoke_function, self._status_of = dead_letter, invoke, status_of

    def client(self, service: str, config: Any = None) -> Any:
        """Return a client; this is `boto3.client`. It has the operations of all services."""
        operations = (
            *("change_message_visibility_batch", "send_message", "get_secret_value", "put_secret_value"),
            *("put_events", "invoke"),
        )
        return SimpleNamespace(
            exceptions=SimpleNamespace(ResourceNotFoundException=ResourceNotFoundException),
            **{name: self._reached(service, getattr(self, f"_{name}")) for name in operations},
        )

    def _reached(self, service: str, operation: Callable[..., Json]) -> Callable[..., Json]:
        def call(**parameters: Any) -> Json:
            self._scheduler.sleep(self._scheduler.random.uniform(*LATENCY_S))
            how = self.down.get(service)
            if how == "refused":
                raise EndpointConnectionError(endpoint_url=service)
            if how == "throttled":
                raise ClientError({"Error": {"Code": "ThrottlingException"}}, operation.__name__)
            if how == "stalled":
                self._scheduler.sleep(4)  # two attempts of two seconds (cancellation/aws.py)
                raise ReadTimeoutError(endpoint_url=service)
            answer = operation(**parameters)
            if how == "answers lost":
                raise ReadTimeoutError(endpoint_url=service)
            return answer

        return call

    def _change_message_visibility_batch(self, QueueUrl: str, Entries: list[Json]) -> Json:  # noqa: N803
        assert 1 <= len(Entries) <= 10
        failed = []
        for entry in Entries:
            assert 0 <= entry["VisibilityTimeout"] <= 43_200
            if not self._queue.hide(entry["ReceiptHandle"], entry["VisibilityTimeout"]):
                failed.append({"Id": entry["Id"], "Code": "MessageNotInflight"})
        return {"Failed": failed}

    def _send_message(self, QueueUrl: str, MessageBody: str, MessageAttributes: Json, **_: Any) -> Json:  # noqa: N803
        self._dead_letter(MessageBody, MessageAttributes)
        return {"MessageId": "dead-letter"}

    def _get_secret_value(self, SecretId: str, VersionStage: str) -> Json:  # noqa: N803
        if SecretId not in self.secrets:
            raise ResourceNotFoundException({"Error": {"Code": "ResourceNotFound"}}, "GetSecretValue")
        return {"SecretString": self.secrets[SecretId]}

    def _put_secret_value(self, SecretId: str, SecretString: str) -> Json:  # noqa: N803
        self.secrets[SecretId] = SecretString
        self.versions[SecretId].append(self._scheduler.now)
        return {}

    def _put_events(self, Entries: list[Json]) -> Json:  # noqa: N803
        assert 1 <= len(Entries) <= 10
        results = []
        for entry in Entries:
            if self._scheduler.random.random() < self.partly:
                results.append({"ErrorCode": "InternalFailure"})
                continue
            detail = json.loads(entry["Detail"])
            self.events.append(Event(self._scheduler.now, detail, self._status_of(detail["order_id"])))
            results.append({"EventId": str(len(self.events))})
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

    def _invoke(self, FunctionName: str, Payload: str) -> Json:  # noqa: N803
        return self._invoke_function(FunctionName, json.loads(Payload))
