"""`python -m ems` is `ems-server`."""

import sys

from ems.cli import main

if __name__ == "__main__":
    sys.exit(main())
