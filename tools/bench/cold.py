"""A cold start: import the API's handler and cancel one order.

It runs in the same environment as `tools.bench.runtime`. Like `floor.py`, it imports nothing else, so that
nothing else is measured.
"""

import json
import os
import sys
from types import SimpleNamespace

sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])

from api import handler

context = SimpleNamespace(
    aws_request_id="request-1",
    function_name="function",
    function_version="$LATEST",
    memory_limit_in_mb=1024,
    invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:function",
    get_remaining_time_in_millis=lambda: 28_000,
)
with open(sys.argv[1]) as event:
    answer = handler(json.load(event), context)
if answer["statusCode"] != 200:
    raise RuntimeError(answer["body"])
os.write(int(os.environ["BENCH_RESULT_FD"]), b"{}\n")
os._exit(0)  # without Python's shutdown: Lambda freezes a process and does not end it
