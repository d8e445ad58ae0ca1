"""Dashboards as code: what the panels show, the saved objects made of it, and their import."""
