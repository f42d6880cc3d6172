// A panorama from inside and as a point cloud: plain WebGL 2, no dependencies.
//
// Axes and angles are as in utils/sphere.py: x right, y down, z forward; longitude u increases to the right, latitude v
// downward, both 0 in the middle of the panorama. Angles are in radians.

const DEGREES = 180 / Math.PI;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The axes of a camera looking at longitude u, latitude v (right, down, forward): the columns of a 3x3 matrix. */
function axes(u, v) {
  const [su, cu, sv, cv] = [Math.sin(u), Math.cos(u), Math.sin(v), Math.cos(v)];
  return [cu, 0, -su, -sv * su, cv, -sv * cu, cv * su, sv, cv * cu];
}

/** Depth along the rays of a panorama: `values` times `step`, 0 where it is missing. */
class DepthMap {
  constructor(width, height, { values, step }) {
    Object.assign(this, { width, height, values, step });
  }

  /** The point of a pixel, (x, y, z); null if it has no depth. */
  point(pixel) {
    const depth = this.values[pixel] * this.step;
    if (!depth) return null;
    const u = (((pixel % this.width) + 0.5) / this.width - 0.5) * 2 * Math.PI;
    const v = ((Math.floor(pixel / this.width) + 0.5) / this.height - 0.5) * Math.PI;
    return [depth * Math.cos(v) * Math.sin(u), depth * Math.sin(v), depth * Math.cos(v) * Math.cos(u)];
  }

  /** Call a function with each point, or every n-th one, and its pixel. */
  forEach(call, n = 1) {
    for (let pixel = 0; pixel < this.values.length; pixel += n) {
      const point = this.point(pixel);
      if (point) call(point, pixel);
    }
  }
}

/** The components of a vector (x, y, z) along the columns of a matrix: right, down and forward. */
function inAxes(m, [x, y, z]) {
  return [m[0] * x + m[1] * y + m[2] * z, m[3] * x + m[4] * y + m[5] * z, m[6] * x + m[7] * y + m[8] * z];
}

// ---- Shaders ----------------------------------------------------------------------------------------------------

const LOOK_VERTEX = `#version 300 es
void main() {  // one triangle that covers the canvas
  gl_Position = vec4(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1, 0, 1);
}`;

