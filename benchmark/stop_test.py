import threading

import pytest

from benchmark.stop import Stop


def test_work_goes_on_until_it_is_asked_to_end():
    stop = Stop()
    stop.check()
    stop.sleep(0.001)
    assert not stop.is_set()
    stop.set()
    assert stop.is_set()
    with pytest.raises(KeyboardInterrupt):
        stop.check()


def test_a_thread_that_sleeps_is_woken():
    stop, woken = Stop(), threading.Event()

    def sleep():
        try:
            stop.sleep(3600)
        except KeyboardInterrupt:
            woken.set()

    threading.Thread(target=sleep, daemon=True).start()
    stop.set()
    assert woken.wait(60)
