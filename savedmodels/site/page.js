// What the page shows: pictures in, the exits one by one, and what they cost.

import { GpuRefused, Network, NotFetched } from "./network.js";
import { decode, fitted, NoPicture, normalized, pixelsOf } from "./pictures.js";

const MOST_PICTURES = 500;
const REVEAL_MS = 220, CAMERA_MS = 250;
const element = id => document.getElementById(id);
const number = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = part => `${number(100 * part, 0)} %`;
const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

let description, network;
// One picture after another, as the network has room for one.
let queue = Promise.resolve();
// What is asked for counts up; what was asked for before is left.
let asked = 0, presented = 0;
let pictures = [], shown = null, asking = null, stream = null;
let tryAgain = null;

// --- Words ---

const point = () => description.points[element("point").value];
const exitsInAll = () => description.stages.length;
const className = exit => description.class_names[exit.classNumber];
const macsOf = place => description.exit_macs?.[place];
const shareOf = place => macsOf(place) / macsOf(exitsInAll() - 1);
const exitName = place => `exit ${description.stages[place].exit}`;

function thresholdOf(place) {
  return place < exitsInAll() - 1 ? point().thresholds[place] : undefined;
}

/** Enough digits to tell a confidence from the threshold beside it. */
function compared(value, threshold) {
  const digits = [3, 4, 5, 6, 7].find(each => value.toFixed(each) !== threshold.toFixed(each)) ?? 3;
  return [value.toFixed(digits), threshold.toFixed(digits)];
}

function exitWords(place, result) {
  const exit = result.exits[place], threshold = thresholdOf(place);
  if (!exit) {
    if (result.lost && place === result.exits.length) return "could not be fetched";
    return "not run";
  }
  const said = className(exit);
  if (threshold === undefined) return `${said}, ${exit.confidence.toFixed(3)}: the last exit answers whatever comes`;
  if (threshold === null) return `${said}, ${exit.confidence.toFixed(3)}: nothing leaves here`;
  const [confidence, least] = compared(exit.confidence, threshold);
  return place === result.left
    ? `${said}, ${confidence} reaches ${least}: leaves here`
    : `${said}, ${confidence} is below ${least}: goes on`;
}

function answerWords(picture) {
  const { result } = picture;
  if (result.left === null) {
    const reason = `${picture.name}: ${result.lost.message}.`;
    const best = result.exits.at(-1);
    if (!best) return reason;
    return `${reason} So far ${exitName(result.exits.length - 1)} says ${className(best)}, confidence ${best.confidence.toFixed(3)}, which is not sure enough.`;
  }
  const exit = result.exits[result.left];
  const cost = macsOf(0) ? ` and ${percent(shareOf(result.left))} of the whole network's MACs` : "";
  return `${picture.name}: ${className(exit)}, confidence ${exit.confidence.toFixed(3)}. It left at ${exitName(result.left)} of ${description.stages.at(-1).exit}, after ${number(spent(result), 2)} ms${cost}.`;
}

const spent = result => result.exits.slice(0, (result.left ?? exitsInAll()) + 1).reduce((sum, exit) => sum + exit.milliseconds, 0);

// --- Problems ---

function problem(text) {
  const line = document.createElement("li");
  line.textContent = text;
  element("problems").append(line);
  element("problem").hidden = false;
}

/** Says what the network was lost at, and what the button asks for again; null when it is back. */
function lost(text, again) {
  element("lost").hidden = text === null;
  element("lost_words").textContent = text ?? "";
  tryAgain = again;
  element("problem").hidden = text === null && !element("problems").children.length;
}

function noProblem() {
  element("problems").replaceChildren();
  lost(null);
}

element("again").addEventListener("click", () => {
  const again = tryAgain;
  noProblem();
  again();
});

// --- Asking the network ---

function enqueue(job) {
  queue = queue.then(job).catch(error => problem(`The network could not be run: ${error.message ?? error}.`));
  return queue;
}

async function ask(picture, options) {
  const pixels = normalized(picture.image, description.scale, description.offset);
  asking = picture;
  try {
    return await network.classify(pixels, point().thresholds, options);
  } catch (error) {
    if (!(error instanceof GpuRefused)) throw error;
    toProcessor(`${error.message}. The processor goes on.`);
    return network.classify(pixels, point().thresholds, options);
  }
}

