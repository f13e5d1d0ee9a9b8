"""Trains the embedded nano model from random weights; see README.md beside this file."""
