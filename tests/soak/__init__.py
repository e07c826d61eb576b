"""A long mixed load with random faults from a seed: `python -m tests.soak` (`just soak`). The tests run shorter ones.

calls.py       requests in every format, and validation of the responses
provider.py    fake providers that fail as planned for each call
load.py        clients that send requests until the time is over
judge.py       the outcomes that injected faults excuse; everything else is a finding
chaos.py       disruptions of the system, one at a time
standalone.py  the proxy alone, with PostgreSQL, Redis and the engine
edge.py        the Worker in workerd, with its ledger and a container
watch.py       memory, file descriptors and tasks
report.py      the progress line and the table
"""
