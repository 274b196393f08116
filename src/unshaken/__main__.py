"""The command line without its script: ``python -m unshaken COMMAND``."""

import sys

from unshaken.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
