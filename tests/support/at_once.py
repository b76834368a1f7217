"""Work that goes on beside something else, done at once instead."""

from concurrent.futures import Future


class AtOnce:
    """Work off the page's loop, without the loop."""

    def do(self, work, done, **_options):
        done(work())
        return True


class OneThread:
    """A pool of threads without threads."""

    def __init__(self, *_):
        pass

    def submit(self, work, *args):
        done = Future()
        try:
            done.set_result(work(*args))
        except BaseException as error:
            done.set_exception(error)
        return done

    def shutdown(self, **_):
        pass
