"""The peer-to-peer order exchange."""
