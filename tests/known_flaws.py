"""Versions of what we stand on that have a published flaw: no floor may admit one of them.

Whoever hears of a new one adds a row: the package, the first version without the flaw, its number,
and what it is. A package that comes with another one and has a row needs a floor of its own.
"""

from __future__ import annotations

FLAWS: tuple[tuple[str, str, str, str], ...] = (
    ("h11", "0.16.0", "CVE-2025-43859", "takes malformed chunked bodies: request smuggling"),
    ("twisted", "24.7.0", "CVE-2024-41671", "answers pipelined requests out of order"),
    ("twisted", "24.7.0", "CVE-2024-41810", "puts a redirect's target into a page unescaped"),
    ("twisted", "22.10.0", "CVE-2022-39348", "puts a Host header into a page unescaped"),
    ("cryptography", "42.0.4", "CVE-2024-26130", "crashes on a PKCS#12 without a matching key"),
    ("cryptography", "44.0.1", "CVE-2024-12797", "its wheels' OpenSSL: raw public keys unchecked"),
    ("idna", "3.7", "CVE-2024-3651", "takes quadratic time for a long name"),
    ("pynacl", "1.6.2", "CVE-2025-69277", "its libsodium takes points off the curve for valid"),
    ("websockets", "9.1", "CVE-2021-33880", "compares passwords in a time that tells them"),
    ("jinja2", "3.1.6", "CVE-2025-27516", "a template can leave its sandbox"),
    ("setuptools", "70.0.0", "CVE-2024-6345", "runs what an index's URL says"),
    ("setuptools", "78.1.1", "CVE-2025-47273", "writes outside of its folder what it downloads"),
)
