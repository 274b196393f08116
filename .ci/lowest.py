"""Print what a check of the package needs.

lowest.py PYPROJECT        the lower bound of each requirement of the core, as pip constraints
lowest.py --readme README  the Python blocks of the page, as one program
"""

import re
import sys
from pathlib import Path


def lowest(text: str) -> str:
    """``numpy>=1.26`` as ``numpy==1.26``."""
    needed = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.S | re.M)
    bounds = re.findall(r'"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)"', needed[1] if needed else "")
    return "\n".join(f"{name}=={version}" for name, version in bounds)


def program(text: str) -> str:
    """The fenced Python of a page."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.S | re.M))


if __name__ == "__main__":
    if sys.argv[1] == "--readme":
        print(program(Path(sys.argv[2]).read_text("utf-8")))
    else:
        print(lowest(Path(sys.argv[1]).read_text("utf-8")))
