"""Two scores to a loss; one function a file."""

from prefopt.offline.link.hinge import Hinge
from prefopt.offline.link.labels import Labels
from prefopt.offline.link.sigmoid import Sigmoid
from prefopt.offline.link.squared import Squared

__all__ = ["Hinge", "Labels", "Sigmoid", "Squared"]
