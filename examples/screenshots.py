"""The pictures of the documentation, of the example requests of ``make portal``: ``make screenshots``."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import time_machine
from PIL import Image
from portal import ALICE, BOB, WORKFLOW, Examples, accounts
from stage import DSR, MAIL, ROOT, SOURCES, mail_server, sandboxes

from dsr_sdk import Request
from dsr_sdk.host import Host
from dsr_sdk.host.process.panel import SourceState

PICTURES = ROOT / "docs" / "images"
WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}


def history(host: Host) -> None:
    """Requests of the weeks before, closed: what the dashboard draws."""
    now = datetime.now(UTC)
    for week, (count, days) in enumerate(((2, 21), (3, 17), (2, 19), (4, 14), (3, 15), (5, 11), (4, 12), (3, 9), (5, 8), (4, 9), (3, 6))):
        for n in range(count):
            closing = now - timedelta(weeks=11 - week, hours=n)
            told = {"type": "do_not_mail", "subject": {"email": f"past{week}-{n}@example.org"}, "channel": "privacy_center"}
            with time_machine.travel(closing - timedelta(days=days), tick=False):
                case = host.submit(Request.parse(told))
                host.workflow.accept(case, by=ALICE)
            with time_machine.travel(closing, tick=False):
                host.workflow.finish(case, by=ALICE, all_done=True)
                host.replies.edit(case, mode="none", reason="Told by telephone.", by=ALICE)
                host.replies.close(case, by=ALICE)


def more(host: Host, examples: Examples) -> dict[str, str]:
    """What the pictures show beside the examples: a deletion half done, a copy that is looked through; the case numbers by reference."""
    cases = {"shown": examples.request("shown", "deletion", "katherine", days=3, channel="mine_app", country="DE")[0]}
    host.workflow.assign(cases["shown"], ALICE, by=ALICE)
    host.workflow.accept(cases["shown"], by=ALICE)
    host.processing.search(cases["shown"], wait=5)
    cases["half"] = examples.request("half", "deletion", "ada", days=6, country="DE")[0]
    host.workflow.assign(cases["half"], BOB, by=ALICE)
    host.workflow.accept(cases["half"], by=BOB)
    host.processing.search(cases["half"], wait=5)
    panel = host.processing.panel(cases["half"])
    host.processing.give_free(cases["half"], [row.source for row in panel.sources if row.selectable], by=BOB, seen=panel.seen)
    host.processing.tick_email(cases["half"], "newsletter", by=BOB)
    host.run(cases["half"])
    if any(row.source == "archive" and row.state is SourceState.BY_HAND for row in host.processing.panel(cases["half"]).sources):
        picture = io.BytesIO(b"\x89PNG\r\n\x1a\n")
        told: dict[str, Any] = {"name": "shelf-4-empty.png", "media_type": "image/png", "purpose": "evidence", "source": "archive", "by": BOB}
        proof = host.files.attach(cases["half"], picture, **told)
        host.processing.mark_done(cases["half"], "archive", by=BOB, note="The folder is shredded.", files=[proof.id])
    for row in host.cases():
        case = host.workflow.get(row.number)
        if case.number in cases.values():
            continue
        if case.decision == "rejected":
            cases["rejected"] = case.number
        elif case.type == "deletion" and case.stage == "closed":
            cases["closed"] = case.number
        elif case.type == "deletion" and case.channel == "mine_app":
            cases["evidence"] = case.number
        elif case.type == "copy":
            cases["copy"] = case.number
    return cases


@contextmanager
def served(config: Path, port: int) -> Iterator[str]:
    """``dsr serve``; its address."""
    process = subprocess.Popen([DSR, "--config", config, "serve", "--port", str(port)], stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                    break
            except OSError:
                if time.monotonic() > until or process.poll() is not None:
                    raise
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(40)


class Camera:
    """Takes the pictures."""

    def __init__(self, browser: Any, url: str, password: str) -> None:
        self.browser, self.url, self.password = browser, url, password
        self.signed_in: Any = None

    def page(self, viewport: dict[str, int], scheme: str, *, signed_in: bool = True) -> Any:
        """A page of a new browser."""
        context = self.browser.new_context(
            base_url=self.url, viewport=viewport, color_scheme=scheme, reduced_motion="reduce", device_scale_factor=2 if viewport is PHONE else 1
        )
        if signed_in and self.signed_in:
            context.add_cookies(self.signed_in)
        page = context.new_page()
        if signed_in and not self.signed_in:
            page.goto("/sign-in")
            page.get_by_label("E-mail address").fill(ALICE)
            page.get_by_label("Password").fill(self.password)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("heading", level=1).wait_for()
            self.signed_in = context.cookies()
        return page

    def take(self, name: str, page: Any, *, height: int | None = None) -> None:
        """One picture, as wide as the page's window and as high as that, or as said."""
        page.wait_for_load_state("networkidle")
        if height:
            page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
        page.evaluate("document.activeElement && document.activeElement.blur(); scrollTo(0, 0)")
        taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        # 192 colours are enough for pages, and a third of the size.
        taken.quantize(192, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)
        sys.stdout.write(f"{name}.png: {(PICTURES / f'{name}.png').stat().st_size // 1024} KB\n")


