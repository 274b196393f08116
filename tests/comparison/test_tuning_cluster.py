"""A search on a Dask cluster: what processes give, also where a worker is killed."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress

import pytest

from tests.comparison.test_cluster import engine
from tests.comparison.test_tuning import plan
from unshaken.comparison import cluster
from unshaken.comparison.tuning import tune
from unshaken.comparison.tuning_summary import rows

distributed = pytest.importorskip("distributed", reason="needs the extra: cluster")
pytest.importorskip("optuna", reason="needs the extra: tune")


def test_a_killed_workers_runs_are_done_again_and_none_counts_twice(tmp_path):
    search = plan(steps=100, seeds=(0, 1), trials=3)
    expected = [{**row, "seconds_per_step": 0} for row in rows(tune(search, tmp_path / "here"))]
    shown, killed = [], []

    def busy_process() -> int:  # inside, so that it travels whole to workers without tests
        return os.getpid() if cluster._ALONE.locked() else 0

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as local,
        distributed.Client(local, set_as_default=False) as client,
    ):

        def kill() -> None:
            while not killed and not done.is_set():
                for pid in client.run(busy_process).values():
                    if pid and not killed:
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                            killed.append(pid)

        done = threading.Event()
        killer = threading.Thread(target=kill)
        killer.start()
        try:
            found = tune(
                search,
                tmp_path / "cluster",
                engine=engine(local),
                finished=lambda record, done, total: shown.append((record["method"], done)),
            )
        finally:
            done.set()
            killer.join()
    assert len(killed) == 1
    assert found.lost == []
    assert [{**row, "seconds_per_step": 0} for row in rows(found)] == expected
    assert [done for _, done in shown] == [1, 2, 3, 4, 5, 6]
