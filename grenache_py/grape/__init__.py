"""The grape: a DHT node behind Grenache's HTTP API."""
