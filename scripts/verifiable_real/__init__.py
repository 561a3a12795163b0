"""Verifiable rewards on programs and solutions that models and people wrote."""
