"""`make pictures`: what people see, drawn from a shop that really runs.

- `day`: a busy day in a toy library, played in two minutes
- `sheet`: what a Grafana dashboard shows of it, drawn from Prometheus' own answers
- `screens`: the board in a real Chromium, on a desk and on a phone
"""
