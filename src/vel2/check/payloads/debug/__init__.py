"""Payload `debug`: self-hosted debug."""
