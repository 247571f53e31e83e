"""The growth curves: how the cost of an exit grows with guests, memory and interrupts."""
