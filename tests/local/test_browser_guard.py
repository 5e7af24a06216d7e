"""No web page that a developer visits can use the local stack through the browser."""

import asyncio
from urllib.parse import urlsplit

import pytest
import requests

from local.browser_guard import guarded, refusal

CREATE_ROLE = "Action=CreateRole&Version=2010-05-08&RoleName=evil&AssumeRolePolicyDocument=%7B%7D"
# Any signature will do for the emulator, so an attacker can make one up.
SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=0"
)
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
}
PREFLIGHT = {
    "Origin": "https://evil.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "x-amz-target",
}


@pytest.fixture(params=["emulator", "simulator"])
def server(request, stack, clopos):
    """The address of each server that listens."""
    url = urlsplit(stack.endpoint if request.param == "emulator" else clopos.url)
    return f"http://{url.netloc}"


def send(method, url, headers, **request):
    port = str(urlsplit(url).port)
    headers = {name: value.replace("{port}", port) for name, value in headers.items()}
    return requests.request(method, url, headers=headers, timeout=30, **request)


def assert_refused(answer):
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_another_site_makes_a_browser_send_is_refused(server, method, attack):
    assert_refused(send(method, f"{server}/", ATTACKS[attack], data=CREATE_ROLE))


@pytest.mark.parametrize("attack", ATTACKS)
def test_another_site_can_create_no_role_that_its_code_could_run_under(stack, attack):
    headers = {
        "Authorization": SIGNATURE,
        "X-Amz-Date": "20260101T000000Z",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    assert_refused(send("POST", stack.endpoint, headers | ATTACKS[attack], data=CREATE_ROLE))
    names = {role["RoleName"] for role in stack.client("iam").list_roles()["Roles"]}
    assert "evil" not in names


@pytest.mark.parametrize("attack", ATTACKS)
def test_another_site_cannot_use_the_simulators_controls(clopos, attack):
    url = f"{clopos.url.removesuffix(urlsplit(clopos.url).path)}/_simulator/revoke_tokens"
    token = clopos.issue_token()
    assert_refused(send("POST", url, {"Content-Type": "text/plain"} | ATTACKS[attack], data="{}"))
    answer = requests.get(f"{clopos.url}/orders/108", headers={"x-token": token}, timeout=30)
    assert answer.status_code == 200


@pytest.mark.parametrize("attack", ATTACKS)
def test_another_site_cannot_call_the_api(stack, clopos, attack):
    path = f"{stack.outputs['ApiUrl']}/orders/108"
    assert_refused(send("PUT", path, ATTACKS[attack], json={"status": "IGNORE"}))
    assert clopos.calls() == []


def test_a_preflight_is_refused(server, stack):
    assert_refused(send("OPTIONS", f"{server}/", PREFLIGHT))
    assert_refused(send("OPTIONS", f"{stack.outputs['ApiUrl']}/orders/108", PREFLIGHT))


def test_what_a_program_may_call_is_not_readable_for_another_site(stack):
    answer = requests.get(f"{stack.endpoint}/_ministack/health", timeout=30)
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_programs_and_the_user_pass(server, host):
    """Neither curl nor an SDK sends more than a Host; an address that the user typed is of no site."""
    for headers in ({}, {"Sec-Fetch-Site": "none"}):
        answer = send("GET", f"{server}/", {"Host": f"{host}:{{port}}", **headers})
        assert "another site" not in answer.text
        assert "not an address of this machine" not in answer.text


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
    for bad in (
        ("host", "evil.example"),
        ("origin", "http://evil.example"),
        ("sec-fetch-site", "cross-site"),
    ):
        assert refusal([*good, bad])


def test_an_origin_without_a_host_is_refused():
    assert refusal([("Origin", "http://localhost")])


# -- as an ASGI application, which the emulator and the page are


async def open_to_anybody(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    else:
        headers = [(b"Access-Control-Allow-Origin", b"*"), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})


def sent_by_guarded_application(kind, headers):
    """Return what the application sends behind the guard."""
    sent = []
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(message):
        sent.append(message)

    asyncio.run(guarded(open_to_anybody)({"type": kind, "headers": raw}, receive, send))
    return sent


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:4080"},
    ],
)
def test_the_user_and_the_page_itself_pass(headers):
    start, body = sent_by_guarded_application("http", {"Host": "localhost:4080", **headers})
    assert start["status"] == 200
    assert start["headers"] == [(b"content-type", b"text/plain")]  # and nobody else may read it
    assert body["body"] == b"hello"


def test_the_page_may_open_a_websocket():
    headers = {"Host": "localhost:4080", "Origin": "http://localhost:4080"}
    assert sent_by_guarded_application("websocket", headers) == [{"type": "websocket.accept"}]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_another_site_may_not_open_a_websocket(headers):
    [close] = sent_by_guarded_application("websocket", {"Host": "localhost:4080", **headers})
    assert close["type"] == "websocket.close"
