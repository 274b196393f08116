"""``import unshaken`` beside ``import torch``: nearly nothing, and no library that few need."""

import json
import os
import subprocess
import sys
from pathlib import Path

HEAVY = ("scipy", "sklearn", "matplotlib", "lightning_fabric", "jsonargparse", "rich", "datasets")
HEAVY += ("joblib", "lightning", "optuna", "pytorch_lightning", "transformers")


def test_it_adds_little_to_the_import_of_torch():
    program = (
        "import json, sys, time, torch\n"
        "before = time.process_time()\n"
        "import unshaken\n"
        "print(json.dumps([time.process_time() - before, sorted(sys.modules)]))\n"
    )
    source = str(Path(__file__).parents[1] / "src")
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    )
    seconds, modules = json.loads(done.stdout)
    assert not set(HEAVY) & set(modules)
    assert seconds < 0.3
