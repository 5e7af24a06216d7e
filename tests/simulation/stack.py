"""The deployed stack on the virtual clock: the functions' own code between the models of AWS and of Clopos."""

import contextlib
import io
import json
import traceback
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import yaml
from botocore.exceptions import ClientError

from tests.simulation.aws import Aws, Json, Message, Queue
from tests.simulation.clopos import TOKEN_LIFE_S, Clopos
from tests.simulation.code import FUNCTIONS, Code, errors, exchange
from tests.simulation.scheduler import Process, Scheduler

COLD_START_S = (0.4, 1.2)
TOKEN, CREDENTIALS = "arn:token", "arn:credentials"
REFRESH = "clopos-cancel-token-refresh"


class _Yaml(yaml.SafeLoader):
    """CloudFormation's YAML without its functions."""


_Yaml.add_multi_constructor("!", lambda *_: None)
RESOURCES = yaml.load((FUNCTIONS.parent / "template.yaml").read_text(), _Yaml)["Resources"]  # noqa: S506 - it is safe
QUEUE = RESOURCES["Queue"]["Properties"]
MAX_RECEIVES = QUEUE["RedrivePolicy"]["maxReceiveCount"]
TIMEOUTS_S = {
    "api": RESOURCES["ApiFunction"]["Properties"]["Timeout"],
    "queue_worker": RESOURCES["QueueFunction"]["Properties"]["Timeout"],
    "token_refresh": RESOURCES["TokenRefreshFunction"]["Properties"]["Timeout"],
}


class Crashed(Exception):
    """An invocation that was killed: by us, or by Lambda when its time was up."""


@dataclass(eq=False)
class Environment:
    """An execution environment of Lambda."""

    function: str
    module: Any
    process: Process
    is_retired: bool = False  # a deployment has replaced it
    running: Any = None  # the future of its invocation


@dataclass
class DeadLetter:
    """A message that a worker put into the dead-letter queue."""

    reasons: dict[str, str]
    status: str | None  # of the order at Clopos, at that time


@dataclass
class ApiCall:
    """A call of the API, and its answer once there is one."""

    at: float
    order_id: str
    answered_at: float | None = None
    status: int | None = None
    body: Json | None = None
    clopos_status: str | None = None  # when it was answered


@dataclass
class Line:
    """A line of the log."""

    at: float
    text: str
    keys: Json


@dataclass
class Settings:
    """The parameters of the stack, and of the simulation around it."""

    seed: object = 0
    queue_workers: int = 2
    api_reserve: int = 30
    event_bus: str = "default"
    refreshes: bool = True
    clock_stops: bool = False  # whether a frozen process's monotonic clock stands still
    short_batches: bool = False  # whether SQS sometimes returns fewer messages than there are


@dataclass
class History:
    """What happened, for the checkers; Clopos, AWS and the queue keep their own part."""

    dead_letters: list[DeadLetter] = field(default_factory=list)
    api_calls: list[ApiCall] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    batches: list[tuple[list[str], bool]] = field(default_factory=list)  # the messages; whether it crashed
    raised: list[Exception] = field(default_factory=list)  # by the queue's worker, which must not raise
    environments: list[Environment] = field(default_factory=list)


