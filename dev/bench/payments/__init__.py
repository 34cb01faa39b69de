"""What faults of the payment provider do to a shop, with the circuit breaker and without it."""
