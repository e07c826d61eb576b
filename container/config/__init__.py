"""Turns LiteLLM's `litellm_config.yaml` and the environment into the configuration of the proxy.

document.py    YAML with line numbers
problems.py    problems with location and remedy
providers.py   OpenAI-compatible providers: addresses and the variables of their keys
deployment.py  one entry of `model_list`
options.py     router_settings, litellm_settings, general_settings
load.py        the complete configuration
"""
