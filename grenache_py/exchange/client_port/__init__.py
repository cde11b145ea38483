"""What clients may ask and are told: sessions, methods, reports, subscriptions."""
