"""What is broken on purpose, and what was lost by it: ``python -m scripts.faults [NAME ...] [--seed N]``.

A module of this package that has ``inject(seed: int) -> list[Figure]`` is an experiment, found by its name: it breaks
something many times over (a process killed, a byte turned, a disk filled, a reward server that hangs) and counts what
held. What it returns is stored as ``results/NAME.json`` beside the command and the seconds that it took. The command
prints all figures of all experiments as one table, and ends with 1 where anything was lost. The same faults in smaller
numbers are in ``tests/reliability``, which imports them from here.
"""
