"""Packaging that ``pyproject.toml`` cannot say: where the twistd plugins go.

``twisted.plugins`` is listed as a package although neither folder has an
``__init__.py`` (one there would shadow Twisted itself), and ``package_dir``
makes an editable install write a plain ``.pth`` file: Twisted looks for
plugins along ``sys.path`` only, which an import hook would not be on.

``man exchange`` finds the pages in an environment's ``share/man`` when its ``bin`` is on the path.
"""

from glob import glob

from setuptools import find_namespace_packages, setup

setup(
    package_dir={"": "."},
    packages=find_namespace_packages(include=["grenache_py*", "twisted.plugins"]),
    package_data={
        "grenache_py": ["py.typed"],
        "grenache_py.exchange.daemon.http_port": ["web/*", "web/vendor/*"],
        "grenache_py.exchange.storage": ["schema/*.sql"],
        "grenache_py.exchange.storage.postgresql": ["schema/*.sql"],
    },
    data_files=[(f"share/man/man{section}", sorted(glob(f"man/*.{section}"))) for section in "178"],
)
