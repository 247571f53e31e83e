"""Payload `shared`: a guest runs on one CPU, and another CPU changes its stage 2."""
