"""Which reference the policy is compared with."""

from prefopt.offline.reference.values import Folder, FrozenCopy, NoReference

__all__ = ["Folder", "FrozenCopy", "NoReference"]
