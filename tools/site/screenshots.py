"""Pictures of pages of the site in headless Chromium, as a phone and a desktop show them, and a look at their widths.

    python tools/site/screenshots.py [--out FOLDER] [--page FILE]

Needs the site (`make docs`), or with ``--page`` one file that stands alone, such as a report, and Chromium
(`apt-get install chromium`). Fails where a page is wider than the screen, so that a reader would have to scroll
sideways, or where it asks for anything that is not of the site.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
SCREENS = {"phone": 390, "desktop": 1440}  # CSS pixels
PAGES = ("index", "quickstart", "winograd_conv2d", "tutorial_winograd", "why_not_faster", "project", "api/nn")
TIMEOUT_S = 300
HEIGHT = 3000  # of a picture: the top of a page
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Loads every page in frames of each width, one by one, and posts what it found. A page may scroll a table
# within itself; the document itself must not be wider than the frame.
PROBE = """<!doctype html><title>probe</title><body><script>
const jobs = %s, found = {};
(async () => {
  for (const [page, width] of jobs) {
    const frame = document.createElement("iframe");
    frame.style.width = width + "px"; frame.style.height = "900px"; frame.style.border = "0";
    frame.src = page;
    await new Promise((done) => { frame.onload = done; document.body.append(frame); });
    const inner = frame.contentDocument;
    const foreign = frame.contentWindow.performance.getEntriesByType("resource")
      .map((entry) => entry.name).filter((name) => !name.startsWith(location.origin));
    const broken = [...inner.images].filter((image) => image.complete && !image.naturalWidth).map((i) => i.src);
    found[page + " " + width] = [inner.documentElement.scrollWidth, foreign, broken];
    frame.remove();
  }
  await fetch("/found", { method: "POST", body: JSON.stringify(found) });
})();
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The files of the site, without a line for each; and what the probe posts."""

    found: queue.SimpleQueue[str] = queue.SimpleQueue()

    def do_POST(self) -> None:
        self.found.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main() -> int:
    """Takes the pictures; returns the exit status."""
    parser = argparse.ArgumentParser(prog="screenshots", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "screenshots")
    parser.add_argument("--page", type=Path, help="a file that stands alone, instead of the site")
    options = parser.parse_args()
    if options.page is None:
        return pictures(options.out, PAGES)
    with tempfile.TemporaryDirectory() as folder:
        global SITE
        SITE = Path(folder)
        shutil.copy(options.page, SITE / "index.html")
        return pictures(options.out, ("index",))


def pictures(out: Path, wanted: tuple[str, ...]) -> int:
    """Pictures of these pages, and a look at all; returns the exit status."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None or not (SITE / "index.html").exists():
        print(f"screenshots: needs {SITE} (make docs) and one of {', '.join(BROWSERS)}", file=sys.stderr)
        return 1
    pages = [f"{page}.html" for page in wanted if (SITE / f"{page}.html").exists()]
    if len(pages) != len(wanted):
        print(f"screenshots: of {', '.join(wanted)} only {', '.join(pages)} are there", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    with Served() as address:
        problems = probe(browser, address)
        for name, width in SCREENS.items():
            for page in pages:
                picture = out / f"{page.removesuffix('.html').replace('/', '-')}-{name}.png"
                take(browser, f"{address}/{page}", width, picture)
                print(f"wrote {picture.relative_to(ROOT) if picture.is_relative_to(ROOT) else picture}")
    print("\n".join(problems), file=sys.stderr)
    return 1 if problems else 0


class Served:
    """The site on a free port of this machine."""

    def __enter__(self) -> str:
        handler = functools.partial(Quiet, directory=SITE)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()


def command(browser: str, profile: Path, *arguments: str) -> list[str]:
    flags = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
    )
    return [browser, *flags, *arguments]


def probe(browser: str, address: str) -> list[str]:
    """Pages that are too wide, ask for something from elsewhere or show no picture, in words."""
    every = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
    names = [name for name in every if not name.startswith("source/") and name != "404.html"]
    jobs = [(name, width) for name in names for width in SCREENS.values()]
    page = SITE / "probe.html"
    page.write_text(PROBE % json.dumps(jobs))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        alive = "--remote-debugging-port=0"  # else it may leave before it is done
        process = subprocess.Popen(
            command(browser, Path(profile), alive, f"{address}/{page.name}"), stderr=subprocess.DEVNULL
        )
        try:
            found = json.loads(Quiet.found.get(timeout=TIMEOUT_S))
        finally:
            process.terminate()
            process.wait()
            page.unlink()
    problems = []
    for name, width in jobs:
        shown, foreign, broken = found[f"{name} {width}"]
        problems += [f"{name}: {shown} pixels wide on a screen of {width}"] if shown > width else []
        problems += [f"{name}: asks for {url}" for url in foreign]
        problems += [f"{name}: no picture {url}" for url in broken]
    print(f"{len(names)} pages looked at, {len(problems)} problems")
    return sorted(set(problems))


def take(browser: str, url: str, width: int, picture: Path) -> None:
    """The top of a page. A frame gives the width, since a window has a least one."""
    frame = SITE / "frame.html"
    style = f"border:0;width:{width}px;height:{HEIGHT}px"
    frame.write_text(f'<!doctype html><body style="margin:0"><iframe src="{url}" style="{style}"></iframe>')
    try:
        size = f"--window-size={max(width, 500)},{HEIGHT}"
        address = url.split("/", 3)
        where = "/".join([*address[:3], frame.name])
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            call = command(
                browser, Path(profile), size, "--virtual-time-budget=5000", f"--screenshot={picture}", where
            )
            subprocess.run(call, stderr=subprocess.DEVNULL, timeout=TIMEOUT_S, check=True)
    finally:
        frame.unlink()


if __name__ == "__main__":
    sys.exit(main())
