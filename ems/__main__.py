"""`python -m ems` is `ems-server`."""

import sys

from ems.cli import main

sys.exit(main())
