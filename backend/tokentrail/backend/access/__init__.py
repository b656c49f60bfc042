"""Who may do what: keys, the projects they are for, and TLS. Knows neither HTTP nor gRPC nor the store."""
