"""Where the pairs come from."""

from prefopt.offline.pairs.data_set import DataSet

__all__ = ["DataSet"]
