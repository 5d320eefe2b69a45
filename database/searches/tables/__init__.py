"""Tables of published counts."""
