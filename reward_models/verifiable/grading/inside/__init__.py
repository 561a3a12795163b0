"""What runs inside the sandbox, as one text without imports of this package; never called in the grader's process.

These modules import nothing that costs start-up time: ``json`` alone would double what an interpreter needs to start.
"""
