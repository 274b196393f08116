"""Sets up the project's environment and runs a job in it: python3 bootstrap.py JOB [arguments].

demo    compares methods on embedded data; arguments go to `unshaken compare`, later ones win,
        and paths are relative to the current folder: --seeds 1 --methods baseline,vat --out demo
test    runs the tests; arguments go to pytest: tests/models -x
lint    runs ruff and mypy
docs    builds the documentation into docs/_build; a warning is an error
setup   makes the environment for all of these and runs nothing

The environment is the folder .venv beside this file. A marker in it says what it was made from: a
set-up that is current is skipped, one that was interrupted starts anew. Environment variables:

TORCH_INDEX       address of another package index for torch (CPU only, another CUDA version)
OMP_NUM_THREADS   threads of each process; 1 unless set
"""

import contextlib
import hashlib
import importlib.util
import os
import platform
import re
import signal
import subprocess
import sys
import time

# Before anything that an older Python could not run.
if sys.version_info < (3, 10):
    sys.exit(
        "unshaken needs Python 3.10 or newer, and this is Python "
        + platform.python_version()
        + " ("
        + sys.executable
        + "). Call bootstrap.py with a newer one, for example: python3.11 bootstrap.py demo"
    )

from collections.abc import Iterator
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
MARKER = ENVIRONMENT / "set-up.txt"
LOG = ENVIRONMENT / "set-up.log"
CONSTRAINTS = ROOT / "constraints.txt"

CORE, ALL = "", "[test,quality,attacks,hub,tune,logs,cluster,lightning,examples,docs]"
DEMO = ["compare", "--data", "digits", "--labels", "100", "--seeds", "5", "--out", "demo"]
DEMO += ["--methods", "auto,dropout,at-l2,vmt-all,xvat,mat,mvat"]
DOCS = ["-m", "sphinx", "-q", "-W", "--keep-going", "docs", "docs/_build"]
LINT = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]]


def say(sentence: str) -> None:
    """Prints at once, so that the lines keep their place among a child's."""
    print(sentence, flush=True)


def surroundings() -> str:
    """What an environment cannot outlive: the interpreter it came from and its own address."""
    return f"Python {platform.python_version()} of {sys.base_prefix} for {ROOT}"


def digest() -> str:
    """SHA-256 of the files that say what is installed, and how."""
    total = hashlib.sha256()
    for path in (ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__).resolve()):
        total.update(path.read_bytes() + b"\0")
    return total.hexdigest()


def marker() -> list[str]:
    """The [surroundings, digest, extras] of the last finished set-up; blanks if there is none."""
    lines = MARKER.read_text("utf-8").split("\n") if MARKER.exists() else []
    return lines if len(lines) == 3 and PYTHON.exists() else ["", "", ""]


def is_current(extras: str) -> bool:
    """Whether the environment holds what this checkout asks for, with at least these extras."""
    made_in, made_from, has = marker()
    return (made_in, made_from) == (surroundings(), digest()) and has in (extras, ALL)


def torch_pin() -> str:
    """The requirement torch==VERSION, as constraints.txt has it."""
    pin = re.search(r"^torch==\S+", CONSTRAINTS.read_text("utf-8"), re.MULTILINE)
    if pin is None:
        sys.exit(f"{CONSTRAINTS} must pin torch with a line torch==VERSION, and has none.")
    return pin[0]


