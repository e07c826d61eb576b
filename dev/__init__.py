"""Development tools: the offline edge, a process-based container engine, setup and `litellm-router dev`."""
