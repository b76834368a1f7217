"""The walk of issue 17: what a microscopist does on the pages, with a picture after each step.

    python -m tests.browser.walk OUT [SCENE …]

It starts a run of its own with real micrographs, the demo, runs without a worker, `review`, and
one with accounts; it needs Chromium and takes some minutes. Look at the pictures: `OUT/walk.md`
lists each finding with what is expected, what was seen, and the picture.
"""
