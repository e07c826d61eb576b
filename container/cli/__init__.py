"""The `litellm-router` command line."""
