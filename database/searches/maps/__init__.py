"""Region maps of published workspaces."""
