"""Waiting until a deadline, and no longer."""

import threading

import pytest

from cancellation.deadline import Deadline


def test_a_deadline_is_so_far_away_and_never_before_now(clock, context):
    assert Deadline.of(context, margin_s=12).left() == 88
    assert Deadline.after(5).at_most(3).left() == 3
    assert Deadline.after(3).at_most(5).left() == 3
    deadline = Deadline.after(5)
    clock.now += 6
    assert deadline.left() == 0


def test_a_result_or_an_exception_reaches_the_caller():
    assert Deadline.after(60).run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        Deadline.after(60).run(lambda: 1 / 0)
    with pytest.raises(SystemExit):
        Deadline.after(60).run(exit)


def test_what_blocks_is_left_behind_in_a_thread_that_keeps_no_process_alive():
    started, release, is_daemon = threading.Event(), threading.Event(), []

    def block():
        is_daemon.append(threading.current_thread().daemon)
        started.set()
        release.wait()

    with pytest.raises(TimeoutError):
        Deadline.after(0.05).run(block)
    started.wait()
    release.set()
    assert is_daemon == [True]
