"""Turns LiteLLM's `litellm_config.yaml` and the environment into the configuration of the proxy.

document.py    YAML with line numbers, and `os.environ/NAME` references
problems.py    problems with location and remedy
providers.py   providers that are called directly: addresses, the variables of their keys, wire formats
sections.py    the top level of the file: which settings and which entries of `model_list` there are
parameters.py  the typed values of one entry's litellm_params
deployment.py  one entry of `model_list`
options.py     router_settings, litellm_settings, general_settings
variables.py   environment variables that the file sets
load.py        the complete configuration
"""
