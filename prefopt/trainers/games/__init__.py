"""Games between policies: candidates, verdicts, pairs and learning, iteration by iteration."""
