"""Measures models: questions with known answers, outcomes, reports and plots."""
