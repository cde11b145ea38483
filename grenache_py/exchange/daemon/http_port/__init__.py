"""The HTTP port: the page, the stream of pages, market data, health and metrics."""
