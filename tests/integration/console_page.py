"""The console's page as somebody sees it who looks at it with a browser."""

import re
from typing import Any

from sluice_kit.testing.waiting import until
from tests.integration.headless_chromium import Chromium


class Page:
    """The page at `url` in a browser; what is asked for is waited for, since the page fills itself."""

    def __init__(self, browser: Chromium, url: str) -> None:
        self.browser, self._url = browser, url

    def open(self, view: str) -> None:
        """Show a view: `flow`, `event/ID` or `quarantine`. Returns once its forms can be sent."""
        self.browser.open(f"{self._url}/#{view}")
        until(lambda: self.browser.run("document.readyState === 'complete'"), "the page to be loaded")

    def texts(self, selector: str) -> list[str]:
        """What is to be read in each element that is shown, in order."""
        script = "(selector) => [...document.querySelectorAll(selector)]"
        script += ".filter((one) => one.checkVisibility()).map((one) => one.innerText)"
        found: list[str] = self.browser.run(f"({script})({selector!r})")
        return found

    def shows(self, selector: str, pattern: str) -> re.Match[str]:
        """The first element whose text matches, once there is one."""
        wanted = re.compile(pattern, re.DOTALL)

        def look() -> re.Match[str] | None:
            return next(filter(None, map(wanted.search, self.texts(selector))), None)

        return until(look, f"{selector} to show {pattern}", 60)

    def links(self) -> dict[str, str]:
        """The inspector's chain: text by the name of the link, in order; once it is there."""
        self.shows("#chain > li h3", "^record")
        return dict(zip(self._names(), self.texts("#chain > li"), strict=True))

    def click(self, selector: str) -> None:
        """Click the first such element."""
        self.browser.run(f"document.querySelector({selector!r}).click()")

    def enter(self, selector: str, text: str) -> None:
        """Write into a field and send its form."""
        self.browser.run(
            f"(() => {{ const field = document.querySelector({selector!r}); field.value = {text!r};"
            " field.form.requestSubmit(); })()"
        )

    def style(self, selector: str, name: str) -> Any:
        """A computed style."""
        return self.browser.run(f"getComputedStyle(document.querySelector({selector!r})).{name}")

    def _names(self) -> list[str]:
        return [text.split()[0] for text in self.texts("#chain > li h3")]
