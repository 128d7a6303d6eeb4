"""The PKCS#11 device and what is in it: sessions, keys, certificates, the ceremony that makes them."""
