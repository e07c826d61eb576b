"""A container engine whose containers are local processes. It implements the part of Docker's API that workerd uses.

    engine = ProcessEngine({"name:tag": Image(command=("python", "-m", "app", "--port", "{port}"))})
    engine.start()              # a thread with an event loop of its own
    engine.socket_path          # for workerd's `containerEngine = (localDocker = (socketPath = "unix:…"))`
    engine.containers()         # what runs, with pids and exit codes
    engine.stop()

It is not a sandbox: the processes run as the current user.
"""

from .containers import ContainerInfo, Image
from .engine import SIDECAR_IMAGE, ProcessEngine

__all__ = ["SIDECAR_IMAGE", "ContainerInfo", "Image", "ProcessEngine"]
