"""`kubectl toyrental`: the shop from a terminal.

A client like any other, with the credentials of whoever runs it. What makes it start slowly is
imported late: each command loads only what it shows.
"""
