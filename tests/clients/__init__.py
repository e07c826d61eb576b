"""Real, unmodified clients through the gateway to providers as strict as the real ones.

    just clients                        # installs them into .dev/clients, runs all, compares with docs/clients.md
    just clients --write                # and writes the table there
    just clients --only codex --model gpt-5.4

An agent's case runs its snippet of docs/clients.md with another address, key, model and prompt. A package's cases are
scripts in `drivers/`, each of which runs in one process.
"""
