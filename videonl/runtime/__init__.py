"""Processes and the operating system: starting, watching, limiting and gathering."""
