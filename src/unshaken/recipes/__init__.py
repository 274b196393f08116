"""Protocols and settings as YAML files."""
