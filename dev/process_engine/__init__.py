"""A container engine whose containers are local processes: as much of Docker's API as workerd's ctx.container calls.

    engine = ProcessEngine({"name:tag": Image(command=("python", "-m", "app", "--port", "{port}"))})
    engine.start()              # a thread with an event loop of its own
    engine.socket_path          # for workerd's `containerEngine = (localDocker = (socketPath = "unix:…"))`
    engine.containers()         # what runs, with pids and exit codes
    engine.stop()

Not a sandbox: the processes are this user's own.
"""

from .containers import ContainerInfo, Image
from .engine import SIDECAR_IMAGE, ProcessEngine

__all__ = ["SIDECAR_IMAGE", "ContainerInfo", "Image", "ProcessEngine"]
