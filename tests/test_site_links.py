"""What ``make docs`` checks of the site that it has built."""

from __future__ import annotations

from pathlib import Path

from tests.site_links import dead_links


def test_dead_pages_files_anchors_and_addresses_are_found(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "picture one.png").touch()
    (tmp_path / "other.html").write_text('<a href="deep/page.html#here">fine</a>')
    (tmp_path / "deep" / "page.html").write_text(
        """
        <h1 id="here">Here</h1> <a href="#here"></a> <a href="#there"></a>
        <a href="../other.html"></a> <a href="../other.html#there"></a> <a href="none.html"></a>
        <img src="picture%20one.png"> <img src="picture.png">
        <a href="https://example.org/"></a> <a href="https:///example"></a> <a href=""></a>
        """
    )
    assert dead_links(tmp_path) == [
        "deep/page.html: #there",
        "deep/page.html: ../other.html#there",
        "deep/page.html: none.html",
        "deep/page.html: picture.png",
        "deep/page.html: https:///example",
    ]
