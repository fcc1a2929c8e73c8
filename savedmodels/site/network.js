// The stages, run one after another until an exit is sure enough; each is fetched when it is needed.

import { loadAndCompile, loadLiteRt, getWebGpuDevice, Tensor } from "./litert/core.js";

const TIMES_KEPT = 21;
// A stage is timed as often, where that takes no longer in all; and run more often when it is new, as
// browsers compile in steps.
const TIMED_RUNS = 5, TIMED_MS = 25, FIRST_RUNS = 20, FIRST_MS = 100;
// Of what two processors may differ by in float32.
const TOLERANCE = 1e-3;
const TINY = 2 ** -126;

export class NotFetched extends Error {}
export class GpuRefused extends Error {}

/** A converted network.
 *
 * `description` is what network.json holds; `onFetch(place)` is called when a stage is asked for.
 */
export class Network {
  #contents = new Map();
  #compiled = new Map();
  #times;

  constructor(description, onFetch) {
    this.description = description;
    this.onFetch = onFetch;
    this.accelerator = "wasm";
    this.#times = description.stages.map(() => []);
  }

  /** Loads LiteRT and the first stage, side by side. */
  async start() {
    const first = this.#content(0).catch(error => error);
    try {
      await loadLiteRt(new URL("./litert/wasm/", import.meta.url).href);
    } catch (error) {
      throw new NotFetched(`LiteRT could not be loaded (${error?.message ?? "its script was not fetched"})`);
    }
    const loaded = await first;
    if (loaded instanceof Error) throw loaded;
  }

  /** Whether there is a WebGPU device to ask for. */
  get hasGpu() {
    return Boolean(getWebGpuDevice());
  }

