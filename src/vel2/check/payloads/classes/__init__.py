"""Payload `classes`: every exception class."""
