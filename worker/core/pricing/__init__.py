"""What a request may cost, and what an answer did cost: prices, tokens, estimates, usage."""
