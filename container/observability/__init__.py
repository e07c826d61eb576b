"""What operators see of the process: log lines and metrics."""
