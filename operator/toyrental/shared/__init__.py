"""What every context uses: money, time, the shape of a resource, conditions, decisions."""
