"""Development: the offline edge, a container engine made of processes, setup and `litellm-router dev`."""
