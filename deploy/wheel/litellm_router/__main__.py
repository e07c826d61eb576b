"""`python -m litellm_router` is `litellm-router`."""

import sys

from . import main

sys.exit(main())
