"""What the tests look at in a page."""

FIND = """(css) => {
  const search = (root) => {
    for (const node of root.querySelectorAll("*")) {
      if (node.matches(css)) return node;
      const inner = node.shadowRoot && search(node.shadowRoot);
      if (inner) return inner;
    }
    return null;
  };
  return search(document);
}"""
CURVE_POINTS = """() => {
  const source = window.Bokeh?.documents?.[0]?.get_model_by_name("phase");
  return source ? [...source.get_column("v0") ?? []].filter(Number.isFinite).length : 0;
}"""
"""Frames in the curve; where no frame came for long it has a break, which is none."""
BELOW = """() => {
  const document = window.Bokeh?.documents?.[0];
  const source = document?.get_model_by_name("NAME-quantity");
  const plot = document?.get_model_by_name("NAME-below");
  return source && plot?.visible ? [plot.left[0].axis_label, ...source.get_column("v0")] : null;
}"""
AGAINST = """() => {
  const document = window.Bokeh?.documents?.[0];
  const source = document?.get_model_by_name("NAME-against");
  const plot = document?.get_model_by_name("NAME-against-plot");
  if (!source || !plot?.visible) return null;
  const rows = ["x", "v0", "branch"].map((name) => [...source.get_column(name)]);
  return [plot.below[0].axis_label, ...rows];
}"""
TRUE_POINTS = CURVE_POINTS.replace('"phase"', '"phase-true"')

SPY = """() => {
  const { prototype } = CanvasRenderingContext2D, kept = prototype.fillText;
  window.drawn = [];
  prototype.fillText = function (text, x, y) {
    const at = this.getTransform().transformPoint({ x, y });
    const under = [...this.getImageData(Math.round(at.x), Math.round(at.y), 1, 1).data];
    const { font, fillStyle, textAlign } = this, { width } = this.measureText(text);
    window.drawn.push({ text, font, colour: fillStyle, align: textAlign, width, x: at.x, under });
    return kept.call(this, text, x, y);
  };
}"""
"""Notes every text that is drawn into a canvas from now on in `window.drawn`."""


def data(page, key):
    """A number or text that the canvas tells of itself."""
    return page.locator(".chipwrap").get_attribute(f"data-{key}")


def wait_data(page, key, test, arg=None, timeout=60_000):
    """Wait until what the canvas tells of itself passes a test (a JavaScript expression)."""
    page.wait_for_function(
        f"arg => {{ const v = ({FIND})('.chipwrap')?.dataset.{key}; return {test}; }}",
        arg=arg,
        timeout=timeout,
    )


def wait_shown(page, number):
    wait_data(page, "seq", "Number(v || 0) >= arg", number)


def colours(page):
    """How many different colours the canvas shows."""
    return page.locator(".chipwrap canvas").evaluate(
        """canvas => {
          const { width, height } = canvas;
          const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
          const seen = new Set();
          for (let i = 0; i < data.length; i += 40) seen.add(data.slice(i, i + 3).join());
          return seen.size;
        }"""
    )


class Chips:
    """Clicks on chips by row and column."""

    def __init__(self, page, frame, chip):
        self.page, self.frame, self.chip = page, frame, chip
        self.canvas = page.locator(".chipwrap canvas")

    def place(self, row, column):
        box = self.canvas.bounding_box()
        height, width = self.frame
        scale = min(box["width"] / width, box["height"] / height)
        left = (box["width"] - width * scale) / 2
        top = (box["height"] - height * scale) / 2
        return {
            "x": left + (column + 0.5) * self.chip[0] * scale,
            "y": top + (row + 0.5) * self.chip[1] * scale,
        }

    def click(self, *places):
        for row, column in places:
            self.canvas.click(position=self.place(row, column))

    def drag(self, first, last):
        box = self.canvas.bounding_box()
        points = [self.place(*p) for p in (first, last)]
        mouse = self.page.mouse
        mouse.move(box["x"] + points[0]["x"], box["y"] + points[0]["y"])
        mouse.down()
        mouse.move(box["x"] + points[1]["x"], box["y"] + points[1]["y"], steps=12)
        mouse.up()
