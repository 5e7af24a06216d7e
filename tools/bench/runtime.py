"""A substitute for Lambda's runtime: import a handler from an artifact and call it many times.

``python -I -S -B runtime.py <command> [<argument> ...]`` runs in the environment that `tools.bench.machine`
provides. This module only imports the standard library, so that all other modules come from the artifact.
Results are written as JSON to the file descriptor in ``BENCH_RESULT_FD``; standard output belongs to the
handler.
"""

import importlib
import json
import os
import select
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from local.lambda_events import LambdaContext, sqs_record  # noqa: E402

sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]  # from here on, only the artifact can be imported

Json = dict[str, Any]

EVENT = json.loads((ROOT / "events" / "api.json").read_text())


def handler() -> Callable[[Json, LambdaContext], Json]:
    """Import the function's handler."""
    imported: Callable[[Json, LambdaContext], Json]
    imported = importlib.import_module(os.environ["_HANDLER"].partition(".")[0]).handler
    return imported


def api_event(order_id: str) -> Json:
    """Return the event of a call that is to cancel this order."""
    return {**EVENT, "pathParameters": {"id": order_id}}


def warm(rounds: str, *orders: str) -> list[list[float]]:
    """Make bare calls, then calls of the handler for each of the orders, and return the CPU seconds of each.

    Those of a kind follow each other: a call after which the connection is closed is itself the next one that
    opens another.
    """
    api_handler = handler()
    import requests

    session = requests.Session()
    session.trust_env = False
    url, headers = f"{os.environ['CLOPOS_BASE_URL']}/orders/108", {"x-token": os.environ["BENCH_TOKEN"]}

    def bare() -> None:
        session.put(url, json={"status": "IGNORE"}, headers=headers).raise_for_status()

    calls: list[Callable[[], object]] = [bare]
    calls += [partial(api_handler, api_event(order), LambdaContext()) for order in orders]
    times: list[list[float]] = []
    for call in calls:
        times.append([])
        for _ in range(int(rounds)):
            started = time.process_time()
            call()
            times[-1].append(time.process_time() - started)
    return [taken[int(rounds) // 10 :] for taken in times]  # without the first ones, which warm up


def batch(event_file: str, rounds: str) -> list[list[float]]:
    """Call the queue's handler with a batch, and return the seconds and the CPU seconds of each call."""
    queue_handler, event = handler(), json.loads(Path(event_file).read_text())
    seconds, cpu_seconds = [], []
    for _ in range(1 + int(rounds)):
        started, cpu_started = time.perf_counter(), time.process_time()
        result = queue_handler(event, LambdaContext())
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - cpu_started)
        if result["batchItemFailures"]:
            raise RuntimeError(result)
    return [seconds[1:], cpu_seconds[1:]]  # the first one opens the connections


def work(timeout_s: str) -> None:
    """Do what Lambda's event source does for one worker: receive ten messages, call the handler, delete.

    Reports "ready" when the handler is imported, starts at a line on standard input, runs until it is killed.
    """
    import botocore.session

    queue_handler = handler()
    sqs: Any = botocore.session.get_session().create_client("sqs")
    queue = os.environ["QUEUE_URL"]
    report("ready")
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


def call_api(timeout_s: str, delay_s: str, interval_s: str, first_order: str, step: str) -> list[Json]:
    """Cancel one order in each interval through the API's handler, the first one after a delay.

    Reports "ready" when the handler is imported, starts at a line on standard input, ends at the next one.
    Returns when each call was made (on the clock of `time.monotonic`), how long it took, and its status.
    """
    api_handler = handler()
    report("ready")
    sys.stdin.readline()
    calls: list[Json] = []
    due, order = time.monotonic() + float(delay_s), int(first_order)
    while not select.select([sys.stdin], [], [], max(0, due - time.monotonic()))[0]:
        at = time.monotonic()
        answer = api_handler(api_event(str(order)), LambdaContext(remaining_s=float(timeout_s)))
        calls.append({"at": at, "seconds": time.monotonic() - at, "status": answer["statusCode"]})
        due, order = due + float(interval_s), order + int(step)
    return calls


def report(result: Any) -> None:
    """Write a result for the benchmark."""
    os.write(int(os.environ["BENCH_RESULT_FD"]), json.dumps(result).encode() + b"\n")


COMMANDS: dict[str, Callable[..., Any]] = {"warm": warm, "batch": batch, "work": work, "call_api": call_api}

if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    report(COMMANDS[command](*arguments))
    sys.stdout.flush()
    os._exit(0)  # without Python's shutdown: Lambda freezes a process and does not end it
