"""Measurements, as ratios, against plain httpx doing the same calls in the same run. ``make bench`` runs them all."""
