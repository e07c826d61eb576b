"""Starts TensorZero's gateway and says where it listens: python tensorzero_launcher.py CONFIG"""

import importlib
import signal
import sys

# By its name: the bench installs it outside of the environment that the type checker knows.
gateway = importlib.import_module("tensorzero")._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print(f"listening: {gateway.base_url.rstrip('/')}", flush=True)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.pause()
