"""A long mixed load with random faults, from a seed: `python -m tests.soak` (`just soak`), and shorter in the tests.

calls.py       what clients ask for, and what they make of the answer
provider.py    fake providers that fail as each call's plan says
load.py        clients that ask until the time is over
judge.py       which outcomes the injected faults excuse; everything else is a finding
chaos.py       what is done to the system meanwhile, one thing at a time
standalone.py  the proxy alone, on PostgreSQL and Redis, with the engine
edge.py        the Worker in workerd, with its ledger and a container
watch.py       memory, file descriptors and tasks
report.py      the progress line and the table
"""
