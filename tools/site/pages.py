"""A hook of mkdocs: pages for what stands outside of docs, so that every link of the repository is one of the site.

Markdown elsewhere becomes a page, a notebook a page of its cells, a linked source file a page of its text, a folder a
list, each public module an API page. Links are rewritten to these; one that leads nowhere fails the build.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
# Pages whoever links to them.
ALWAYS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "csrc/README.md")
LINK = re.compile(r"(?<=\]\()([^)#\s]+)(?=[^)]*\))")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(
    r"^(```python) needs=\w+$", re.MULTILINE
)  # a word to tests/test_docs.py, no option of the highlighter
LANGUAGES = {
    ".py": "python",
    ".json": "json",
    ".toml": "toml",
    ".sh": "sh",
}  # all else of ours is C++ or CUDA

_homes: dict[str, str] = {}  # page of the site -> file of the repository


def page_of(path: str) -> str:
    """Where a file or folder of the repository is in the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == "README.md":
        return "project.md"  # docs/README.md is the home page
    if path.endswith(".md"):
        return path
    if path.endswith(".ipynb"):
        return path.removesuffix(".ipynb") + ".md"
    return f"source/{path}/index.md" if (ROOT / path).is_dir() else f"source/{path}.md"


def linked(path: str, text: str) -> set[str]:
    """Files and folders of the repository that a page links to."""
    targets = {found for part in CODE.split(text)[::2] for found in LINK.findall(part)}
    inside = {t for t in targets if not re.match(r"[a-z]+:", t)}
    return {posixpath.normpath(posixpath.join(posixpath.dirname(path), t)) for t in inside}


def text_of(path: str) -> str:
    """A file of the repository as Markdown."""
    where = ROOT / path
    if where.is_dir():
        names = sorted(
            item.name + "/" * item.is_dir() for item in where.iterdir() if item.name[0] not in "._"
        )
        return f"# {path}\n\n" + "\n".join(f"- `{name}`" for name in names)
    text = where.read_text(encoding="utf-8")
    if where.suffix == ".md":
        return text
    if where.suffix == ".ipynb":
        return notebook(json.loads(text))
    return f"# {path}\n\n````{LANGUAGES.get(where.suffix, 'cpp')}\n{text}````\n"


def notebook(content: dict[str, Any]) -> str:
    """The cells, outputs left out as in the file."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in content["cells"]]
    return "\n\n".join(text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells)


def notebooks() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("examples/*.ipynb"))


def modules() -> list[str]:
    """The public modules of the package, but for that whose functions are compiled."""
    tree = ast.parse((ROOT / "greenkernels/__init__.py").read_text())
    lists = [node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
    folder = ROOT / "greenkernels"
    return [
        name
        for name in ast.literal_eval(lists[0].value)
        if name != "raw" and ((folder / name).is_dir() or (folder / f"{name}.py").exists())
    ]


def api_pages() -> dict[str, str]:
    """A page for each public module, and one of what stands in the package itself."""
    top = ["# greenkernels", "`import greenkernels as gk`; in the modules:"]
    top += ["\n".join(f"- [greenkernels.{name}]({name}.md)" for name in modules())]
    top += [f"::: greenkernels.{name}" for name in ("saving.save", "saving.load", "doctor.info")]
    pages = {f"api/{name}.md": f"# greenkernels.{name}\n\n::: greenkernels.{name}\n" for name in modules()}
    return pages | {"api/index.md": "\n\n".join(top)}


def on_config(config: Any) -> Any:
    """Puts what the folders hold into the navigation."""
    found = {
        "Notebooks": [page_of(path) for path in notebooks()],
        "API": ["api/index.md", *(f"api/{name}.md" for name in modules())],
    }
    config.nav = [
        {k: found.get(k, v) for k, v in e.items()} if isinstance(e, dict) else e for e in config.nav
    ]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages, following links from page to page."""
    for file in files:
        _homes[file.src_uri] = f"docs/{file.src_uri}"
    pages = [path for path in _homes.values() if path.endswith(".md")]
    todo, seen = [*ALWAYS, *notebooks(), *pages], set()
    while todo:
        path = todo.pop(0)
        if path in seen or not (ROOT / path).exists():
            continue  # what does not exist is found by mkdocs itself, as a link that leads nowhere
        seen.add(path)
        if path.endswith(".md"):
            todo += linked(path, (ROOT / path).read_text(encoding="utf-8"))
        if not path.startswith("docs/"):
            _homes[page_of(path)] = path
            files.append(File.generated(config, page_of(path), content=text_of(path)))
    for name, content in api_pages().items():
        files.append(File.generated(config, name, content=content))
    files.append(File.generated(config, "site.css", content=(Path(__file__).parent / "site.css").read_text()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as they are in the site."""
    here = page.file.src_uri
    path = _homes.get(here)
    if here == "README.md":
        page.meta["hide"] = ["navigation", "toc"]  # the width is for the figures
    if path is None:
        return markdown

    def moved(found: re.Match[str]) -> str:
        target = found[1]
        if re.match(r"[a-z]+:", target):
            return target
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        return posixpath.relpath(page_of(there), posixpath.dirname(here) or ".")

    markdown = NEEDS.sub(r"\1", markdown)
    parts = CODE.split(markdown)
    # Of [rows][columns], a layout, Markdown would make a link.
    return "".join(p if i % 2 else LINK.sub(moved, p).replace("][", "]\\[") for i, p in enumerate(parts))
