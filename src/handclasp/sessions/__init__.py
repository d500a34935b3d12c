"""Whom we remember: sessions, so that the next handshake is a short one."""
