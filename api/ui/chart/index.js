// Draws many points on a canvas, and finds the one that is near a place.
//
// Takes bytes: places as 16-bit numbers, a color code for each; gives pixels. Never asks a server.
// The pixels are written one by one, without WebGL: a hundred thousand points take a few
// milliseconds so, on any machine, also where a browser has no graphics card to use.

const FULL = 65535;
const CELLS = 256;
const MOST_ZOOM = 4000;
const EMPTY = -1;

// Sizes of points in pixels of the screen: of no more than a few, as a share of that of very many,
// and as close as one can look.
const LARGEST = 4.5;
const FEW = 600;
const SMALLEST = 0.15;
const MOST_LARGE = 6;
const FAINTEST = 0.3;

export class Plot {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d", { alpha: false });
    this.load(new ArrayBuffer(0));
    this.shown = new Uint8Array(256);
    this.many = new Uint32Array(256);
    this.colors = new Uint32Array(256);
    this.back = 0xffffffff;
    this.zoom = 1;
    this.middle = [FULL / 2, FULL / 2];
    this.resize();
  }

  // Places: all of x, then all of y, each from 0 to 65535.
  load(buffer) {
    this.count = buffer.byteLength / 4;
    this.x = new Uint16Array(buffer, 0, this.count);
    this.y = new Uint16Array(buffer, this.count * 2, this.count);
    this.codes = new Uint8Array(this.count).fill(255);
    this.order = new Uint32Array(0);
    this._sortIntoCells();
  }

  // A code for each point; those of `hidden` and of no color are not drawn.
  paint(codes) {
    this.codes = codes;
    const many = new Uint32Array(256);
    for (let i = 0; i < codes.length; i++) many[codes[i]]++;
    this.many = many;
    // The fewest last, on top of those that are many.
    const byCount = [...many.keys()].sort((a, b) => many[b] - many[a]);
    const next = new Uint32Array(256);
    let start = 0;
    for (const code of byCount) {
      next[code] = start;
      start += many[code];
    }
    this.order = new Uint32Array(codes.length);
    for (let i = 0; i < codes.length; i++) this.order[next[codes[i]]++] = i;
  }

  // Of each code its color as [red, green, blue]; null: it is not drawn.
  dye(colors, back) {
    this.shown.fill(0);
    colors.forEach((color, code) => {
      if (!color) return;
      this.shown[code] = 1;
      this.colors[code] = packed(color);
    });
    this.back = packed(back);
  }

  resize() {
    const sharp = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(this.canvas.clientWidth * sharp));
    const height = Math.max(1, Math.round(this.canvas.clientHeight * sharp));
    if (this.image && width === this.image.width && height === this.image.height) return;
    this.sharp = sharp;
    this.canvas.width = width;
    this.canvas.height = height;
    this.image = this.pen.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  // Pixels of the screen (not of the canvas) for one unit of place.
  get scale() {
    const least = Math.min(this.canvas.clientWidth, this.canvas.clientHeight);
    return (this.zoom * least * 0.94) / FULL;
  }

  // Where a point is on the canvas, in pixels of the screen.
  placeOf(x, y) {
    return [
      (x - this.middle[0]) * this.scale + this.canvas.clientWidth / 2,
      (this.middle[1] - y) * this.scale + this.canvas.clientHeight / 2,
    ];
  }

  at(left, top) {
    return [
      (left - this.canvas.clientWidth / 2) / this.scale + this.middle[0],
      this.middle[1] - (top - this.canvas.clientHeight / 2) / this.scale,
    ];
  }

  move(left, top) {
    this._center(this.middle[0] - left / this.scale, this.middle[1] + top / this.scale);
  }

  // Zoom so that what lies at this place of the canvas stays there.
  zoomBy(factor, left = this.canvas.clientWidth / 2, top = this.canvas.clientHeight / 2) {
    const [x, y] = this.at(left, top);
    this.zoom = Math.min(MOST_ZOOM, Math.max(0.5, this.zoom * factor));
    const [nowX, nowY] = this.at(left, top);
    this._center(this.middle[0] + x - nowX, this.middle[1] + y - nowY);
  }

  showAll() {
    this.zoom = 1;
    this._center(FULL / 2, FULL / 2);
  }

  lookAt(x, y, zoom) {
    this.zoom = Math.max(this.zoom, zoom);
    this._center(x, y);
  }

  // The point that is drawn nearest to a place of the canvas, none farther than `reach` pixels.
  nearest(left, top, reach) {
    if (!this.count) return EMPTY;
    const [x, y] = this.at(left, top);
    const far = reach / this.scale;
    const from = (value) =>
      Math.max(0, Math.min(CELLS - 1, Math.floor((value * CELLS) / (FULL + 1))));
    let found = EMPTY;
    let best = far * far;
    for (let row = from(y - far); row <= from(y + far); row++) {
      for (let column = from(x - far); column <= from(x + far); column++) {
        const cell = row * CELLS + column;
        for (let k = this.cells[cell]; k < this.cells[cell + 1]; k++) {
          const i = this.inCells[k];
          if (!this.shown[this.codes[i]]) continue;
          const apart = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
          if (apart <= best) {
            best = apart;
            found = i;
          }
        }
      }
    }
    return found;
  }

  draw() {
    const { pixels, image, order, codes, x, y, shown, colors } = this;
    const { width, height } = image;
    pixels.fill(this.back);
    const stamps = this._stamps(width);
    const scale = this.scale * this.sharp;
    const left = width / 2 - this.middle[0] * scale + 0.5;
    const top = height / 2 + this.middle[1] * scale + 0.5;
    for (let k = 0; k < order.length; k++) {
      const i = order[k];
      const code = codes[i];
      if (!shown[code]) continue;
      const stamp = stamps[code];
      const edge = stamp.reach;
      const px = Math.floor(x[i] * scale + left);
      const py = Math.floor(top - y[i] * scale);
      if (px < edge || py < edge || px >= width - edge || py >= height - edge) continue;
      const color = colors[code];
      const base = py * width + px;
      for (let s = 0; s < stamp.full.length; s++) pixels[base + stamp.full[s]] = color;
      for (let s = 0; s < stamp.part.length; s++) {
        const at = base + stamp.part[s];
        pixels[at] = mixed(pixels[at], color, stamp.share[s]);
      }
    }
    this.pen.putImageData(image, 0, 0);
  }

  // A stamp for each code. Of fewer points each is larger, so that a few among many are seen; all
  // grow a little as one looks closer. Where they would cover the plane they are let shine through.
  _stamps(width) {
    const { clientWidth, clientHeight } = this.canvas;
    const room = Math.min(clientWidth, clientHeight) ** 2 * this.zoom ** 2;
    return [...this.many].map((many, code) => {
      if (!many || !this.shown[code]) return null;
      const alike = Math.sqrt(many * this.count);
      const plain = LARGEST * Math.min(1, Math.max(SMALLEST, (FEW / alike) ** 0.3));
      const radius = Math.min(MOST_LARGE, plain * this.zoom ** 0.3);
      const covered = (many * 3 * radius ** 2) / room;
      const strength = Math.min(1, Math.max(FAINTEST, 0.55 / covered ** 0.5));
      return stampOf(radius * this.sharp, width, strength);
    });
  }

  _center(x, y) {
    const within = (value) => Math.min(FULL * 1.25, Math.max(-FULL * 0.25, value));
    this.middle = [within(x), within(y)];
  }

  _sortIntoCells() {
    const cellOf = (i) =>
      Math.floor((this.y[i] * CELLS) / (FULL + 1)) * CELLS +
      Math.floor((this.x[i] * CELLS) / (FULL + 1));
    this.cells = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < this.count; i++) this.cells[cellOf(i) + 1]++;
    for (let cell = 0; cell < CELLS * CELLS; cell++) this.cells[cell + 1] += this.cells[cell];
    const next = this.cells.slice();
    this.inCells = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i++) this.inCells[next[cellOf(i)]++] = i;
  }
}

// As the bytes of a pixel lie in memory: red first.
function packed([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

// `share` of 256 of a color over another one.
function mixed(under, over, share) {
  const rest = 256 - share;
  const outer = ((under & 0xff00ff) * rest + (over & 0xff00ff) * share) >>> 8;
  const inner = ((under & 0x00ff00) * rest + (over & 0x00ff00) * share) >>> 8;
  return ((255 << 24) | (outer & 0xff00ff) | (inner & 0x00ff00)) >>> 0;
}

// The pixels of a disc around one: those that it covers, and those at its edge with their shares.
function stampOf(radius, width, strength) {
  const reach = Math.ceil(radius);
  const full = [];
  const part = [];
  const share = [];
  for (let row = -reach; row <= reach; row++) {
    for (let column = -reach; column <= reach; column++) {
      const inside = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(row, column)));
      const covered = inside * strength;
      if (covered > 0.95) full.push(row * width + column);
      else if (covered > 0.05) {
        part.push(row * width + column);
        share.push(Math.round(covered * 256));
      }
    }
  }
  return {
    reach: reach + 1,
    full: Int32Array.from(full),
    part: Int32Array.from(part),
    share: Int32Array.from(share),
  };
}
