"""`python -m k2ctl`."""

import sys

from k2ctl.cli import main

sys.exit(main())
