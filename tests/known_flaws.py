"""Versions of what we stand on that have a published flaw: no floor may admit one of them.

Whoever hears of a new one adds a row: the package, the first version without the flaw, its number,
and what it is. A package that comes with another one and has a row needs a floor of its own.
All rows were compared with the advisories in November 2026.
"""

from __future__ import annotations

FLAWS: tuple[tuple[str, str, str, str], ...] = (
    ("h11", "0.16.0", "CVE-2025-43859", "takes malformed chunked bodies: request smuggling"),
    ("twisted", "26.4.0", "CVE-2026-42304", "a DNS answer's chained pointers stop the reactor"),
    ("twisted", "24.7.0", "CVE-2024-41671", "answers pipelined requests out of order"),
    ("twisted", "24.7.0", "CVE-2024-41810", "puts a redirect's target into a page unescaped"),
    ("twisted", "23.10.0", "CVE-2023-46137", "answers pipelined requests out of order"),
    ("twisted", "22.10.0", "CVE-2022-39348", "puts a Host header into a page unescaped"),
    ("cryptography", "48.0.1", "GHSA-537c-gmf6-5ccf", "its wheels' OpenSSL has known flaws"),
    ("cryptography", "46.0.7", "CVE-2026-39892", "writes past a buffer that is not contiguous"),
    ("cryptography", "46.0.6", "CVE-2026-34073", "a wildcard name passes a name constraint"),
    ("cryptography", "46.0.5", "CVE-2026-26007", "takes points of a small subgroup as keys"),
    ("cryptography", "44.0.1", "CVE-2024-12797", "its wheels' OpenSSL: raw public keys unchecked"),
    ("cryptography", "42.0.4", "CVE-2024-26130", "crashes on a PKCS#12 without a matching key"),
    ("pyopenssl", "26.1.0", "CVE-2026-40475", "cuts a name in a certificate at a NUL"),
    ("pyopenssl", "26.0.0", "CVE-2026-27459", "a long DTLS cookie overflows a buffer"),
    ("pyopenssl", "26.0.0", "CVE-2026-27448", "a callback that fails lets the handshake go on"),
    ("idna", "3.15", "CVE-2026-45409", "takes quadratic time for a long name, still"),
    ("idna", "3.7", "CVE-2024-3651", "takes quadratic time for a long name"),
    (
        "pynacl",
        "1.6.2",
        "CVE-2025-69277",
        "its libsodium takes points off the group for valid",
    ),
    ("websockets", "9.1", "CVE-2021-33880", "compares passwords in a time that tells them"),
    ("click", "8.3.3", "CVE-2026-7246", "click.edit runs what an argument says"),
    ("httptools", "0.5.0", "CVE-2022-32213", "its llhttp: request smuggling"),
    ("jinja2", "3.1.6", "CVE-2025-27516", "a template can leave its sandbox"),
    ("setuptools", "83.0.0", "CVE-2026-59890", "packs files on macOS that MANIFEST.in excludes"),
    ("setuptools", "80.10.2", "CVE-2026-24049", "its copy of wheel changes modes of any file"),
    ("setuptools", "80.10.2", "CVE-2026-23949", "its copy of jaraco.context unpacks to anywhere"),
    ("setuptools", "78.1.1", "CVE-2025-47273", "writes outside of its folder what it downloads"),
    ("setuptools", "70.0.0", "CVE-2024-6345", "runs what an index's URL says"),
    ("pytest", "9.0.3", "CVE-2025-71176", "others on the machine can use its folder in /tmp"),
    ("aiohttp", "3.14.3", "CVE-2026-69244", "a malformed answer stops a client"),
)
