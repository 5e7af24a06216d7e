"""A substitute for Lambda's runtime: import a handler from an artifact and call it.

``python -I -S -B runtime.py <command> [<argument> ...]`` runs in the environment that `tools.bench.processes`
provides. This module only imports the standard library, so that all other modules come from the artifact.
Results are written as JSON to the file descriptor in ``BENCH_RESULT_FD``; standard output belongs to the
handler.
"""

import importlib
import inspect
import json
import os
import re
import select
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from local.lambda_events import LambdaContext, sqs_record  # noqa: E402

sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]  # from here on, only the artifact can be imported

Json = dict[str, Any]
Handler = Callable[[Json, LambdaContext], Json]

EVENT = json.loads((ROOT / "events" / "api.json").read_text())


def handler(module: str) -> Handler:
    """Import a module of the artifact and return its handler."""
    imported: Handler = importlib.import_module(module).handler
    return imported


def cancel(api_handler: Handler) -> None:
    """Cancel an order through the API's handler."""
    answer = api_handler(EVENT, LambdaContext())
    if answer["statusCode"] != 200:
        raise RuntimeError(answer["body"])


def memory(calls: str) -> Json:
    """Import the API's handler and cancel an order many times.

    Returns
    -------
    dict
        `peak_kib`, and the number of `connections` to Clopos.
    """
    connections: list[Any] = []
    clopos = urlsplit(os.environ["CLOPOS_BASE_URL"]).port

    def count(event: str, arguments: Any) -> None:
        if event == "socket.connect" and arguments[1][1] == clopos:
            connections.append(arguments)

    sys.addaudithook(count)
    api_handler = handler("api")
    for _ in range(int(calls)):
        cancel(api_handler)
    return {"peak_kib": peak_kib(), "connections": len(connections)}


def warm(rounds: str, libraries: str) -> Json:
    """Cancel orders and make bare calls, alternately.

    Returns
    -------
    dict
        The median CPU seconds of each: `handler`, and a bare call with `requests` and with `urllib3`.
    """
    api_handler = handler("api")
    sys.path.append(libraries)  # an artifact may not have them
    import requests
    import urllib3

    url, headers = f"{os.environ['CLOPOS_BASE_URL']}/orders/108", {"x-token": os.environ["BENCH_TOKEN"]}
    pool = urllib3.PoolManager()

    class Untraced(requests.Session):  # without the patches of a tracer
        request = inspect.unwrap(requests.Session.request)
        prepare_request = inspect.unwrap(requests.Session.prepare_request)

    session = Untraced()

    def with_requests() -> None:
        session.put(url, json={"status": "IGNORE"}, headers=headers).raise_for_status()

    def with_urllib3() -> None:
        answer = pool.request("PUT", url, json={"status": "IGNORE"}, headers=headers)
        if answer.status != 200:
            raise RuntimeError(answer.data)

    calls: dict[str, Callable[[], None]] = {
        "handler": lambda: cancel(api_handler),
        "requests": with_requests,
        "urllib3": with_urllib3,
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    warming_up = int(rounds) // 10
    for number in range(warming_up + int(rounds)):
        for name, call in calls.items():
            started = time.process_time()
            call()
            if number >= warming_up:
                times[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def batch(orders: str, rounds: str) -> Json:
    """Call the queue's handler with batches of orders.

    Returns
    -------
    dict
        The median of the `seconds` that a batch took, and the CPU seconds (`cpu`) of one.
    """
    queue_handler = handler("queue_worker")
    times, cpu_times = [], []
    for _ in range(1 + int(rounds)):
        records = [sqs_record(message(number)) for number in range(int(orders))]
        started, cpu_started = time.perf_counter(), time.process_time()
        result = queue_handler({"Records": records}, LambdaContext())
        times.append(time.perf_counter() - started)
        cpu_times.append(time.process_time() - cpu_started)
        if result["batchItemFailures"]:
            raise RuntimeError(result)
    # The first one opens the connections.
    return {"seconds": statistics.median(times[1:]), "cpu": statistics.median(cpu_times[1:])}


def message(number: int) -> Json:
    """Return a received message for order 108."""
    return {
        "MessageId": f"message-{number}",
        "ReceiptHandle": f"receipt-{number}",
        "Body": json.dumps({"order_id": 108}),
        "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": str(int(time.time() * 1000))},
        "MD5OfBody": "",
    }


def work(timeout_s: str) -> None:
    """Do what Lambda's event source does for one worker: receive ten messages, call the handler, delete.

    Reports "ready" when the handler is imported, starts at a line on standard input, runs until it is killed.
    """
    import botocore.session

    queue_handler = handler("queue_worker")
    sqs: Any = botocore.session.get_session().create_client("sqs")
    queue = os.environ["QUEUE_URL"]
    report({"ready": True})
    sys.stdin.readline()
    while True:
        messages = sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageSystemAttributeNames=["All"]
        ).get("Messages", [])
        if not messages:
            continue
        records = [sqs_record(message) for message in messages]
        result = queue_handler({"Records": records}, LambdaContext(remaining_s=float(timeout_s)))
        failed = {failure["itemIdentifier"] for failure in result["batchItemFailures"]}
        done = [m["ReceiptHandle"] for m in messages if m["MessageId"] not in failed]
        if done:
            sqs.delete_message_batch(
                QueueUrl=queue,
                Entries=[{"Id": str(place), "ReceiptHandle": handle} for place, handle in enumerate(done)],
            )


def call_api(timeout_s: str, delay_s: str, interval_s: str, first_order: str, step: str) -> Json:
    """Cancel one order in each interval through the API's handler, the first one after a delay.

    Reports "ready" when the handler is imported, starts at a line on standard input, ends at the next one.

    Returns
    -------
    dict
        The `calls`, each with the moment at which it was made on the clock of `time.monotonic` (`at`), the
        `seconds` that it took and the `status` of its answer.
    """
    api_handler = handler("api")
    report({"ready": True})
    sys.stdin.readline()
    calls: list[Json] = []
    due, order = time.monotonic() + float(delay_s), int(first_order)
    while not select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
        event = {**EVENT, "pathParameters": {"id": str(order)}}
        at = time.monotonic()
        answer = api_handler(event, LambdaContext(remaining_s=float(timeout_s)))
        calls.append({"at": at, "seconds": time.monotonic() - at, "status": answer["statusCode"]})
        due, order = due + float(interval_s), order + int(step)
    return {"calls": calls}


def peak_kib() -> int:
    """Return the peak memory of this process in KiB; `getrusage` would include that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


def report(result: Json | None) -> None:
    """Write a result for the benchmark."""
    os.write(int(os.environ["BENCH_RESULT_FD"]), json.dumps(result).encode() + b"\n")


COMMANDS: dict[str, Callable[..., Json | None]] = {
    "memory": memory,
    "warm": warm,
    "batch": batch,
    "work": work,
    "call_api": call_api,
}

if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    report(COMMANDS[command](*arguments))
    sys.stdout.flush()
    os._exit(0)  # without Python's shutdown: Lambda freezes a process and does not end it