async function classify(picture, slowly) {
  const result = await ask(picture);
  picture.result = result;
  if (picture === shown) present(slowly);
  if (!picture.live) summarize();
  const isLost = each => each.result?.lost;
  if (result.lost) lost(`${picture.name}: ${result.lost.message}.`, () => askAll(isLost));
  else if (!pictures.some(isLost)) lost(null);
}

/** Asks again of the picture that is shown, and then of all others. */
function askAll(wanted = () => true) {
  const turn = ++asked;
  const first = shown && !shown.live ? [shown] : [];
  for (const picture of [...first, ...pictures.filter(each => each !== shown)].filter(wanted)) {
    enqueue(() => turn === asked ? classify(picture, false) : null);
  }
}

async function give(files) {
  if (element("inputs").disabled) return;
  noProblem();
  stopCamera();
  let isFirst = true;
  for (const file of files) {
    try {
      const whole = await decode(file, description.image_shape[2]);
      const image = fitted(whole, description.image_shape, description.center_crop);
      const picture = { name: file.name, image };
      pictures = [picture, ...pictures].slice(0, MOST_PICTURES);
      if (isFirst) show(picture);
      const isShown = isFirst;
      enqueue(() => classify(picture, isShown));
      isFirst = false;
    } catch (error) {
      if (!(error instanceof NoPicture)) throw error;
      problem(`${file.name}: ${error.message}.`);
    }
  }
}

// --- Showing ---

function show(picture) {
  shown = picture;
  paint(element("seen"), picture.image);
  element("seen").setAttribute("aria-label", `${picture.name}, as the network sees it`);
  element("whole_answer").textContent = "";
  if (picture.result) present(false);
}

/** The exits of the picture that is shown, one after another. */
async function present(slowly) {
  const turn = ++presented, { result } = shown;
  const lines = [...element("exits").children];
  const ran = result.left === null ? result.exits.length : result.left + 1;
  lines.forEach((line, place) => dress(line, place < ran ? "waiting" : place === ran && result.lost ? "lost" : "unused", place, place < ran ? null : result));
  for (let place = 0; place < ran; place++) {
    if (slowly && !stillness.matches) await pause(REVEAL_MS);
    if (turn !== presented) return;
    dress(lines[place], place === result.left ? "left" : "passed", place, result);
  }
  element("status").textContent = answerWords(shown);
  const last = ran - 1;
  element("spent_macs").textContent = last < 0 || !macsOf(0) ? "" : `${number(macsOf(last) / 1e6, 2)} (${percent(shareOf(last))})`;
  const whole = network.wholeMilliseconds, milliseconds = spent(result);
  element("spent_ms").textContent = number(milliseconds, 2) + (whole ? ` (${percent(milliseconds / whole)})` : "");
  element("whole_macs").textContent = macsOf(0) ? number(macsOf(exitsInAll() - 1) / 1e6, 2) : "";
  element("whole_ms").textContent = whole ? number(whole, 2) : "not all stages have run";
  element("whole").disabled = Boolean(shown.live);
}

function dress(line, kind, place, result) {
  line.className = kind;
  const exit = result?.exits[place], threshold = thresholdOf(place);
  line.querySelector(".words").textContent = result ? exitWords(place, result) : "…";
  line.querySelector(".fill").style.width = exit && kind !== "unused" ? `${100 * exit.confidence}%` : "0";
  const tick = line.querySelector(".tick");
  tick.hidden = threshold === undefined || threshold === null;
  if (!tick.hidden) tick.style.left = `${100 * threshold}%`;
}

