"""Pictures for files, drawn with matplotlib (extra `plots`)."""
