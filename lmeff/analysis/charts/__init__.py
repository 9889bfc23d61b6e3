"""Figures: charts as Vega-Lite specifications, and as files."""