class Stack:
    """Everything together."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.scheduler = scheduler = Scheduler(settings.seed)
        self.history = History()
        self.clopos = Clopos(scheduler)
        self.queue = Queue(scheduler, QUEUE["VisibilityTimeout"], MAX_RECEIVES)
        self.aws = Aws(scheduler, self.queue, self._dead_letter, self._invoke_refresh, self.clopos.orders.get)
        self._idle: dict[str, list[Environment]] = defaultdict(list)
        self._busy: list[Environment] = []
        self._invocations: Counter[str] = Counter()
        self._request_ids = 0
        self._code = self._load_code()
        token = "token-of-the-deployment"
        self.clopos.tokens[token] = scheduler.now + TOKEN_LIFE_S
        self.aws.secrets[TOKEN] = json.dumps({"token": token, "expires_at": self.clopos.tokens[token]})
        self.aws.secrets[CREDENTIALS] = json.dumps(
            {"client_id": "id", "client_secret": "fake", "brand": "brand", "integrator_id": "integrator"}
        )
        for _ in range(settings.queue_workers):
            scheduler.start(self._poll)
        if settings.refreshes:
            scheduler.start(self._refresh_on_schedule)

    # -- the code

    def _load_code(self) -> Code:
        history, scheduler, settings = self.history, self.scheduler, self.settings

        def log(text: str, **keys: Any) -> None:
            history.lines.append(Line(scheduler.now, text, keys))

        def decorator(*args: Any, **_: Any) -> Any:
            return args[0] if args else lambda function: function

        def internal_error(exc: Exception) -> Any:
            log("unexpected error", error=repr(exc), stack=traceback.format_tb(exc.__traceback__))
            return errors.CancelError("internal_error", "a bug")

        names = {
            "time": SimpleNamespace(
                time=lambda: scheduler.now, monotonic=scheduler.monotonic, sleep=scheduler.sleep
            ),
            "random": scheduler.random,
            "threading": SimpleNamespace(Lock=scheduler.Lock),
            "run_in_thread": scheduler.start,
            "Future": scheduler.Future,
            "Connections": self.clopos.connections(exchange.Exchange),
            "tls_context": lambda: None,
            "logger": SimpleNamespace(info=log, warning=log, error=log, inject_lambda_context=decorator),
            "metrics": SimpleNamespace(add_metric=lambda *_: None, log_metrics=decorator),
            "tracer": SimpleNamespace(provider=None, capture_lambda_handler=decorator),
            "internal_error": internal_error,
        }
        environment = {
            "CLOPOS_BASE_URL": "https://clopos.example/v2",
            "POWERTOOLS_SERVICE_NAME": "clopos-cancel",
            "TOKEN_SECRET_ARN": TOKEN,
            "CREDENTIALS_SECRET_ARN": CREDENTIALS,
            "TOKEN_REFRESH_FUNCTION": REFRESH if settings.refreshes else "",
            "EVENT_BUS_NAME": settings.event_bus,
            "QUEUE_URL": "queue",
            "DEAD_LETTER_QUEUE_URL": "dead-letters",
            "QUEUE_WORKERS": str(settings.queue_workers),
            "API_RESERVE": str(settings.api_reserve),
            "CANCELLATION_TYPES": "order.cancelled,order.canceled",
        }
        return Code(names, self.aws.client, scheduler.ThreadPoolExecutor, environment)

    def _start_environment(self, function: str) -> Environment:
        name = f"{function} {len(self.history.environments)}"
        process = Process(name, clock_stops=self.settings.clock_stops)
        environment = Environment(function, self._code.load(function), process)
        self.history.environments.append(environment)
        return environment

    # -- Lambda

    def _invoke(self, function: str, event: Json) -> Any:
        """Invoke a function and return its result; the caller may die meanwhile."""
        result = self.scheduler.Future()

        def control() -> None:
            try:
                result.set_result(self._run(function, event, TIMEOUTS_S[function]))
            except Exception as exc:  # noqa: BLE001 - handed to the caller
                result.set_exception(exc)
            self._invocations[function] -= 1

        self._invocations[function] += 1
        self.scheduler.start(control, process=self.scheduler.world)
        return result.result()

    def _run(self, function: str, event: Json, timeout_s: float) -> Any:
        scheduler = self.scheduler
        if self._idle[function]:
            environment = self._idle[function].pop()
        else:
            scheduler.sleep(scheduler.random.uniform(*COLD_START_S))
            environment = self._start_environment(function)
        environment.running = running = scheduler.Future()
        self._busy.append(environment)
        scheduler.thaw(environment.process)
        ends_at = scheduler.now + timeout_s
        self._request_ids += 1
        context = SimpleNamespace(
            aws_request_id=f"request-{self._request_ids}",
            get_remaining_time_in_millis=lambda: max(0, round((ends_at - scheduler.now) * 1000)),
        )

        def handle() -> None:
            try:
                running.set_result(environment.module.handler(event, context))
            except Exception as exc:  # noqa: BLE001 - Lambda's runtime catches all
                running.set_exception(exc)

        scheduler.start(handle, process=environment.process)
        try:
            result = running.result(timeout_s)
        except (TimeoutError, Crashed):  # it timed out or was killed
            scheduler.kill(environment.process)
            raise Crashed(function) from None
        finally:
            self._busy.remove(environment)
            scheduler.freeze(environment.process)
        if environment.is_retired:
            scheduler.kill(environment.process)
        else:
            self._idle[function].append(environment)
        return result

    def kill_one(self, function: str = "queue_worker") -> bool:
        """Kill an environment of a function in the middle of an invocation, if there is one."""
        running = [environment.running for environment in self._busy if environment.function == function]
        if running:
            self.scheduler.random.choice(running).set_exception(Crashed())
        return bool(running)

    def replace_environments(self) -> None:
        """Replace all environments, as a deployment does: the busy ones first finish what they do."""
        for environment in [environment for idle in self._idle.values() for environment in idle]:
            self.scheduler.kill(environment.process)
        self._idle.clear()
        for environment in self._busy:
            environment.is_retired = True

    # -- what invokes the functions

    def _poll(self) -> None:
        """One of the event source's pollers."""
        while True:
            most = self.scheduler.random.randint(1, 10) if self.settings.short_batches else 10
            records = self.queue.receive(most)
            ids = [record["messageId"] for record in records]
            try:
                result = self._invoke("queue_worker", {"Records": records})
            except Exception as exc:  # noqa: BLE001 - the messages come back when their visibility timeout ends
                self.history.batches.append((ids, True))
                if not isinstance(exc, Crashed):
                    self.history.raised.append(exc)
                continue
            self.history.batches.append((ids, False))
            kept = {failure["itemIdentifier"] for failure in result["batchItemFailures"]}
            for message_id in ids:
                if message_id not in kept:
                    self.queue.delete(message_id)

    def _invoke_refresh(self, name: str, event: Json) -> Json:
        assert name == REFRESH
        if self._invocations["token_refresh"]:  # ReservedConcurrentExecutions: 1
            raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")
        try:
            result = self._invoke("token_refresh", event)
        except Exception:  # noqa: BLE001 - Lambda answers with what the function raised
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(b"{}")}
        return {"Payload": io.BytesIO(json.dumps(result).encode())}

    def _refresh_on_schedule(self) -> None:
        while True:
            self.scheduler.sleep(20 * 60)
            for _ in range(2):  # Lambda tries an asynchronous invocation again after a minute
                with contextlib.suppress(ClientError):  # throttled
                    if "FunctionError" not in self._invoke_refresh(REFRESH, {}):
                        break
                self.scheduler.sleep(60)

    def call_api(self, order_id: str) -> None:
        """Call the API, and wait for the answer."""
        call = ApiCall(self.scheduler.now, order_id)
        self.history.api_calls.append(call)

        def wait() -> None:
            path = {"httpMethod": "PUT", "pathParameters": {"id": order_id}}
            event = {**path, "headers": {}, "requestContext": {}, "body": '{"status": "IGNORE"}'}
            try:
                answer = self._invoke("api", event)
            except Crashed:  # API Gateway answers 502
                answer = {"statusCode": 502, "body": "{}"}
            call.answered_at = self.scheduler.now
            call.status, call.body = answer["statusCode"], json.loads(answer["body"])
            call.clopos_status = self.clopos.orders.get(order_id)

        self.scheduler.start(wait, process=self.scheduler.world)

    def _dead_letter(self, body: str, attributes: Json) -> None:
        status = self.clopos.orders.get(Message("", body, 0, 0).order_id or "")
        reasons = {name: value["StringValue"] for name, value in attributes.items()}
        self.history.dead_letters.append(DeadLetter(reasons, status))

    def close(self) -> None:
        """End all threads, and put the real clock and clients back."""
        for process in [*(e.process for e in self.history.environments), self.scheduler.world]:
            self.scheduler.kill(process)
        self._code.restore()
