"""Hold one file for each wire format; `table` lists them."""
