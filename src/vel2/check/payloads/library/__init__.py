"""What the payloads share: checks, tables, EL2's controls, L2, the GIC, and what exceptions say."""
