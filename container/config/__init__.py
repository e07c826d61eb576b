"""Turns LiteLLM's `litellm_config.yaml` and the environment into the configuration of the proxy.

document.py          YAML with line numbers, `os.environ/NAME` references, secrets, problems with remedies
sections.py          the top level of the file: its settings, models and environment variables
providers.py         providers that are called directly: addresses, the variables of their keys, wire formats; and the
                     address and the key of one entry of `model_list`
deployment.py        one entry of `model_list`, and the price of its model
option_values.py     one value of a setting: its type and its range
declared.py          keys, budgets, teams, users, customers and tags in the file
foreign_settings.py  LiteLLM's settings that are not implemented here
load.py              router_settings, litellm_settings, general_settings; the complete configuration
"""
