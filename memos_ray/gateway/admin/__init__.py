"""Tenants, principals, rules, keys."""
