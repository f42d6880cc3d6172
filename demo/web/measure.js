// The distance between two points that are chosen in any view, and their marks in all views.

class Ruler {
  /** `button` and `output` are elements; `onChange` is called when points are added or removed. */
  constructor(button, output, onChange) {
    Object.assign(this, { button, output, onChange, points: [], unit: "" });
    button.addEventListener("click", () => this.measure(!this.active));
  }

  get active() {
    return this.button.getAttribute("aria-pressed") === "true";
  }

  /** Start or stop measuring. */
  measure(active) {
    this.button.setAttribute("aria-pressed", active);
    this.set([]);
  }

  /** Add a point: its position (x, y, z), or null without depth, and its angles. A third point starts over. */
  add(position, u, v) {
    if (!position) this.output.textContent = "no depth there";
    else this.set([...(this.points.length === 2 ? [] : this.points), { position, u, v }]);
  }

  set(points) {
    this.points = points;
    this.output.textContent = this.text();
    this.onChange();
  }

  text() {
    if (!this.active) return "";
    if (this.points.length < 2) return this.points.length ? "choose the second point" : "choose two points in any view";
    const [a, b] = this.points.map(({ position }) => position);
    const length = Math.hypot(...a.map((value, axis) => value - b[axis]));
    return `A to B: ${`${length.toFixed(2)} ${this.unit}`.trim()}, by predicted depth`;
  }

  /** Show the marks in a view: an element to put them in, and a function from a point to its position there or null. */
  mark(view, project) {
    view.querySelectorAll(".end").forEach((mark) => mark.remove());
    this.points.forEach((point, i) => {
      const at = project(point);
      if (!at) return;
      const mark = make("b", { className: "end", textContent: "AB"[i] });
      Object.assign(mark.style, { left: `${at[0]}px`, top: `${at[1]}px` });
      view.append(mark);
    });
  }
}
