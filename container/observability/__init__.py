"""Log lines and metrics for operators."""