def pictures(camera: Camera, cases: dict[str, str]) -> None:
    """Every picture of the documentation."""
    page = camera.page(WIDE, "light")
    page.goto("/")
    camera.take("dashboard", page, height=1000)
    page.goto("/requests")
    camera.take("requests", page)
    page.goto(f"/requests/{cases['evidence']}")
    camera.take("review", page, height=1180)
    page.goto(f"/requests/{cases['shown']}")
    page.get_by_label("Select all").check()
    camera.take("process", page, height=1180)
    page.locator("button[data-counts]").click()
    page.wait_for_url("**/give-free")
    camera.take("delete-sources", page, height=900)
    page.goto(f"/requests/{cases['half']}")
    camera.take("process-under-way", page, height=1280)
    page.goto(f"/requests/{cases['copy']}/copy")
    camera.take("redact", page)
    page.goto(f"/requests/{cases['rejected']}")
    camera.take("reply", page, height=1000)
    page.goto(f"/requests/{cases['closed']}")
    camera.take("closed", page, height=1000)
    page.goto(f"/requests/{cases['closed']}/history")
    camera.take("history", page, height=1000)
    page.goto("/sources")
    camera.take("sources", page)
    page.goto("/templates")
    camera.take("templates", page)

    page = camera.page(WIDE, "dark")
    page.goto("/requests")
    camera.take("requests-dark", page)
    page.goto(f"/requests/{cases['shown']}")
    camera.take("process-dark", page, height=1000)

    page = camera.page(PHONE, "light")
    page.goto(f"/requests/{cases['shown']}")
    camera.take("process-phone", page)
    page = camera.page(PHONE, "light", signed_in=False)
    page.goto("/privacy/en")
    camera.take("form-phone", page)
    page = camera.page({"width": 1280, "height": 1000}, "light", signed_in=False)
    page.goto("/privacy/en?type=deletion")
    camera.take("form", page)


def main() -> int:
    """Set up, load, serve, look."""
    from playwright.sync_api import sync_playwright

    PICTURES.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with mail_server(place / "mail") as mail_port, sandboxes(place):
            config = place / "dsr.toml"
            with config.open("a", encoding="utf-8") as file:
                file.write(SOURCES + MAIL.format(port=mail_port, agent=ALICE) + WORKFLOW.format(url=f"http://127.0.0.1:{port}", notice=""))
            with Host.open(config) as host:
                made = accounts(host)
                history(host)
                examples = Examples(host, place / "mail")
                examples.load()
                cases = more(host, examples)
            with served(config, port) as url, sync_playwright() as playwright:
                path = shutil.which("chromium") or shutil.which("google-chrome")
                browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
                pictures(Camera(browser, url, made[ALICE]), cases)
                browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
