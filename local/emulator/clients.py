"""Clients of the AWS emulator."""

import os
from functools import cache
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials

REGION = "us-east-1"

#: The emulator's root user. All other users and roles are subject to its IAM checks.
ROOT_USER = Credentials("test", "test")


def aws_client(service: str, endpoint: str) -> Any:
    """Return a boto3 client of the emulator at this address."""
    return _session().client(
        service,
        endpoint_url=endpoint,
        aws_access_key_id=ROOT_USER.access_key,
        aws_secret_access_key=ROOT_USER.secret_key,
        region_name=REGION,
        config=Config(proxies={}),
    )


@cache
def _session() -> Any:
    """Return a session that ignores what the user has configured for the real AWS."""
    return boto3.Session(
        botocore_session=botocore.session.Session(
            {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}
        )
    )
