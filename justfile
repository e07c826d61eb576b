# The commands of this project. Nothing but uv is needed: `pip install uv && uvx --from rust-just just dev`
# Words after a recipe's name are passed on: `just test -k streams`

set positional-arguments

export PATH := justfile_directory() / ".venv/bin:" + justfile_directory() / "node_modules/.bin:" + env("PATH")

# List the commands
@default:
    "{{ just_executable() }}" --list --unsorted

# Install what the project needs into .venv and node_modules (every command does it first)
@setup *args:
    dev/setup "$@"

alias install := setup

# Serve the Worker on http://127.0.0.1:8787 and the proxy behind it (--port, --config, --runtime, --host)
[no-exit-message]
@dev *args: setup
    exec litellm-router dev "$@"

# Run all tests
[no-exit-message]
@test *args: setup catalog
    exec dev/test "$@"

# Run the tests that start no process, in under a minute
[no-exit-message]
@test-unit *args: setup catalog
    exec dev/test --unit "$@"

# Install a Chromium from npm for the tests of the dashboard, where the machine has none
@browser: setup
    python -m tests.dashboard.browser --install

# Check formatting, style, types, and what imports what
@lint: setup catalog
    ruff format --check
    ruff check
    pyright
    python -m dev.imports
    python -m dev.dependencies

# Format the code and mend what can be mended
@format: setup
    ruff format
    ruff check --fix

# Say what is wrong with the config and the environment (--config)
[no-exit-message]
@check *args: setup
    litellm-router check "$@"

# Write worker/catalog.py, the edge's extract of the config; whatever needs it does so first (--config)
@catalog *args: setup
    litellm-router catalog "$@"

# Ask the advisory databases about the locked packages
@audit *args: setup
    python -m dev.audit "$@"

# Measure the proxy
@bench *args: setup
    python -m bench "$@"

# Put the proxy under a mixed load with random faults for half an hour (--minutes, --seed, --edge)
[no-exit-message]
@soak *args: setup
    exec python -m tests.soak "$@"

# Check everything, then deploy to Cloudflare
[no-exit-message]
@deploy *args: setup
    dev/deploy "$@"

# Follow the deployed Worker's log
@tail *args: setup
    wrangler tail "$@"

# Run the project's own wrangler, with the Node of .venv: `just wrangler secret put OPENAI_API_KEY`
@wrangler *args: setup
    wrangler "$@"

# Lock the Python requirements anew (--upgrade)
@lock *args: setup
    requirements/lock "$@"
