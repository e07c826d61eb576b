"""From LiteLLM's `litellm_config.yaml` and the environment to what the proxy runs on.

document.py    YAML with line numbers
problems.py    what is wrong, where, and how to mend it
providers.py   who speaks OpenAI's wire format, where they live and which variables hold their keys
deployment.py  one entry of `model_list`
options.py     router_settings, litellm_settings, general_settings
load.py        the whole
"""
