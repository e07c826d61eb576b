"""Validated values: money, periods, tags and the kinds of key fields."""
