"""What a client sees on the connection: interim answers, surplus bytes, chunks and silence."""

import contextlib
import http.client
import socket

import pytest
import requests

from local.simulator import Fault, black_hole, stalled_listener
from tests.local.simulator.conftest import IGNORE, get, put


def heads(received):
    """Return the status of each answer in what was received."""
    return [int(part[1:4]) for part in received.split(b"HTTP/1.1")[1:]]


class Wire:
    """A connection on which a test reads byte by byte."""

    def __init__(self, clopos, token):
        host, port = clopos.url.removeprefix("http://").split("/")[0].split(":")
        self._connection = socket.create_connection((host, int(port)))
        self._token = token

    def put(self, order_id=108):
        self._connection.sendall(
            f"PUT /open-api/v2/orders/{order_id} HTTP/1.1\r\nHost: localhost\r\nx-token: {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(IGNORE)}\r\n\r\n{IGNORE}".encode()
        )

    def packet(self, patience=10):
        """Return what comes next: nothing if the connection is closed, None if nothing comes in time."""
        self._connection.settimeout(patience)
        try:
            return self._connection.recv(100_000)
        except TimeoutError:  # nothing came
            return None

    def answers(self, number):
        """Return everything until this many answers have begun, or the connection is closed."""
        received = b""
        while len(heads(received)) < number and (packet := self.packet()):
            received += packet
        return received

    def close(self):
        self._connection.close()


@pytest.fixture
def wire(clopos, token):
    with contextlib.closing(Wire(clopos, token)) as wire:
        yield wire


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("processing", [102, 200]),
        ("early_hints", [103, 200]),
        ("interims", [100, 102, 103, 102, 200]),
    ],
)
def test_interim_answers_come_with_the_real_one_in_one_packet(clopos, wire, name, statuses):
    clopos.fail(108, name)
    wire.put()
    packet = wire.packet()
    assert heads(packet) == statuses
    assert packet.endswith(b"}")
    assert clopos.order(108)["status"] == "IGNORE"


@pytest.mark.parametrize(
    ("name", "answers"), [("processing_apart", 2), ("early_hints_apart", 2), ("interims_apart", 5)]
)
def test_interim_answers_come_in_a_packet_of_their_own(clopos, wire, name, answers):
    clopos.fail(108, name)
    wire.put()
    assert len(heads(wire.packet())) == 1
    assert heads(wire.answers(answers - 1))[-1] == 200


def test_after_an_interim_answer_the_connection_serves_the_next_call(clopos, wire):
    clopos.fail(108, "processing")
    wire.put()
    assert heads(wire.packet()) == [102, 200]
    wire.put(404404)
    assert heads(wire.packet()) == [404]


def test_an_interim_answer_can_be_the_only_one(clopos, wire):
    clopos.fail(108, "interim_only")
    wire.put()
    assert heads(wire.packet()) == [102]
    assert wire.packet() == b""
    assert clopos.order(108)["status"] == "PENDING"
    assert clopos.calls(108)[0].status is None


def test_after_an_interim_answer_there_may_be_silence(clopos, wire):
    clopos.fail(108, "interim_then_silence")
    wire.put()
    assert heads(wire.packet()) == [102]
    assert wire.packet(patience=0.2) is None


def test_interim_answers_may_never_end(clopos, wire):
    clopos.fail(108, "interims_without_end")
    wire.put()
    assert [heads(wire.packet()) for _ in range(3)] == [[100], [100], [100]]


def test_silence_leaves_the_connection_open(clopos, wire):
    clopos.fail(108, "silence")
    wire.put()
    assert wire.packet(patience=0.2) is None
    assert clopos.order(108)["status"] == "PENDING"


def test_a_stalled_answer_is_half_a_body_on_an_open_connection(clopos, wire):
    clopos.fail(108, "stalled")
    wire.put()
    assert heads(wire.packet()) == [200]
    assert wire.packet(patience=0.2) is None


