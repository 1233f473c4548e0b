// The camera of a taught folder: single pictures, and bursts that stay together when some pictures are set aside.

import { openCamera, snap } from "./camera.js";
import { at, count } from "./dom.js";

const EVERY_MS = 200;
let number = 0;
let take = () => {};
let burst = null;

export function wireShutter() {
  const button = at("burst");
  at("shoot").addEventListener("click", async () => {
    const file = await shot();
    if (file) take([file], "");
  });
  const begin = () => {
    if (burst || !at("video").srcObject) return;
    burst = { files: [], key: crypto.randomUUID().replaceAll("-", ""), timer: setInterval(frame, EVERY_MS) };
    frame();
  };
  const end = () => {
    if (!burst) return;
    clearInterval(burst.timer);
    const { files, key } = burst;
    burst = null;
    if (files.length) take(files, key);
    at("shutter-says").textContent = `${count(files.length, "picture")} taken.`;
  };
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    begin();
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(name, end);
  button.addEventListener("keydown", (event) => {
    if ((event.key === " " || event.key === "Enter") && !event.repeat) begin();
  });
  button.addEventListener("keyup", end);
  button.addEventListener("blur", end);
  at("shut").addEventListener("click", () => at("shutter").close());
  at("shutter").addEventListener("close", end);
}

async function frame() {
  const now = burst;
  const file = await shot();
  if (file && now) now.files.push(file);
  if (now === burst && now) at("shutter-says").textContent = `${count(now.files.length, "picture")} …`;
}

/** Opens the camera; `taking(files, key)` gets what it takes. */
export async function openShutter(taking, { hasClasses = true } = {}) {
  take = taking;
  at("shutter-into").hidden = !hasClasses;
  at("burst").hidden = !hasClasses;
  for (const id of ["shoot", "burst"]) at(id).disabled = true;
  if (!await openCamera({ dialog: at("shutter"), video: at("video"), says: at("shutter-says") })) return;
  for (const id of ["shoot", "burst"]) at(id).disabled = false;
  at("shoot").focus();
}

function shot() {
  number += 1;
  return snap(at("video"), `camera-${Date.now()}-${number}.jpg`);
}
