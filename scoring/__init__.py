"""Outcomes: model, decision, reasons, training and evaluation."""
