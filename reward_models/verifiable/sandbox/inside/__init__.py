"""Programs that run in a sandbox alone. They import nothing but the standard library."""
