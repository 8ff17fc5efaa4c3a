"""``deepct report``: what trainings did, from their logs, as one page of figures."""
