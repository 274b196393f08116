"""``python -m unshaken.cli``."""

import sys

from unshaken.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
