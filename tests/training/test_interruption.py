import os
import signal
import threading

import pytest
import torch

from unshaken.training import Interrupted, train
from unshaken.training.interruption import SignalWatch, StopEvaluation

from .helpers import accuracy, assert_same, config, noise, objective, weights


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_noted_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with SignalWatch() as watch:
        assert watch.received is None
        send(number)
        assert watch.received == number
    assert signal.getsignal(number) is before


def test_a_second_interrupt_stops_at_once():
    with pytest.raises(KeyboardInterrupt), SignalWatch():
        send(signal.SIGTERM)
        send(signal.SIGTERM)  # asked twice is still once
        send(signal.SIGINT)


def test_handlers_come_back_after_an_error():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(ZeroDivisionError), SignalWatch():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_other_threads_have_no_handlers():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def inside():
        with SignalWatch():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [before]


def test_an_evaluation_is_cut_short():
    with SignalWatch() as watch:
        with pytest.raises(StopEvaluation), watch.evaluating():
            send(signal.SIGTERM)
        with pytest.raises(StopEvaluation), watch.evaluating():
            pytest.fail("an evaluation began although the run is to stop")


def test_an_evaluation_cut_short_is_done_again_when_resumed(tmp_path):
    data, split = noise()
    whole = train(objective(), data, split, config(), out=tmp_path / "a", evaluate=accuracy)

    def interrupted(model, step):
        if step == 10:
            send(signal.SIGTERM)
            pytest.fail("the evaluation went on")
        return accuracy(model, step)

    with pytest.raises(Interrupted, match="stopped by SIGTERM after step 10; resume from"):
        train(objective(), data, split, config(), out=tmp_path / "b", evaluate=interrupted)
    again = train(
        objective(), data, split, config(), out=tmp_path / "b", resume=True, evaluate=accuracy
    )
    assert again.history == whole.history
    assert_same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_without_a_folder_nothing_is_kept_and_it_says_so():
    data, split = noise()

    def evaluate(model, step):
        send(signal.SIGINT)
        return {}

    target = objective()
    before = torch.get_rng_state()
    with pytest.raises(Interrupted, match="after step 5; nothing was kept") as error:
        train(target, data, split, config(), evaluate=evaluate)
    assert error.value.checkpoint is None
    assert error.value.exit_code == 130
    assert torch.equal(torch.get_rng_state(), before)