function paint(canvas, { height, width, channels, data }) {
  const pixels = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * pixel + c] = data[channels * pixel + (channels === 3 ? c : 0)];
    pixels.data[4 * pixel + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function summarize() {
  element("all_part").hidden = false;
  element("rows").replaceChildren(...pictures.filter(picture => picture.result).map(row));
  const done = pictures.filter(picture => picture.result && picture.result.left !== null);
  const leaving = description.stages.map((_, place) => done.filter(picture => picture.result.left === place).length);
  const places = leaving.map((count, place) => count ? `${count} at ${exitName(place)}` : "").filter(Boolean).join(", ");
  const share = done.reduce((sum, picture) => sum + shareOf(picture.result.left), 0) / done.length;
  element("summary").textContent = done.length
    ? `Of ${done.length} picture${done.length > 1 ? "s" : ""} left: ${places}.` + (macsOf(0) ? ` They took ${percent(share)} of the whole network's MACs on average.` : "")
    : "";
}

function row(picture) {
  // Made once, as its canvas is.
  if (!picture.row) {
    picture.row = document.createElement("tr");
    const head = document.createElement("th"), button = document.createElement("button"), canvas = document.createElement("canvas");
    head.scope = "row";
    button.type = "button";
    paint(canvas, picture.image);
    canvas.setAttribute("aria-hidden", "true");
    button.append(canvas, document.createTextNode(picture.name));
    button.addEventListener("click", () => { stopCamera(); show(picture); });
    head.append(button);
    picture.row.append(head);
    for (let cell = 0; cell < 5; cell++) picture.row.insertCell();
    picture.row.cells[4].className = "macs";
  }
  const { result } = picture;
  const exit = result.exits.at(-1), left = result.left !== null;
  const texts = [
    exit ? className(exit) + (left ? "" : " (unsure)") : "",
    exit ? exit.confidence.toFixed(3) : "",
    left ? String(description.stages[result.left].exit) : "lost",
    left && macsOf(0) ? percent(shareOf(result.left)) : "",
    number(spent(result), 2),
  ];
  texts.forEach((text, place) => { picture.row.cells[place + 1].textContent = text; });
  return picture.row;
}

// --- The controls ---

function movePoint() {
  element("point_words").textContent = point().words;
  element("point").setAttribute("aria-valuetext", point().words);
  element("whole_answer").textContent = "";
  askAll();
}

async function askWhole() {
  const picture = shown;
  const whole = await ask(picture, { whole: true });
  if (picture !== shown) return;
  if (whole.lost) {
    lost(`${picture.name}: ${whole.lost.message}.`, () => enqueue(askWhole));
    return;
  }
  const last = whole.exits.at(-1), early = picture.result.exits.at(-1);
  const same = last.classNumber === early?.classNumber ? "the same" : "something else";
  element("whole_answer").textContent = `The last exit says ${same}: ${className(last)}, confidence ${last.confidence.toFixed(3)}.`;
  present(false);
}

function toProcessor(words) {
  network.useAccelerator("wasm");
  element("accelerator").value = "wasm";
  element("checked").textContent = words;
}

async function changeAccelerator() {
  if (element("accelerator").value === "wasm") {
    toProcessor("");
  } else if (!network.hasGpu) {
    toProcessor("This browser gives no WebGPU device. The processor goes on.");
    return;
  } else {
    network.useAccelerator("webgpu");
    element("checked").textContent = "Each stage is run twice and compared with the processor before its answers are shown.";
    await enqueue(async () => {
      // Something to see where no picture is there yet.
      const [height, width, channels] = description.image_shape;
      const data = Uint8Array.from({ length: height * width * channels }, (_, i) => i * 37 % 256);
      await ask(shown ?? { image: { height, width, channels, data } });
      if (network.accelerator === "webgpu") element("checked").textContent = "WebGPU answered twice as the processor does; later stages are checked when they are needed.";
    });
  }
  askAll();
}

async function startCamera() {
  noProblem();
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    problem(navigator.mediaDevices ? `The camera could not be used: ${error.message}.` : "The camera needs a page from this machine, or one over https.");
    return;
  }
  const video = element("video");
  video.srcObject = stream;
  video.hidden = false;
  element("camera").textContent = "Stop the camera";
  element("camera").setAttribute("aria-pressed", "true");
  // What changes several times a second is not read out.
  element("status").setAttribute("aria-live", "off");
  const own = stream, picture = { name: "Camera", live: true };
  await video.play();
  while (stream === own) {
    const side = Math.min(video.videoWidth, video.videoHeight);
    const middle = { left: Math.floor((video.videoWidth - side) / 2), top: Math.floor((video.videoHeight - side) / 2) };
    const frame = pixelsOf(video, { width: side, height: side, channels: description.image_shape[2], ...middle });
    picture.image = fitted(frame, description.image_shape, description.center_crop);
    picture.result = null;
    show(picture);
    await enqueue(() => classify(picture, false));
    await pause(CAMERA_MS);
  }
}

