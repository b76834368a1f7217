"""Work off the page's loop, without the loop."""


class AtOnce:
    """Work that is done at once."""

    def do(self, work, done, **_options):
        done(work())
        return True
