"""How fast handclasp is, beside the other TLS libraries one can use from Python. `python -m bench --help`."""
