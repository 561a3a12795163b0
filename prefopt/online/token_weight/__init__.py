"""Token weights: parts that multiply the aggregation's weights."""
