// The camera: single pictures, and bursts that stay together when some pictures are set aside.

import { at, count } from "./dom.js";

const EVERY_MS = 200;
let stream = null;
let number = 0;
let take = () => {};
let burst = null;

export function wireShutter() {
  const button = at("burst");
  at("shoot").addEventListener("click", async () => {
    const file = await snap();
    if (file) take([file], "");
  });
  const begin = () => {
    if (burst || !stream) return;
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
  at("shutter").addEventListener("close", () => {
    end();
    for (const track of stream?.getTracks() || []) track.stop();
    stream = at("video").srcObject = null;
  });
}

async function frame() {
  const now = burst;
  const file = await snap();
  if (file && now) now.files.push(file);
  if (now === burst && now) at("shutter-says").textContent = `${count(now.files.length, "picture")} …`;
}

/** Opens the camera; `taking(files, key)` gets what it takes. */
export async function openShutter(taking, { hasClasses = true } = {}) {
  take = taking;
  at("shutter-into").hidden = !hasClasses;
  at("burst").hidden = !hasClasses;
  at("shutter").showModal();
  for (const id of ["shoot", "burst"]) at(id).disabled = true;
  if (!navigator.mediaDevices?.getUserMedia) {
    at("shutter-says").textContent = "Browsers give pages the camera only at https:// addresses and on this machine.";
    return;
  }
  at("shutter-says").textContent = "Waiting for the camera …";
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    const why = { NotAllowedError: "The browser was not allowed to use the camera: allow it in the address bar.", NotFoundError: "No camera was found." };
    at("shutter-says").textContent = why[error.name] || `The camera cannot be used: ${error.message || error.name}`;
    return;
  }
  at("video").srcObject = stream;
  await at("video").play().catch(() => {});
  for (const id of ["shoot", "burst"]) at(id).disabled = false;
  at("shutter-says").textContent = "";
  at("shoot").focus();
}

async function snap() {
  const video = at("video");
  if (!video.videoWidth) return null;
  const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  number += 1;
  return new File([blob], `camera-${Date.now()}-${number}.jpg`, { type: "image/jpeg" });
}
