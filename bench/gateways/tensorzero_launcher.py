"""Starts TensorZero's gateway and says where it listens: python tensorzero_launcher.py CONFIG"""

import signal
import sys

import tensorzero  # type: ignore  # installed by the bench, outside of this environment

gateway = tensorzero._start_http_gateway(  # type: ignore
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print(f"listening: {gateway.base_url.rstrip('/')}", flush=True)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.pause()
