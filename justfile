# The commands of this project. Only uv is required: `pip install uv && uvx --from rust-just just dev`
# Arguments after a recipe's name are passed on: `just test -k streams`

set positional-arguments

export PATH := justfile_directory() / ".venv/bin:" + justfile_directory() / "node_modules/.bin:" + env("PATH")

# List the commands
@default:
    "{{ just_executable() }}" --list --unsorted

# Install all dependencies into .venv and node_modules (every command first installs what it needs)
@setup *args:
    dev/setup "$@"

alias install := setup

# What serving needs; the rest comes with the first command that needs it
[private]
@gateway:
    dev/setup gateway

# Serve the Worker on http://127.0.0.1:8787 with the proxy behind it (--port, --config, --runtime, --host)
[no-exit-message]
@dev *args: gateway
    exec litellm-router dev "$@"

# Run all tests
[no-exit-message]
@test *args: setup catalog
    exec dev/test "$@"

# Run the tests that start no process, in under a minute
[no-exit-message]
@test-unit *args: setup catalog
    exec dev/test --unit "$@"

# Install a Chromium from npm for the dashboard's tests, if the machine has none
@browser: setup
    python -m tests.dashboard.browser --install

# Check formatting, style, types, imports and dependencies
@lint: setup catalog
    ruff format --check
    ruff check
    pyright
    python -m dev.imports
    python -m dev.dependencies

# Format the code and apply automatic fixes
@format: setup
    ruff format
    ruff check --fix

# Check the config and the environment (--config)
[no-exit-message]
@check *args: gateway
    litellm-router check "$@"

# Write worker/catalog.py, the edge's extract of the config; recipes that need it do so first (--config)
@catalog *args: gateway
    litellm-router catalog "$@"

# Check the locked packages against the advisory databases
@audit *args: setup
    python -m dev.audit "$@"

# Measure the README's first command in a clean clone with empty caches: its time, and the disk space
@first-minute *args: setup
    python -m dev.first_minute "$@"

# Run the benchmarks
@bench *args: setup
    python -m bench "$@"

# Run a mixed load with random faults against the proxy, or the edge, for half an hour (--edge, --minutes, --seed)
[no-exit-message]
@soak *args: setup
    exec python -m tests.soak "$@"

# Install real clients from npm and PyPI, and run each of them with each kind of model (--only, --model, --no-edge, --write)
[no-exit-message]
@clients *args: setup catalog
    exec python -m tests.clients "$@"

# Check everything, then deploy to Cloudflare
[no-exit-message]
@deploy *args: setup
    dev/deploy "$@"

# Follow the deployed Worker's log
@tail *args: setup
    wrangler tail "$@"

# Run the project's own wrangler, with the Node in .venv: `just wrangler secret put OPENAI_API_KEY`
@wrangler *args: setup
    wrangler "$@"

# Renew the locks of the Python requirements (--upgrade)
@lock *args: setup
    requirements/lock "$@"
    tests/clients/requirements/lock "$@"
