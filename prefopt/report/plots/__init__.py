"""Figures of a report, one idea a file; each returns inline SVG."""
