"""`python -m container` is `litellm-router` without its `dev` command, which only a checkout has."""

import sys

from .cli.main import main

sys.exit(main())
