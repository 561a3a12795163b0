"""The offline objective and its parts.

>>> from prefopt.offline import OfflineObjective
>>> objective = OfflineObjective()  # DPO
"""

from prefopt.offline.objective import OfflineObjective

__all__ = ["OfflineObjective"]
