"""Stand in for Lambda's runtime, in a process of its own: import a handler from an artifact and call it.

``python -I -S -B runtime.py <command> [<argument> ...]`` with the environment that `local.bench.processes`
makes. Nothing but the standard library is imported here, so that whatever else a process loads is the
artifact's own. What was measured goes to the file descriptor in ``BENCH_RESULT_FD`` as JSON; standard output
is the handler's.
"""

import importlib
import json
import os
import re
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
    """Import what the function's `Handler` property names."""
    imported: Handler = importlib.import_module(module).handler
    return imported


def cancel(api_handler: Handler) -> None:
    """Cancel an order through the API's handler."""
    answer = api_handler(EVENT, LambdaContext())
    if answer["statusCode"] != 200:
        raise RuntimeError(answer["body"])


def cold() -> Json:
    """Import the API's handler and cancel an order."""
    cancel(handler("api"))
    return {}


def memory(calls: str) -> Json:
    """Import the API's handler and cancel an order many times.

    Returns
    -------
    dict
        `peak_kib`, and how many `connections` to Clopos that opened.
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
    """Cancel orders and make bare calls with requests, in turn.

    Returns
    -------
    dict
        The median CPU seconds of each: `handler`, `bare`.
    """
    api_handler = handler("api")
    sys.path.append(libraries)  # the artifact has no requests
    import requests

    url, headers = f"{os.environ['CLOPOS_BASE_URL']}/orders/108", {"x-token": os.environ["BENCH_TOKEN"]}
    session = requests.Session()

    def bare() -> None:
        session.put(url, json={"status": "IGNORE"}, headers=headers).raise_for_status()

    calls: dict[str, Callable[[], None]] = {"handler": lambda: cancel(api_handler), "bare": bare}
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
    """Give the queue's handler batches of orders.

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
    """Return a message of its own for order 108, as it is received."""
    return {
        "MessageId": f"message-{number}",
        "ReceiptHandle": f"receipt-{number}",
        "Body": json.dumps({"order_id": 108}),
        "Attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": str(int(time.time() * 1000))},
        "MD5OfBody": "",
    }


def drain(module: str, scale: str) -> None:
    """Do what Lambda's event source does with one worker: receive ten, hand them over, delete what is done.

    Says "ready" when the handler is imported, starts at a line on standard input, works until it is ended.
    If time runs faster by a factor, the margin of our pacer is scaled by it.
    """
    import botocore.session

    if float(scale) != 1:
        pacing: Any = importlib.import_module("cancellation.pacing")
        pacing.MARGIN_S /= float(scale)
    queue_handler = handler(module)
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
        result = queue_handler({"Records": records}, LambdaContext())
        failed = {failure["itemIdentifier"] for failure in result["batchItemFailures"]}
        done = [m["ReceiptHandle"] for m in messages if m["MessageId"] not in failed]
        if done:
            sqs.delete_message_batch(
                QueueUrl=queue,
                Entries=[{"Id": str(place), "ReceiptHandle": handle} for place, handle in enumerate(done)],
            )


def peak_kib() -> int:
    """Return the most memory that this process has had, in KiB; `getrusage` counts its parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0])


def report(result: Json | None) -> None:
    """Tell the benchmark."""
    os.write(int(os.environ["BENCH_RESULT_FD"]), json.dumps(result).encode() + b"\n")


COMMANDS: dict[str, Callable[..., Json | None]] = {
    "cold": cold,
    "memory": memory,
    "warm": warm,
    "batch": batch,
    "drain": drain,
}

if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    report(COMMANDS[command](*arguments))
    sys.stdout.flush()
    os._exit(0)  # Lambda freezes a process, it does not take it down
