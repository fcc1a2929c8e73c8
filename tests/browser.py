"""Debian's Chromium without a screen, driven through its debugging pipe."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time

import pytest

CHROMIUM = shutil.which("chromium")
_MOST_SECONDS = 60
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


class Browser:
    """One page of a browser of its own; to be used in a `with` statement.

    Args:
        profile: an empty folder for what it remembers.
        flags: of its command line.

    Attributes:
        errors: what no code of the page caught, and what the browser refused it.
    """

    def __init__(self, profile, flags=()):
        self._numbers = itertools.count(1)
        self.errors = []
        read_by_it, self._write = os.pipe()
        self._read, written_by_it = os.pipe()

        def as_three_and_four():
            # Above both first, so that neither overwrites the other.
            ours = [os.dup(each) for each in (read_by_it, written_by_it)]
            for descriptor, number in zip(ours, (3, 4), strict=True):
                os.dup2(descriptor, number)

        self._process = subprocess.Popen(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--remote-debugging-pipe", f"--user-data-dir={profile}", "--disable-quic"),
                *("--disable-background-networking", "--disable-component-update"),
                *(*flags, "about:blank"),
            ],
            preexec_fn=as_three_and_four,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_by_it)
        os.close(written_by_it)
        self._left = b""
        self._session = None
        (target,) = [
            each for each in self.send("Target.getTargets")["targetInfos"] if each["type"] == "page"
        ]
        attached = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """Sends a command of Chromium's debugging protocol, and gives its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, address):
        """Opens a URL and waits until it is loaded."""
        self.send("Page.navigate", url=address)
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def run(self, expression):
        """The value of an expression of JavaScript, waited for where it is a promise."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression):
        """Waits until an expression of JavaScript is true, or like it; gives its value."""
        deadline = time.monotonic() + _MOST_SECONDS
        while not (value := self.run(expression)):
            assert time.monotonic() < deadline, (expression, self.errors)
            time.sleep(0.02)
        return value

    def give_files(self, selector, paths):
        """Chooses files in an input of the page."""
        found = self.send("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        self.send(
            "DOM.setFileInputFiles",
            objectId=found["result"]["objectId"],
            files=[str(path) for path in paths],
        )

    def picture(self):
        """What the page looks like: the bytes of a PNG file."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def press(self, key, code):
        """Presses a key and lets it go."""
        for kind in ("rawKeyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _message(self):
        while b"\0" not in self._left:
            answers, _, _ = select.select([self._read], [], [], _MOST_SECONDS)
            assert answers, "the browser does not answer"
            more = os.read(self._read, 2**16)
            assert more, "the browser has ended"
            self._left += more
        first, _, self._left = self._left.partition(b"\0")
        message = json.loads(first)
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(message["params"])
        if message.get("method") == "Log.entryAdded":
            entry = message["params"]["entry"]
            if entry["level"] == "error":
                self.errors.append(entry)
        return message
