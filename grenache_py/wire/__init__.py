"""Bytes to values and back, for every protocol spoken here. Touches nothing."""