def call(command: list[str], folder: Path | None = None, log: IO[str] | None = None) -> int:
    """Runs a child to its end and returns its exit code; signals reach the child."""
    child = subprocess.Popen(
        command,
        cwd=folder,
        env={"OMP_NUM_THREADS": "1", **os.environ},
        stdin=subprocess.DEVNULL if log else None,
        stdout=log,
        stderr=log,
        close_fds=log is None,  # a step of the set-up that outlives this program keeps the lock
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        while True:
            # A terminal sends Ctrl-C to the child as well: the child decides how to end.
            with contextlib.suppress(KeyboardInterrupt):
                code = child.wait()
                return code if code >= 0 else 128 - code
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def step(what: str, command: list[str]) -> None:
    """Runs one step of the set-up with its output in the log; ends the program if it fails."""
    say(f"  {what} ...")
    start = time.monotonic()
    with LOG.open("a", encoding="utf-8") as log:
        code = call(command, log=log)
    if code == 0:
        say(f"    {time.monotonic() - start:.0f} s")
        return
    if code > 128:
        say(f"The set-up was interrupted at: {what}. The next call starts it anew.")
        sys.exit(code)
    tail = LOG.read_text("utf-8", "replace").splitlines()[-20:]
    sys.exit(
        f"The set-up failed at: {what} (exit code {code}). The end of its output:\n"
        + "".join(f"    {line[:200]}\n" for line in tail)
        + f"The rest is in {LOG}. The next call starts the set-up anew."
    )


def install(extras: str) -> None:
    """Makes or renews the environment. The marker is the first to go and the last to come."""
    made_in = marker()[0]
    ENVIRONMENT.mkdir(exist_ok=True)
    MARKER.unlink(missing_ok=True)
    LOG.write_text("", "utf-8")
    if made_in != surroundings():
        # Without a marker nobody knows how far the last set-up came: empty the folder.
        if importlib.util.find_spec("ensurepip") is None:
            sys.exit(
                f"{sys.executable} has no ensurepip, so it cannot make an environment. "
                "On Debian and Ubuntu install python3-venv; or use another Python."
            )
        command = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(ENVIRONMENT)]
        code = call(command)
        if code != 0:
            sys.exit(f"Python could not make the environment {ENVIRONMENT} (exit code {code}).")
        step("Fetching pip", [str(PYTHON), "-m", "ensurepip"])
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    pip += ["install", "--no-compile"]  # Python compiles what is imported, a fraction of it
    # First and alone: with it there, no looser requirement can bring another build of torch.
    index = ["--index-url", os.environ["TORCH_INDEX"]] if os.environ.get("TORCH_INDEX") else []
    step(f"Installing {torch_pin()}", [*pip, "--no-deps", *index, torch_pin()])
    step("Renewing pip", [*pip, "--upgrade", "pip>=25.1"])
    step(
        f"Installing unshaken{extras} and what it needs",
        [*pip, "--constraint", str(CONSTRAINTS), "--editable", f"{ROOT}{extras}"],
    )
    MARKER.write_text("\n".join([surroundings(), digest(), extras]), "utf-8")


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Lets one set-up at a time through, where the system has file locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    folder = os.open(ROOT, os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work in this folder; waiting for it to end ...")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def set_up(extras: str) -> None:
    """Makes the environment current, if it is not."""
    if is_current(extras):
        return
    try:
        with lock():
            if not is_current(extras):
                say(f"Setting up {ENVIRONMENT} (once; about a minute and 2 GB):")
                install(extras)
    except OSError as error:
        sys.exit(
            f"The environment {ENVIRONMENT} cannot be written: {error}. "
            "Make room or the folder writable, or work in a copy of the checkout elsewhere."
        )


def main(arguments: list[str]) -> int:
    """Runs the job that the first argument names and returns its exit code."""
    job, rest = (arguments or ["--help"])[0], arguments[1:]
    if job in ("-h", "--help"):
        say(__doc__)
        return 0 if arguments else 2
    if job not in ("demo", "test", "lint", "docs", "setup"):
        sys.exit(f"bootstrap.py knows the jobs demo, test, lint, docs and setup, not {job!r}.")
    if rest and job in ("lint", "docs", "setup"):
        sys.exit(f"bootstrap.py {job} takes no arguments, got {' '.join(rest)}.")
    set_up(CORE if job == "demo" else ALL)
    if job == "demo":
        return call([str(PYTHON), "-m", "unshaken", *DEMO, *rest])
    if job == "test":
        side_by_side = ["-n", "2", "--dist", "worksteal"]
        return call([str(PYTHON), "-m", "pytest", *side_by_side, *rest], ROOT)
    if job == "lint":
        return max(call([str(PYTHON), "-m", *tool], ROOT) for tool in LINT)
    if job == "docs":
        code = call([str(PYTHON), *DOCS], ROOT)
        if code == 0:
            say(f"The pages are in {ROOT / 'docs' / '_build' / 'index.html'}")
        return code
    say(f"The environment {ENVIRONMENT} is current.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
