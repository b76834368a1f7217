"""Pages in a real browser that may talk to this machine only."""

PLAIN = {"width": 1280, "height": 800}
_OURS = ("http://127.0.0.1:", "blob:", "data:")


class Visits:
    """Opens pages.

    Attributes
    ----------
    foreign, complaints
        What they asked others for, and what they said on their consoles.
    """

    def __init__(self, browser):
        self.browser = browser
        self.contexts, self.foreign, self.complaints = [], [], []
        self._borrowed = {}

    def __call__(self, address, **options):
        options.setdefault("viewport", PLAIN)
        context = self.browser.new_context(**options)
        self.contexts.append(context)
        context.route("**/*", self._guard)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(address)
        return page

    def borrow(self, address, whose="", **options):
        """Return the page that was opened so before, or open it."""
        key = address, whose, repr(options)
        if key not in self._borrowed:
            self._borrowed[key] = self(address, **options)
        return self._borrowed[key]

    def check(self):
        """See that nobody else was asked and nothing complained since the last check."""
        foreign, self.foreign = self.foreign, []
        complaints, self.complaints = self.complaints, []
        assert foreign == []
        assert complaints == []

    def close(self):
        for context in self.contexts:
            context.close()
        self.contexts.clear()
        self._borrowed.clear()

    def _guard(self, route):
        if route.request.url.startswith(_OURS):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def _heard(self, message):
        if message.type == "error":
            self.complaints.append(message.text)
