// Pictures as the network takes them: read, made grey, resized and cropped as the programs do.

const MAX_PIXELS = 2 ** 25, MAX_ASPECT_RATIO = 100;
// Brightness of red, green and blue in parts of 65,536.
const BRIGHTNESS = [19595, 38470, 7471];
const { fround } = Math;

export class NoPicture extends Error {}

/** A file's picture, upright, what is seen through on white: {height, width, channels, data}. */
export async function decode(file, channels) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new NoPicture("this is no picture that the browser can read");
  }
  try {
    return pixelsOf(bitmap, { width: bitmap.width, height: bitmap.height, channels });
  } finally {
    bitmap.close();
  }
}

/** Pixels of what a canvas can draw, from `left` and `top` on. */
export function pixelsOf(source, { width, height, channels, left = 0, top = 0 }) {
  if (!(width * height > 0 && width * height <= MAX_PIXELS)) {
    throw new NoPicture(`a picture must have from 1 to ${MAX_PIXELS} pixels, and this is ${width} × ${height}`);
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(source, -left, -top);
  const coloured = context.getImageData(0, 0, width, height).data;
  const data = new Uint8Array(width * height * channels);
  const colour = [0, 0, 0];
  for (let pixel = 0; pixel < width * height; pixel++) {
    const alpha = coloured[4 * pixel + 3];
    for (let c = 0; c < 3; c++) {
      const value = coloured[4 * pixel + c];
      colour[c] = alpha === 255 ? value : 255 - alpha + Math.round(value * alpha / 255);
      if (channels === 3) data[3 * pixel + c] = colour[c];
    }
    if (channels === 1) {
      data[pixel] = (BRIGHTNESS[0] * colour[0] + BRIGHTNESS[1] * colour[1] + BRIGHTNESS[2] * colour[2] + 2 ** 15) >> 16;
    }
  }
  return { height, width, channels, data };
}

/** A picture at the size of the network: all of it, or the centre. */
export function fitted(picture, [height, width], centerCrop) {
  if (!centerCrop) return resized(picture, height, width);
  const short = Math.min(picture.height, picture.width), long = Math.max(picture.height, picture.width);
  if (long > MAX_ASPECT_RATIO * short) {
    throw new NoPicture(`a picture must be at most ${MAX_ASPECT_RATIO} times as long as wide, and this is ${picture.width} × ${picture.height}`);
  }
  const size = height, shortSide = halfToEven(size * 256 / 224);
  const extent = [picture.height, picture.width].map(side => Math.floor(side * shortSide / short));
  const [top, left] = extent.map(side => Math.floor((side - size) / 2));
  return cropped(resized(picture, ...extent), top, left, size);
}

/** Bilinear with antialiasing, rounded; in float32 and in TensorFlow's order, so that it is equal. */
export function resized(picture, height, width) {
  const { channels } = picture;
  if (picture.height === height && picture.width === width) return picture;
  const rows = spans(picture.height, height), columns = spans(picture.width, width);
  const line = picture.width * channels, between = new Float32Array(line);
  const data = new Uint8Array(height * width * channels);
  for (let y = 0; y < height; y++) {
    between.fill(0);
    rows[y].weights.forEach((weight, k) => {
      const start = (rows[y].start + k) * line;
      for (let i = 0; i < line; i++) between[i] += fround(weight * picture.data[start + i]);
    });
    for (let x = 0; x < width; x++) {
      const { start, weights } = columns[x];
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) {
          sum = fround(sum + fround(weights[k] * between[(start + k) * channels + c]));
        }
        data[(y * width + x) * channels + c] = Math.min(255, Math.max(0, halfToEven(sum)));
      }
    }
  }
  return { height, width, channels, data };
}

/** What the network is given: float32, `scale` and `offset` one per channel. */
export function normalized(picture, scale, offset) {
  const [scales, offsets] = [Float32Array.from(scale), Float32Array.from(offset)];
  return Float32Array.from(picture.data, (value, i) => {
    const c = i % picture.channels;
    return fround(value * scales[c]) + offsets[c];
  });
}

/** Which of `size` pixels each of `newSize` is a mean of, and with what weights. */
function spans(size, newSize) {
  const inverse = fround(1 / fround(newSize / size));
  const reach = Math.max(inverse, 1), overReach = fround(1 / reach);
  const inside = place => Math.min(size - 1, Math.max(0, place));
  return Array.from({ length: newSize }, (_, place) => {
    const centre = fround((place + 0.5) * inverse);
    const start = inside(Math.ceil(fround(fround(centre - reach) - 0.5)));
    const end = inside(Math.floor(fround(fround(centre + reach) - 0.5))) + 1;
    const weights = new Float32Array(end - start);
    let total = 0;
    for (let k = 0; k < weights.length; k++) {
      const distance = Math.abs(fround(fround(start + k + 0.5 - centre) * overReach));
      weights[k] = Math.max(0, 1 - distance);
      total = fround(total + weights[k]);
    }
    const overTotal = fround(1 / total);
    return { start, weights: weights.map(weight => weight * overTotal) };
  });
}

function cropped({ width, channels, data }, top, left, size) {
  const crop = new Uint8Array(size * size * channels);
  for (let y = 0; y < size; y++) {
    const start = ((top + y) * width + left) * channels;
    crop.set(data.subarray(start, start + size * channels), y * size * channels);
  }
  return { height: size, width: size, channels, data: crop };
}

function halfToEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