@pytest.mark.parametrize(
    ("name", "statuses"),
    [("no_content_with_body", [204, 200]), ("surplus", [200, 200]), ("unavailable_with_surplus", [503, 200])],
)
def test_surplus_bytes_come_with_the_answer(clopos, wire, name, statuses):
    clopos.fail(108, name)
    wire.put()
    packet = wire.packet()
    assert heads(packet) == statuses
    assert packet.endswith(b'{"success": true, "data": {"id": 108, "status": "IGNORE"}}')


@pytest.mark.parametrize(
    ("name", "status"),
    [("no_content_with_late_body", 204), ("late_surplus", 200), ("unavailable_with_late_surplus", 503)],
)
def test_surplus_bytes_come_after_the_answer(clopos, wire, name, status):
    clopos.fail(108, name)
    wire.put()
    assert heads(wire.packet()) == [status]
    wire.put(404404)
    assert heads(wire.answers(2)) == [200, 404]


def test_surplus_bytes_can_be_chosen(clopos, wire):
    clopos.fail(108, Fault(204, delivery="surplus", surplus=b"\xff\x00", interval=0))
    wire.put()
    assert wire.packet().endswith(b"\r\n\r\n\xff\x00")


def test_no_content_has_no_content_length(clopos, wire):
    clopos.fail(108, "no_content_with_body")
    wire.put()
    assert b"Content-Length" not in wire.packet().split(b"\r\n\r\n")[0]


def test_a_naive_client_takes_the_surplus_for_the_answer_to_its_next_call(clopos, token):
    clopos.fail(108, "unavailable_with_late_surplus")
    connection = http.client.HTTPConnection(clopos.url.split("/")[2])
    headers = {"x-token": token, "Content-Type": "application/json"}
    connection.request("PUT", "/open-api/v2/orders/108", IGNORE, headers)
    assert connection.getresponse().read() == b""
    connection.request("PUT", "/open-api/v2/orders/404404", IGNORE, headers)
    assert connection.getresponse().status == 200
    connection.close()
    assert clopos.order(108)["status"] == "PENDING"


@pytest.mark.parametrize(
    "name", ["chunked", "chunked_apart", "chunked_trailers", "until_close", "chunked_and_length"]
)
def test_sound_framing_is_understood_by_any_client(clopos, token, name):
    clopos.fail(108, name)
    assert put(clopos, token).json()["data"] == clopos.order(108)


@pytest.mark.parametrize("name", ["chunked_surplus", "chunked_late_surplus"])
def test_surplus_bytes_come_after_the_last_chunk(clopos, wire, name):
    clopos.fail(108, name)
    wire.put()
    received = wire.answers(2)
    assert heads(received) == [200, 200]
    assert b"0\r\n\r\nHTTP/1.1 200" in received


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("chunked_bad_size", "InvalidChunkLength"),
        ("chunked_unfinished", "InvalidChunkLength|IncompleteRead|ended prematurely"),
        ("chunked_cut", "IncompleteRead"),
        ("two_lengths", "multiple unmatching values"),
        ("not_http", "BadStatusLine"),
        ("many_headers", "more than 100 headers"),
        ("long_header", "header line"),
    ],
)
def test_broken_framing_is_an_error_to_a_client(clopos, token, name, error):
    clopos.fail(108, name)
    with pytest.raises(requests.RequestException, match=error):
        put(clopos, token)
    assert [call.fault for call in clopos.calls(108)] == [name]


def test_reads_have_the_same_faults_as_cancellations(clopos, token):
    clopos.fail_get(108, "another_order", "interim_only")
    assert get(clopos, token).json()["data"]["id"] == 999_108
    with pytest.raises(requests.JSONDecodeError):
        get(clopos, token).json()  # requests takes the interim answer for the real one


def test_a_stalled_listener_accepts_connections_and_sends_nothing():
    with stalled_listener() as address, socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"hello")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_a_black_hole_does_not_even_refuse_a_connection():
    with black_hole() as address, pytest.raises(TimeoutError):
        socket.create_connection(address, timeout=0.3)
