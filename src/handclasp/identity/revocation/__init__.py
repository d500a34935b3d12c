"""Is a certificate still good in its issuer's eyes? Answers are read in `ocsp` and `crl`, sought by `policy`."""
