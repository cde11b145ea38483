"""The client of a grape's HTTP API."""
