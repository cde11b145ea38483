"""Connections of clients and peers: who is let in, lines in and lines out, TLS between peers."""
