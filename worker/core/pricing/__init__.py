"""The maximum and the actual cost of a request: prices, token estimates, quotes and usage."""
