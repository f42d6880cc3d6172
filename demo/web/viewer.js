// The viewer of demo_elite360m.py: one panorama as flat maps, from inside and as a point cloud (views.js), with the
// values under the pointer.
//
// Gradio runs views.js and this file when the HTML of viewer.html is loaded, with `element` (its root), `props.value`
// (from demo/layers.py) and `watch`.

const ARRAYS = { uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array };
const find = (selector) => element.querySelector(selector);

/** A new element with properties and children. */
function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** The values of a layer, as an array of the type in which they were sent. */
function decode({ type, data, step, unit }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return { values: new ARRAYS[type](bytes.buffer), step, unit };
}

class Viewer {
  constructor() {
    if (!document.createElement("canvas").getContext("webgl2")) {
      find(".views").replaceChildren("this browser has no WebGL 2: only flat maps are shown");
      return;
    }
    this.look = new LookAround(find(".look"), (u, v) => {
      const direction = `longitude ${this.degrees(u)}, latitude ${this.degrees(v)}`;
      find(".look-caption").textContent = `looking at ${direction} · drag to rotate, wheel to zoom`;
    });
    this.cloud = new PointCloud(find(".cloud"));
    find(".look").addEventListener("pointermove", (event) => {
      this.showValues(...this.look.angles(event.offsetX, event.offsetY));
    });
    new ResizeObserver(() => this.data && this.redraw()).observe(find(".views"));
  }

  degrees(angle) {
    return `${(angle * DEGREES).toFixed(1)}°`;
  }

  /** Show a new panorama. */
  async show(data) {
    const layers = data.layers.map((layer) => ({
      ...layer,
      image: make("img", { src: layer.image, alt: layer.caption, draggable: false }),
      ...(layer.value_map && { value_map: decode(layer.value_map) }),
    }));
    await Promise.all(layers.map((layer) => layer.image.decode()));
    this.data = { ...data, layers };
    find(".empty").hidden = true;
    find(".shown").hidden = false;
    find(".title").textContent = data.title;
    find(".read-out").textContent = "point at a map or at the inside view";
    find(".maps").replaceChildren(...layers.map((layer) => this.map(layer)));
    if (this.look) {
      const depth = layers.find((layer) => layer.name === "depth");
      find(".outside").hidden = !depth;
      if (depth) this.cloud.show(data.width, data.height, depth.value_map);
      this.choose(layers[0]);
      this.look.lookAt(0, 0);
    }
  }

  /** A flat map: its image, with a scale or legend below. */
  map(layer) {
    const image = make("div", { className: "picture" }, layer.image);
    layer.image.dataset.layer = layer.name;
    image.addEventListener("pointermove", (event) => this.showValues(...this.mapAngles(event)));
    image.addEventListener("click", (event) => this.look?.lookAt(...this.mapAngles(event)));
    const figure = make("figure", {}, image, make("figcaption", {}, make("span", { textContent: layer.caption })));
    if (layer.scale) figure.lastChild.append(this.scale(layer.scale));
    if (layer.legend) figure.append(this.legend(layer));
    return figure;
  }

  scale({ low, high, unit, image }) {
    const ends = [low, high].map((value) => make("span", { textContent: `${value} ${unit}` }));
    return make("span", { className: "scale" }, ends[0], make("img", { src: image, alt: "" }), ends[1]);
  }

  /** The classes that occur, most frequent first. */
  legend({ legend, value_map: { values } }) {
    const counts = new Array(legend.length).fill(0);
    for (const value of values) counts[value]++;
    const order = [...legend.keys()].filter((i) => counts[i]).sort((i, j) => counts[j] - counts[i]);
    return make("ul", { className: "legend" }, ...order.map((i) => this.chip(...legend[i])));
  }

  chip(name, color) {
    const swatch = make("i");
    swatch.style.background = color;
    return make("li", {}, swatch, name);
  }

  choose(layer) {
    for (const view of [this.look, this.cloud]) view.setLayer(layer.image, layer.name === "RGB");
    const buttons = this.data.layers.map((each) => {
      const state = { role: "radio", ariaChecked: each === layer };
      return make("button", { textContent: each.name, onclick: () => this.choose(each), ...state });
    });
    find(".choice").replaceChildren(...buttons);
    this.redraw();
  }

  redraw() {
    this.look.redraw();
    if (!find(".outside").hidden) this.cloud.redraw();
  }

  mapAngles({ currentTarget: image, offsetX, offsetY }) {
    return [(offsetX / image.clientWidth - 0.5) * 2 * Math.PI, (offsetY / image.clientHeight - 0.5) * Math.PI];
  }

  /** Show the values in a direction, and mark it on the maps. */
  showValues(u, v) {
    const { width, height, layers } = this.data;
    const [x, y] = [u / (2 * Math.PI) + 0.5, v / Math.PI + 0.5];
    const pixel = clamp(Math.floor(y * height), 0, height - 1) * width + clamp(Math.floor(x * width), 0, width - 1);
    const values = layers.filter((layer) => layer.value_map).map((layer) => this.value(layer, pixel));
    const direction = [`longitude ${this.degrees(u)}`, `latitude ${this.degrees(v)}`];
    find(".read-out").replaceChildren(...[...direction, ...values].map((text) => make("span", { textContent: text })));
    find(".maps").style.setProperty("--x", `${100 * x}%`);
    find(".maps").style.setProperty("--y", `${100 * y}%`);
  }

  value({ name, legend, value_map: { values, step, unit } }, pixel) {
    if (legend) return `class ${legend[values[pixel]][0]}`;
    if (name === "depth" && !values[pixel]) return "no depth";
    const channels = values.length / (this.data.width * this.data.height);
    const numbers = Array.from({ length: channels }, (_, i) => (step * values[pixel * channels + i]).toFixed(2));
    return `${name} ${numbers.join(", ")} ${unit}`.trim();
  }
}

const viewer = new Viewer();
watch("value", () => props.value && viewer.show(props.value));
