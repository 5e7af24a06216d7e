"""A cold start: import a handler and give it one event, in the environment of `tools.bench.machine`.

Like `floor.py`, it imports nothing that a function does not need, so that nothing else is measured.
"""

import importlib
import json
import os
import sys
from types import SimpleNamespace

sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])

handler = importlib.import_module(os.environ["_HANDLER"].partition(".")[0]).handler
context = SimpleNamespace(
    aws_request_id="request-1",
    function_name="function",
    function_version="1",
    memory_limit_in_mb=768,
    invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:function",
    get_remaining_time_in_millis=lambda: 90_000,
)
with open(sys.argv[1]) as event:
    answer = handler(json.load(event), context)
if answer.get("statusCode") != 200 and answer.get("batchItemFailures") != []:
    raise RuntimeError(answer)
with open("/proc/self/status") as status:  # `getrusage` would include the process that started this one
    peak_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
os.write(int(os.environ["BENCH_RESULT_FD"]), b"%d\n" % peak_kib)
os._exit(0)  # without Python's shutdown: Lambda freezes a process and does not end it
