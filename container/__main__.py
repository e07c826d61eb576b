"""`python -m container` is `litellm-router`."""

import sys

from .cli import main

sys.exit(main())
