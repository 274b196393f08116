"""The most memory that tensors take during a step."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def peak(work: Callable[[], None], device: torch.device) -> int:
    """Bytes that ``work`` holds at its fullest moment beyond what was held before it.

    On a GPU the caching allocator's own count. On the CPU every allocation and release of torch's
    allocator, as its profiler records them: results, what autograd keeps, and the scratch space of
    the kernels, each from the moment it is taken to the moment it is released, also within a
    backward pass. Memory that was held before and is released in ``work`` is not given back.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with tempfile.TemporaryDirectory() as folder, _silent_profiler():
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            work()
        path = Path(folder) / "trace.json"
        record.export_chrome_trace(str(path))
        events = json.loads(path.read_text("utf-8"))["traceEvents"]
    changes = sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: float(e["ts"]))
    if not changes:
        return 0
    # The allocator goes on counting from one record to the next.
    before = changes[0]["args"]["Total Allocated"] - changes[0]["args"]["Bytes"]
    return max(0, *(e["args"]["Total Allocated"] - before for e in changes))


@contextmanager
def _silent_profiler() -> Iterator[None]:
    # Some builds of the profiler tell of each start and stop on the standard error output.
    name = "KINETO_LOG_LEVEL"
    before = os.environ.get(name)
    os.environ[name] = "99"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
