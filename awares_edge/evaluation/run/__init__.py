"""Runs over suites: rows kept on disk, resumed, merged, summed up and compared."""
