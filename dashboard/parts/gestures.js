// Gestures on a frame: wheel, drags, two fingers, keys.

const STEP = 0.1; // of what is shown, with an arrow key
const ENDS = ["pointerup", "pointercancel"];

export class Gestures {
  constructor(view) {
    this.view = view;
    this.pointers = new Map();
    const { canvas } = view;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const [x, y] = view.at(event);
      view.zoomBy(Math.exp(-event.deltaY * 0.0015), x / view.shape[1], y / view.shape[0]);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => view.point(view.chipAt(event), view.bareAt(event)));
    canvas.addEventListener("pointerleave", () => view.point(null));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault()); // the right button moves
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("dblclick", () => { if (!view.picker) view.setView(1, 0.5, 0.5); });
    this.lift = (event) => this.pointers.delete(event.pointerId);
    for (const kind of ENDS) window.addEventListener(kind, this.lift);
  }

  close() {
    for (const kind of ENDS) window.removeEventListener(kind, this.lift);
  }

  press(event) {
    const { picker, moving } = this.view;
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.pointers.size === 2) {
      picker?.drag?.();
      this.pinch();
    } else if (picker && event.button === 0 && !event.shiftKey && !moving) {
      picker.press(event);
    } else {
      this.pan(event);
    }
  }

  // Calls `act` while pointers move, until one is lifted.
  whileMoving(act) {
    const end = () => {
      window.removeEventListener("pointermove", act);
      for (const kind of ENDS) window.removeEventListener(kind, end);
    };
    window.addEventListener("pointermove", act);
    for (const kind of ENDS) window.addEventListener(kind, end);
  }

  pan(event) {
    const { view } = this;
    const { zoom, x, y } = view.view;
    const { scale } = view.layout();
    this.whileMoving((e) => {
      if (this.pointers.size !== 1) return;
      const [down, across] = view.shape;
      view.setView(
        zoom, x - (e.clientX - event.clientX) / scale / across, y - (e.clientY - event.clientY) / scale / down,
      );
    });
  }

  // Two fingers: what was between them stays between them.
  pinch() {
    const { view } = this;
    const look = () => {
      const [a, b] = this.pointers.values();
      return { clientX: (a[0] + b[0]) / 2, clientY: (a[1] + b[1]) / 2, apart: Math.hypot(a[0] - b[0], a[1] - b[1]) };
    };
    const first = look();
    const held = view.at(first);
    const { zoom } = view.view;
    this.whileMoving((e) => {
      if (this.pointers.size !== 2 || !this.pointers.has(e.pointerId)) return;
      this.pointers.set(e.pointerId, [e.clientX, e.clientY]);
      const now = look();
      view.setView((zoom * now.apart) / Math.max(first.apart, 1), view.view.x, view.view.y);
      const [x, y] = view.at(now);
      const [down, across] = view.shape;
      view.setView(view.view.zoom, view.view.x + (held[0] - x) / across, view.view.y + (held[1] - y) / down);
    });
  }

  key(event) {
    const { view } = this;
    const { zoom, x, y } = view.view;
    const step = STEP / zoom;
    const acts = {
      "+": () => view.zoomBy(1.5), "=": () => view.zoomBy(1.5), "-": () => view.zoomBy(1 / 1.5),
      0: () => view.setView(1, 0.5, 0.5),
      ArrowLeft: () => view.setView(zoom, x - step, y), ArrowRight: () => view.setView(zoom, x + step, y),
      ArrowUp: () => view.setView(zoom, x, y - step), ArrowDown: () => view.setView(zoom, x, y + step),
    };
    const done = view.picker?.key(event) || (acts[event.key] && (acts[event.key](), true));
    if (done) event.preventDefault();
  }
}
