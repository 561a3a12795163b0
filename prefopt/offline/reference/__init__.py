"""Which reference the policy is compared with."""

from prefopt.offline.reference.folder import Folder
from prefopt.offline.reference.frozen_copy import FrozenCopy
from prefopt.offline.reference.no_reference import NoReference

__all__ = ["Folder", "FrozenCopy", "NoReference"]
