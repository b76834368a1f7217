// Choosing examples: click or drag with a class; the class goes with each click to Python, which
// owns the choice. Clicks are shown at once and counted, so that an older answer cannot undo them.

export const HANDS = "click or drag: choose · wheel: zoom · drag with the right button or Shift: move · 1–9: class · U: undo";

export class Picker {
  constructor(view) {
    this.view = view;
    this.clicks = 0;
    this.drag = null;
    view.canvas.style.cursor = "crosshair";
  }

  press(event) {
    const { view } = this;
    const first = view.chipAt(event);
    if (!first) return;
    view.canvas.focus();
    const before = new Map(view.picks);
    const add = before.get(first.join(",")) !== view.staged;
    const touched = new Map();
    const touch = (chip) => {
      if (!chip || touched.has(chip.join(","))) return;
      touched.set(chip.join(","), chip);
      this.mark(chip, add);
    };
    const move = (e) => touch(view.chipAt(e));
    const end = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", up);
      window.removeEventListener("pointercancel", this.drag);
      this.drag = null;
    };
    const up = () => {
      end();
      this.send(add, [...touched.values()]);
    };
    // Taken back where the drag becomes another gesture.
    this.drag = () => {
      end();
      view.showPicks(before);
    };
    touch(first);
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", up);
    window.addEventListener("pointercancel", this.drag);
  }

  mark(chip, add) {
    const picks = new Map(this.view.picks);
    if (add) picks.set(chip.join(","), this.view.staged);
    else picks.delete(chip.join(","));
    this.view.showPicks(picks);
  }

  send(add, chips) {
    this.clicks += 1;
    this.view.model.send_msg({
      type: "pick", label: this.view.staged, add, chips, click: this.clicks, chip: this.view.chip,
      seq: Number(this.view.wrap.dataset.seq),
    });
  }

  key(event) {
    const { view } = this;
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return false;
    const [rows, columns] = view.grid || [0, 0];
    const digit = Number(event.key);
    if (digit >= 1 && digit <= 9) {
      const chosen = (view.classes || [])[digit - 1];
      if (chosen) view.stageClass(chosen.name);
      return true;
    }
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step && rows) {
      const from = view.cursor || [Math.floor(rows / 2), Math.floor(columns / 2)];
      view.point([
        Math.min(Math.max(from[0] + step[0], 0), rows - 1),
        Math.min(Math.max(from[1] + step[1], 0), columns - 1),
      ]);
      view.follow();
      return true;
    }
    if ((event.key === " " || event.key === "Enter") && view.cursor) {
      const add = view.picks.get(view.cursor.join(",")) !== view.staged;
      this.mark(view.cursor, add);
      this.send(add, [view.cursor]);
      return true;
    }
    if (event.key === "u" || event.key === "U") {
      this.clicks += 1;
      view.model.send_msg({ type: "undo", click: this.clicks });
      return true;
    }
    return false;
  }
}
