"""One market: orders, the order book, price-time matching, stop orders."""
