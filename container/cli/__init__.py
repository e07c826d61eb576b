"""`litellm-router`: the commands."""
