"""No web page that a developer visits can use the local stack through the browser."""

import asyncio
from urllib.parse import urlsplit

import pytest
import requests

from local.browser_guard import guarded, refusal

CREATE_ROLE = "Action=CreateRole&Version=2010-05-08&RoleName=evil&AssumeRolePolicyDocument=%7B%7D"
# Any signature will do for the emulator, so an attacker can make one up.
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=0",
    "X-Amz-Date": "20260101T000000Z",
    "Content-Type": "application/x-www-form-urlencoded",
}
ATTACKS = {
    "a form of another site": {"Origin": "https://evil.example"},
    "a form of another port of this machine": {"Origin": "http://127.0.0.1:3000"},
    "a sandboxed frame or a local file": {"Origin": "null"},
    "DNS rebinding": {"Host": "evil.example", "Sec-Fetch-Site": "same-origin"},
    "DNS rebinding with the origin of the rebound name": {
        "Host": "evil.example:{port}",
        "Origin": "http://evil.example:{port}",
    },
    "the address of all interfaces": {"Host": "0.0.0.0:{port}"},
    "a name that ends like ours": {"Host": "localhost.evil.example:{port}"},
    "a link or an image of another site": {"Sec-Fetch-Site": "cross-site"},
    "another site on this machine": {"Sec-Fetch-Site": "same-site"},
    "a preflight": {"Origin": "http://127.0.0.1:{port}", "Access-Control-Request-Method": "POST"},
}


def send(method, url, headers, **request):
    port = str(urlsplit(url).port)
    headers = {name: value.replace("{port}", port) for name, value in headers.items()}
    return requests.request(method, url, headers=headers, timeout=30, **request)


@pytest.mark.parametrize("attack", ATTACKS)
def test_another_site_reaches_neither_the_emulator_nor_the_api_nor_the_simulator(stack, clopos, attack):
    headers, clopos_root = ATTACKS[attack], clopos.url.removesuffix(urlsplit(clopos.url).path)
    token = clopos.issue_token()
    answers = [
        send("GET", stack.endpoint, headers),
        send("POST", stack.endpoint, SIGNED | headers, data=CREATE_ROLE),
        send("PUT", f"{stack.outputs['ApiUrl']}/orders/108", headers, json={"status": "IGNORE"}),
        send("POST", f"{clopos_root}/_simulator/revoke_tokens", headers, data="{}"),
        send("OPTIONS", f"{stack.outputs['ApiUrl']}/orders/108", headers),
    ]
    assert [answer.status_code for answer in answers] == [403] * len(answers)
    assert not [name for answer in answers for name in answer.headers if name.lower().startswith("access-")]
    roles = stack.client("iam").list_roles()["Roles"]
    assert "evil" not in {role["RoleName"] for role in roles}
    assert clopos.calls() == []
    assert send("GET", f"{clopos.url}/orders/108", {"x-token": token}).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_programs_and_the_user_pass_and_other_sites_cannot_read_the_answer(stack, host):
    """Neither curl nor an SDK sends more than a Host; an address that the user typed is of no site."""
    for headers in ({}, {"Sec-Fetch-Site": "none"}):
        answer = send("GET", f"{stack.endpoint}/_ministack/health", {"Host": f"{host}:{{port}}", **headers})
        assert answer.status_code == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:4566", "127.8.9.10:80", "localhost", "LocalHost:4566", "[::1]", "[::1]:4566"],
)
def test_a_loopback_host_passes(host):
    assert refusal([("Host", host)]) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",  # noqa: S104 - it is refused
        "10.0.0.1",
        "192.168.1.2:4566",
        "[::]",
        "[fe80::1]",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.localhost",
        "2130706433",
        "localhost:port",
        "localhost@evil.example",
        "evil.example@localhost",
        "localhost/evil.example",
        "[127.0.0.1",
    ],
)
def test_any_other_host_is_refused(host):
    assert refusal([("Host", host)])


def test_one_bad_value_among_several_is_enough():
    good = [("host", "localhost"), ("origin", "http://localhost"), ("sec-fetch-site", "same-origin")]
    assert refusal(good) is None
    for name, value in (
        ("host", "evil.example"),
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ):
        assert refusal([*good, (name, value)])
    assert refusal([("Origin", "http://localhost")]), "without a host"


def test_the_emulator_opens_no_websocket():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    async def accept(scope, receive, send):
        await send({"type": "websocket.accept"})

    scope = {"type": "websocket", "headers": [(b"host", b"localhost")]}
    asyncio.run(guarded(accept)(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]
