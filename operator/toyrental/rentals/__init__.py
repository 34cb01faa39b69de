"""Rentals: the life of an order, and the bookings it puts on a toy."""
