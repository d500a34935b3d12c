"""`python -m handclasp` is the command `handclasp`."""

import sys

from .cli.__main__ import main

sys.exit(main())
