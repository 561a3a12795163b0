"""prefopt: reward modelling and preference optimisation, as named compositions of small, exact parts."""

__version__ = "0.1.0"