  /** Median milliseconds of all stages; null where one has not run yet. */
  get wholeMilliseconds() {
    if (this.#times.some(times => !times.length)) return null;
    return this.#times.reduce((sum, times) => sum + median(times), 0);
  }

  useAccelerator(accelerator) {
    this.accelerator = accelerator;
    this.#times = this.#times.map(() => []);
  }

  /** Classifies normalised pixels.
   *
   * `thresholds` has one for each exit but the last, null for never; with `whole`, all stages run.
   * Gives {exits, left, lost}: of each exit that ran {probabilities, confidence, classNumber,
   * milliseconds, the median of some runs}; the place of the one that it leaves at, or null where the network was lost
   * before, and then `lost` is the error.
   */
  async classify(pixels, thresholds, { whole = false } = {}) {
    const { stages, scales, measure, image_shape: shape } = this.description;
    const exits = [], last = stages.length - 1;
    const tensors = new Set();
    let state = null, left = null;
    try {
      for (let place = 0; place <= last; place++) {
        let stage;
        try {
          if (!state) {
            // The first stage takes the image and nothing else; its name is in the file.
            const [{ name }] = (await this.#stage(0, "wasm")).getInputDetails();
            state = { [name]: new Tensor(pixels, [1, ...shape]) };
            tensors.add(state[name]);
          }
          stage = await this.#checkedStage(place, state);
        } catch (error) {
          if (!(error instanceof NotFetched)) throw error;
          return { exits, left, lost: error };
        }
        const logitsName = stages[place].logits;
        let outputs, logits;
        const milliseconds = median(await times(TIMED_RUNS, TIMED_MS, async () => {
          // Of a run before.
          for (const tensor of Object.values(outputs ?? {})) tensor.delete();
          outputs = await stage.run(state);
          logits = await outputs[logitsName].data();
        }));
        for (const tensor of Object.values(outputs)) tensors.add(tensor);
        state = { ...state, ...outputs };
        this.#times[place] = [milliseconds, ...this.#times[place]].slice(0, TIMES_KEPT);
        const probabilities = softmax(logits, scales[place]);
        const confidence = confidenceOf(probabilities, measure);
        exits.push({ probabilities, confidence, milliseconds, classNumber: largest(probabilities) });
        const threshold = place < last ? thresholds[place] : 0;
        if (left === null && threshold !== null && (place === last || confidence >= Math.fround(threshold))) {
          left = place;
          if (!whole) break;
        }
      }
      return { exits, left, lost: null };
    } finally {
      for (const tensor of tensors) tensor.delete();
    }
  }

  /** A stage on the accelerator; on a GPU only after it has answered twice as the processor does. */
  async #checkedStage(place, state) {
    const { accelerator } = this;
    const isNew = !this.#compiled.has(`${accelerator} ${place}`);
    const stage = await this.#stage(place, accelerator);
    if (!isNew) return stage;
    try {
      if (accelerator === "webgpu") {
        const runs = [await outputsOf(stage, state), await outputsOf(stage, state)];
        const expected = await outputsOf(await this.#stage(place, "wasm"), state);
        for (const run of runs) checkSame(run, expected, this.description.stages[place].exit);
      }
      await times(FIRST_RUNS, FIRST_MS, () => outputsOf(stage, state));
    } catch (error) {
      this.#compiled.delete(`${accelerator} ${place}`);
      if (accelerator === "wasm" || error instanceof GpuRefused) throw error;
      throw new GpuRefused(`WebGPU could not run stage ${this.description.stages[place].exit} (${error.message ?? error})`);
    }
    return stage;
  }

  async #stage(place, accelerator) {
    const key = `${accelerator} ${place}`;
    if (!this.#compiled.has(key)) {
      const { file, signature, exit } = this.description.stages[place];
      const fileKey = `${accelerator} ${file}`;
      if (!this.#compiled.has(fileKey)) {
        const content = await this.#content(place);
        const gpu = { accelerator, gpuOptions: { precision: "fp32" } };
        let model;
        try {
          model = await loadAndCompile(content, accelerator === "webgpu" ? gpu : { accelerator });
        } catch (error) {
          if (accelerator === "wasm") throw error;
          throw new GpuRefused(`WebGPU could not take stage ${exit} (${error.message ?? error})`);
        }
        if (accelerator === "webgpu" && (model.options.accelerator !== "webgpu" || !model.isFullyAccelerated)) {
          model.delete();
          throw new GpuRefused(`WebGPU cannot run all of stage ${exit}`);
        }
        this.#compiled.set(fileKey, model);
      }
      this.#compiled.set(key, this.#compiled.get(fileKey).signatures[signature]);
    }
    return this.#compiled.get(key);
  }

  /** The bytes of a stage's file; what failed is asked for again the next time. */
  async #content(place) {
    const { file, bytes, sha256, exit } = this.description.stages[place];
    if (this.#contents.has(file)) return this.#contents.get(file);
    this.onFetch(place);
    let content, reason;
    try {
      const response = await fetch(new URL(`./stages/${file}`, import.meta.url), { cache: "no-cache" });
      if (response.ok) content = new Uint8Array(await response.arrayBuffer());
      else reason = `status ${response.status}`;
    } catch (error) {
      reason = error.message;
    }
    if (content && content.length !== bytes) reason = `${content.length} bytes of ${bytes}`;
    // Known to pages that are served from this machine or encrypted.
    else if (content && crypto.subtle && hexadecimal(await crypto.subtle.digest("SHA-256", content)) !== sha256) {
      reason = "another file than was written";
    }
    if (reason) throw new NotFetched(`stage ${exit} could not be fetched (${reason})`);
    this.#contents.set(file, content);
    return content;
  }
}

/** Refuses outputs that differ from those of the processor by more than rounding. */
export function checkSame(outputs, expected, number) {
  for (const [name, values] of Object.entries(expected)) {
    const most = TOLERANCE * (1 + values.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
    const differs = values.reduce((most, value, i) => Math.max(most, Math.abs(value - outputs[name][i])), 0);
    // What is no number is no less.
    if (!(differs <= most)) {
      throw new GpuRefused(`WebGPU answers otherwise than the processor at stage ${number}: ${name} differs by ${differs.toPrecision(3)}`);
    }
  }
}

export function softmax(logits, scale) {
  const scaled = Float32Array.from(logits, value => value * Math.fround(scale));
  const most = scaled.reduce((a, b) => Math.max(a, b));
  const powers = scaled.map(value => Math.exp(Math.fround(value - most)));
  const sum = powers.reduce((a, b) => Math.fround(a + b), 0);
  return powers.map(value => value / sum);
}

/** As `confidence_scores` of the library has it, float32. */
export function confidenceOf(probabilities, measure) {
  const sorted = [...probabilities].sort((a, b) => b - a);
  if (measure === "max_probability") return sorted[0];
  if (measure === "margin") return Math.fround(sorted[0] - sorted[1]);
  const entropy = sorted.reduce((sum, value) => sum - value * Math.log(Math.max(value, TINY)), 0);
  return Math.fround(Math.min(1, Math.max(0, 1 - entropy / Math.log(sorted.length))));
}

/** Milliseconds of so many runs, or fewer where they take longer than `most` in all. */
async function times(runs, most, run) {
  const taken = [], start = performance.now();
  do {
    const before = performance.now();
    await run();
    taken.push(performance.now() - before);
  } while (taken.length < runs && performance.now() - start < most);
  return taken;
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

async function outputsOf(stage, state) {
  const outputs = await stage.run(state);
  try {
    const read = {};
    for (const [name, tensor] of Object.entries(outputs)) read[name] = await tensor.data();
    return read;
  } finally {
    for (const tensor of Object.values(outputs)) tensor.delete();
  }
}

function largest(values) {
  return values.reduce((best, value, i) => value > values[best] ? i : best, 0);
}

function hexadecimal(buffer) {
  return Array.from(new Uint8Array(buffer), byte => byte.toString(16).padStart(2, "0")).join("");
}
