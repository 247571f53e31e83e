"""A Sphinx extension: pages with the source, and links from the text to the line of a definition.

The text links to a file and names a definition in it:

    [`trap.handle_sync`](../src/vel2/hyp/trap.py)

That works where the repository is read. In the built pages the same link leads to a rendering of
the file, at the line where the definition begins, found when the pages are built. Nothing in the
text can go stale but the name, and a name that the file does not define fails the build.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parent.parent
PAGES = "source"
LOG = logging.getLogger(__name__)


def line_of(path: Path, name: str) -> int | None:
    """Give the line where a file defines a function, class or constant; None if it does not."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node.lineno
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node.lineno
    return None


def source_links(text: nodes.document, here: Path) -> Iterator[tuple[Any, Path, str]]:
    """Yield the links of a page to Python files of the repository, with what each names."""
    for link in list(text.findall(_is_link)):
        target = link.get("refuri") or link.get("reftarget") or ""
        path = (here / target).resolve()
        if target.endswith(".py") and path.is_relative_to(ROOT):
            yield link, path, link.astext().rpartition(".")[2]


def _is_link(node: nodes.Node) -> bool:
    return isinstance(node, nodes.reference) or node.tagname == "pending_xref"


def resolve(app: Sphinx, document: nodes.document) -> None:
    """Point the links of one page to lines, and note the files that need a page."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    for link, path, name in source_links(document, here):
        line = line_of(path, name) if path.exists() else None
        whole = path.exists() and name == "py"
        if line is None and not whole:
            LOG.warning("%s is not defined in %s", name, path.relative_to(ROOT), location=link)
            continue
        page = _page_of(path)
        app.env.vel2_sources.add(path)  # type: ignore[attr-defined]
        anchor = f"#line-{line}" if line else ""
        new = nodes.reference("", "", refuri=f"{PAGES}/{page}{anchor}", internal=True)
        new += link.children
        link.replace_self(new)


def _page_of(path: Path) -> str:
    return str(path.relative_to(ROOT)).replace(os.sep, ".").removesuffix(".py") + ".html"


def write_pages(app: Sphinx, failed: Exception | None) -> None:
    """Write a page for each file that some text links to."""
    if failed is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / PAGES
    folder.mkdir(exist_ok=True)
    for path in app.env.vel2_sources:  # type: ignore[attr-defined]
        title = str(path.relative_to(ROOT))
        style = HtmlFormatter(full=True, title=title, linenos="table", lineanchors="line")
        page = highlight(path.read_text(), PythonLexer(), style)
        (folder / _page_of(path)).write_text(page)


def begin(app: Sphinx, env: Any, names: Any) -> None:
    """Start with no file needed."""
    env.vel2_sources = set()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("env-before-read-docs", begin)
    app.connect("doctree-read", resolve)
    app.connect("build-finished", write_pages)
    # Every build reads every page: the pages of the source depend on what was read.
    return {"parallel_read_safe": False}
