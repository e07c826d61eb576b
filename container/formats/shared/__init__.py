"""What the wire formats share: events, tool calls, capabilities, refusals."""