const LOOK_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D layer;
uniform mat3 camera;
uniform vec2 size;    // of the canvas in pixels
uniform float focal;  // focal length, in half heights of the canvas
out vec4 color;
void main() {
  vec2 at = (2.0 * gl_FragCoord.xy - size) / size.y;
  vec3 ray = camera * vec3(at.x, -at.y, focal);
  vec2 angles = vec2(atan(ray.x, ray.z), atan(ray.y, length(ray.xz)));
  color = texture(layer, angles / vec2(${2 * Math.PI}, ${Math.PI}) + 0.5);
}`;

const CLOUD_VERTEX = `#version 300 es
precision highp float;
uniform highp usampler2D depth;
uniform sampler2D layer;
uniform mat3 camera;
uniform vec2 size;
uniform float focal, unit, distance;  // unit: depth of value 1; distance: from the eye to the middle
uniform vec3 middle;                  // center of rotation
uniform vec2 pan;                     // shift of the image, in half heights of the canvas
out vec4 shade;
void main() {  // vertex i is pixel i of the depth map
  ivec2 grid = textureSize(depth, 0);
  ivec2 pixel = ivec2(gl_VertexID % grid.x, gl_VertexID / grid.x);
  vec2 at = (vec2(pixel) + 0.5) / vec2(grid);
  vec2 angles = (at - 0.5) * vec2(${2 * Math.PI}, ${Math.PI});
  vec3 ray = vec3(cos(angles.y) * sin(angles.x), sin(angles.y), cos(angles.y) * cos(angles.x));
  float range = float(texelFetch(depth, pixel, 0).r) * unit;
  vec3 from_eye = ray * range - middle + camera[2] * distance;
  vec3 in_view = transpose(camera) * from_eye;  // right, down, forward
  const float near = 0.05, far = 200.0;
  float z = ((far + near) * in_view.z - 2.0 * far * near) / (far - near);
  vec2 at_canvas = vec2(in_view.x, -in_view.y) * focal / in_view.z + pan;
  gl_Position = vec4(at_canvas.x * size.y / size.x * in_view.z, at_canvas.y * in_view.z, z, in_view.z);
  // As large as the gap to the next row, so that surfaces have no holes.
  float gap = ${(0.75 * Math.PI).toFixed(4)} * range / float(grid.y) * focal * size.y / in_view.z;
  gl_PointSize = clamp(gap, 1.0, 48.0);
  // Surfaces that face away are hidden, so that one can see into the room; so are pixels without depth.
  if (dot(ray, from_eye) < 0.0 || range == 0.0) gl_Position = vec4(2, 2, 2, 1);
  shade = texture(layer, at);
}`;

const CLOUD_FRAGMENT = `#version 300 es
precision mediump float;
in vec4 shade;
out vec4 color;
void main() { color = shade; }`;

// ---- A canvas with a pair of shaders -------------------------------------------------------------------

class Canvas {
  constructor(canvas, vertexShader, fragmentShader) {
    this.canvas = canvas;
    const gl = (this.gl = canvas.getContext("webgl2"));
    this.program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, vertexShader], [gl.FRAGMENT_SHADER, fragmentShader]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    gl.useProgram(this.program);
    gl.enable(gl.DEPTH_TEST);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    for (const [unit, name] of ["layer", "depth"].entries()) {
      gl.uniform1i(this.location(name), unit);
    }
  }

  location(name) {
    return this.gl.getUniformLocation(this.program, name);
  }

  /** Bind a new texture, which wraps in longitude, to a texture unit. */
  texture(unit, filter) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.deleteTexture(gl.getParameter(gl.TEXTURE_BINDING_2D));
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.REPEAT);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  }

  setLayer(image, smooth) {
    const gl = this.gl;
    this.texture(0, smooth ? gl.LINEAR : gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
  }

  setDepth({ width, height, values }) {
    const gl = this.gl;
    this.texture(1, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16UI, width, height, 0, gl.RED_INTEGER, gl.UNSIGNED_SHORT, values);
  }

  /** Draw in the next frame, once for all calls until then. */
  redraw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.render();
    });
  }

  /** Draw `count` vertices. Uniforms by name: lists of 1, 2, 3 or, for the matrix, 9 numbers. */
  draw(mode, count, uniforms) {
    const gl = this.gl;
    const width = Math.round(this.canvas.clientWidth * devicePixelRatio);
    const height = Math.round(this.canvas.clientHeight * devicePixelRatio);
    Object.assign(this.canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const setters = { 1: "uniform1fv", 2: "uniform2fv", 3: "uniform3fv" };
    for (const [name, values] of Object.entries({ ...uniforms, size: [width, height] })) {
      if (values.length === 9) gl.uniformMatrix3fv(this.location(name), false, values);
      else gl[setters[values.length]](this.location(name), values);
    }
    gl.drawArrays(mode, 0, count);
  }

  /**
   * Handle mouse, fingers and keys: `turn` gets the pixels of a drag, `pan` those of a drag with two fingers or the Shift
   * key, `zoom` a factor, `tap` a position, and `reset` nothing. One finger that starts to move up or down scrolls the
   * page.
   */
  onGestures({ turn, pan, zoom, tap, reset }) {
    const canvas = this.canvas;
    const down = new Map(); // pointer id -> its last position
    let travel = 0; // pixels that the pointer has moved since it went down
    const fingerDistance = () => {
      const [a, b] = [...down.values()];
      return Math.hypot(a[0] - b[0], a[1] - b[1]);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      down.set(event.pointerId, [event.clientX, event.clientY]);
      travel = down.size > 1 ? Infinity : 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const last = down.get(event.pointerId);
      if (!last) return;
      const before = down.size === 2 && fingerDistance();
      const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
      down.set(event.pointerId, [event.clientX, event.clientY]);
      travel += Math.hypot(dx, dy);
      if (before) {
        zoom(before / Math.max(fingerDistance(), 1));
        pan(dx / 2, dy / 2);
      } else if (down.size === 1) (event.shiftKey ? pan : turn)(dx, dy);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (travel < 5) tap(event.offsetX, event.offsetY);
    });
    for (const type of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(type, (event) => down.delete(event.pointerId));
    }
    // Two fingers zoom the view, not the page.
    const keepPage = (event) => event.touches.length > 1 && event.preventDefault();
    for (const type of ["touchstart", "touchmove"]) canvas.addEventListener(type, keepPage, { passive: false });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(Math.exp(clamp(event.deltaY, -100, 100) / 500));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const arrow = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      const move = event.shiftKey ? pan : turn;
      if (arrow) move(...arrow.map((direction) => 20 * direction));
      else if (event.key === "+" || event.key === "=") zoom(0.9);
      else if (event.key === "-") zoom(1 / 0.9);
      else if (event.key === "0" || event.key === "Home") reset();
      else if (event.key === "Enter" || event.key === " ") tap(canvas.clientWidth / 2, canvas.clientHeight / 2);
      else return;
      event.preventDefault();
    });
  }
}

// ---- From inside ------------------------------------------------------------------------------------------------

const FIELD = 70 / DEGREES; // initial vertical field of view

class LookAround extends Canvas {
  constructor(canvas, onTurn, onTap) {
    super(canvas, LOOK_VERTEX, LOOK_FRAGMENT);
    this.onTurn = onTurn;
    this.u = this.v = 0;
    this.field = FIELD;
    const turn = (dx, dy) => {
      const perPixel = this.field / canvas.clientHeight; // the scene follows the pointer
      this.lookAt(this.u - dx * perPixel, this.v - dy * perPixel);
    };
    this.onGestures({
      turn,
      pan: turn,
      zoom: (factor) => {
        this.field = clamp(this.field * factor, 15 / DEGREES, 120 / DEGREES);
        this.lookAt(this.u, this.v);
      },
      tap: (x, y) => onTap(this.angles(x, y)),
      reset: () => this.reset(),
    });
  }

  reset() {
    this.field = FIELD;
    this.lookAt(0, 0);
  }

  lookAt(u, v) {
    this.u = u - 2 * Math.PI * Math.round(u / (2 * Math.PI));
    this.v = clamp(v, -Math.PI / 2, Math.PI / 2);
    this.redraw();
    this.onTurn(this.u, this.v);
  }

  render() {
    this.draw(this.gl.TRIANGLES, 3, { camera: axes(this.u, this.v), focal: [this.focal()] });
  }

  focal() {
    return 1 / Math.tan(this.field / 2);
  }

  /** Longitude and latitude of a pixel of the canvas. */
  angles(x, y) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const camera = axes(this.u, this.v);
    const [right, down, forward] = [(2 * x - width) / height, (2 * y - height) / height, this.focal()];
    const ray = [0, 1, 2].map((i) => camera[i] * right + camera[3 + i] * down + camera[6 + i] * forward);
    return [Math.atan2(ray[0], ray[2]), Math.atan2(ray[1], Math.hypot(ray[0], ray[2]))];
  }

  /** The position of a point on the canvas; null if it is behind the camera. */
  project(point) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [x, y, z] = inAxes(axes(this.u, this.v), point);
    return z > 0 ? [(width + (x / z) * this.focal() * height) / 2, ((y / z) * this.focal() + 1) * (height / 2)] : null;
  }
}

// ---- From outside -----------------------------------------------------------------------------------------------

const CLOUD_FOCAL = 1.8; // in half heights of the canvas
const MARGIN = 0.94; // fraction of the canvas that the points fill at first

class PointCloud extends Canvas {
  constructor(canvas, onMove, onTap) {
    super(canvas, CLOUD_VERTEX, CLOUD_FRAGMENT);
    this.onMove = onMove;
    this.onGestures({
      turn: (dx, dy) => {
        this.u += dx / 200;
        this.v = clamp(this.v + dy / 200, -Math.PI / 2, Math.PI / 2);
        this.redraw();
      },
      pan: (dx, dy) => {
        const half = canvas.clientHeight / 2;
        this.pan = [this.pan[0] + dx / half, this.pan[1] - dy / half];
        this.redraw();
      },
      zoom: (factor) => {
        this.distance = clamp(this.distance * factor, 0.5, 60);
        this.redraw();
      },
      tap: (x, y) => {
        const pixel = this.pick(x, y);
        if (pixel !== null) onTap(pixel);
      },
      reset: () => this.reset(),
    });
  }

  /** Show the points of a depth map. */
  show(depth) {
    this.depth = depth;
    this.setDepth(depth);
    this.reset();
  }

  /** Look from above, at a distance at which the visible points fill the canvas. */
  reset() {
    Object.assign(this, { u: 0.5, v: 0.8, pan: [0, 0], middle: [0, 0, 0], distance: 100 });
    const fitted = new Map();
    for (let i = 0; i < 6; i++) {
      if (i < 4) fitted.clear(); // what is visible depends on the distance
      this.fit(fitted);
    }
    this.redraw();
  }

  /** Add the visible points to `fitted`, center them, and come as close as all points of `fitted` fit. */
  fit(fitted) {
    const camera = axes(this.u, this.v);
    const isVisible = this.visibility();
    const add = (point, pixel) => isVisible(point) && fitted.set(pixel, inAxes(camera, point));
    this.depth.forEach(add, Math.ceil(this.depth.values.length / 40000));
    if (!fitted.size) return;
    const [low, high] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
    for (const point of fitted.values()) {
      for (let axis = 0; axis < 3; axis++) {
        low[axis] = Math.min(low[axis], point[axis]);
        high[axis] = Math.max(high[axis], point[axis]);
      }
    }
    const center = low.map((value, axis) => (value + high[axis]) / 2);
    const aspect = this.canvas.clientWidth / this.canvas.clientHeight || 1;
    let distance = 0;
    for (const [x, y, z] of fitted.values()) {
      const away = Math.max(Math.abs(x - center[0]) / aspect, Math.abs(y - center[1]));
      distance = Math.max(distance, (CLOUD_FOCAL / MARGIN) * away - (z - center[2]));
    }
    this.middle = [0, 1, 2].map((i) => camera[i] * center[0] + camera[3 + i] * center[1] + camera[6 + i] * center[2]);
    this.distance = distance;
  }

  /** A function that tests whether a point shows the side that the camera of the panorama saw. */
  visibility() {
    const forward = axes(this.u, this.v).slice(6);
    const eye = this.middle.map((value, axis) => value - this.distance * forward[axis]);
    return (point) => point.reduce((sum, value, axis) => sum + value * (value - eye[axis]), 0) > 0;
  }

  /** The position of a point relative to the eye: right, down, forward. */
  inView(point) {
    const [x, y, z] = inAxes(axes(this.u, this.v), point.map((value, axis) => value - this.middle[axis]));
    return [x, y, z + this.distance];
  }

  /** The position of a point on the canvas; null if it is behind the eye. */
  project(point) {
    const [x, y, z] = this.inView(point);
    const half = this.canvas.clientHeight / 2;
    if (z < 0.05) return null;
    return [
      this.canvas.clientWidth / 2 + ((x / z) * CLOUD_FOCAL + this.pan[0]) * half,
      half + ((y / z) * CLOUD_FOCAL - this.pan[1]) * half,
    ];
  }

  /** The pixel of the depth map that is shown at a position of the canvas (the nearest point); null if there is none. */
  pick(x, y) {
    const isVisible = this.visibility();
    let [best, nearest] = [null, Infinity];
    this.depth.forEach((point, pixel) => {
      const at = this.project(point);
      if (!at || Math.hypot(at[0] - x, at[1] - y) > 6 || !isVisible(point)) return;
      const [, , range] = this.inView(point);
      if (range < nearest) [best, nearest] = [pixel, range];
    });
    return best;
  }

  /** The direction of a unit vector on the canvas: (right, down), of length 1 or less. */
  direction(vector) {
    return inAxes(axes(this.u, this.v), vector).slice(0, 2);
  }

  render() {
    const { distance, middle, pan } = this;
    const camera = axes(this.u, this.v);
    const uniforms = { camera, focal: [CLOUD_FOCAL], unit: [this.depth.step], distance: [distance], middle, pan };
    this.draw(this.gl.POINTS, this.depth.values.length, uniforms);
    this.onMove();
  }
}