function stopCamera() {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  element("video").hidden = true;
  element("video").srcObject = null;
  element("camera").textContent = "Camera";
  element("camera").setAttribute("aria-pressed", "false");
  element("status").setAttribute("aria-live", "polite");
}

async function giveExample({ file, name }) {
  let content;
  try {
    const response = await fetch(file);
    if (!response.ok) throw new Error(`status ${response.status}`);
    content = await response.blob();
  } catch (error) {
    lost(`${name} could not be fetched (${error.message}).`, () => giveExample({ file, name }));
    return;
  }
  await give([new File([content], name)]);
}

function lay() {
  const { class_names: names, stages, points, examples } = description;
  const bytes = new Map(stages.map(stage => [stage.file, stage.bytes]));
  const first = stages[0].bytes / 1000, all = [...bytes.values()].reduce((a, b) => a + b) / 1000;
  element("about").textContent = `It tells ${names.length} classes apart: ${names.slice(0, 20).join(", ")}${names.length > 20 ? ", …" : ""}. Pictures stay in this page: none is sent anywhere.`;
  element("running").textContent = bytes.size > 1
    ? `The first stage has ${number(first, 0)} of ${number(all, 0)} kB; later ones are fetched when a picture needs them.`
    : `All stages are in one file of ${number(all, 0)} kB, which is fetched whole.`;
  element("exits").replaceChildren(...stages.map((_, place) => {
    const line = document.createElement("li"), head = document.createElement("div"), name = document.createElement("span"), words = document.createElement("span");
    const meter = document.createElement("div"), fill = document.createElement("div"), tick = document.createElement("div");
    line.className = "unused";
    head.className = "head";
    name.textContent = `Exit ${stages[place].exit}` + (macsOf(0) ? ` · ${number(macsOf(place) / 1e6, 2)} M MACs` : "");
    words.className = "words";
    meter.className = "meter";
    // What it shows is in the words.
    meter.setAttribute("aria-hidden", "true");
    fill.className = "fill";
    tick.className = "tick";
    tick.hidden = true;
    meter.append(fill, tick);
    head.append(name, words);
    line.append(head, meter);
    return line;
  }));
  document.body.classList.toggle("no_macs", !macsOf(0));
  element("point").max = points.length - 1;
  element("point").value = description.chosen;
  element("cheap_end").textContent = description.cheap_end;
  element("point_part").hidden = points.length < 2;
  element("point_words").textContent = point().words;
  element("point").setAttribute("aria-valuetext", point().words);
  element("examples").replaceChildren(...examples.map(example => {
    const item = document.createElement("li"), button = document.createElement("button"), image = document.createElement("img");
    button.type = "button";
    image.src = example.file;
    image.alt = example.name;
    button.append(image);
    button.addEventListener("click", () => giveExample(example));
    item.append(button);
    return item;
  }));
  element("example_part").hidden = !examples.length;
  element("parts").hidden = false;
}

async function start() {
  try {
    if (!description) {
      const response = await fetch("network.json", { cache: "no-cache" });
      if (!response.ok) throw new NotFetched(`network.json could not be fetched (status ${response.status})`);
      description = await response.json();
      lay();
    }
    element("status").textContent = "The network is being loaded …";
    network ??= new Network(description, fetching);
    await network.start();
    element("status").textContent = "Ready: give it a picture.";
    element("inputs").disabled = false;
  } catch (error) {
    element("status").textContent = "";
    lost(`The network could not be loaded: ${error.message ?? error}.`, start);
  }
}

function fetching(place) {
  const { exit, bytes } = description.stages[place];
  if (asking && asking === shown) element("exits").children[place].querySelector(".words").textContent = `stage ${exit} is being fetched: ${number(bytes / 1000, 0)} kB …`;
}

element("files").addEventListener("change", () => {
  const files = [...element("files").files];
  // The same file can be chosen again.
  element("files").value = "";
  give(files);
});
element("camera").addEventListener("click", () => stream ? stopCamera() : startCamera());
element("point").addEventListener("input", movePoint);
element("accelerator").addEventListener("change", changeAccelerator);
element("whole").addEventListener("click", () => enqueue(askWhole));
document.addEventListener("dragover", event => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", event => {
  if (!event.relatedTarget) document.body.classList.remove("over");
});
document.addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("over");
  give([...event.dataTransfer.files]);
});
start();
