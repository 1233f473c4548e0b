// The camera: opened in a dialog, a picture of what it sees as a file, closed with the dialog.

/** Why this page cannot have the camera; empty if it can. */
export const unavailable = navigator.mediaDevices?.getUserMedia
  ? "" : "Browsers give pages the camera only at https:// addresses and on this machine.";

/** Shows the dialog and what the camera sees; whether it sees. If not, `says` tells why. */
export async function openCamera({ dialog, video, says }) {
  dialog.addEventListener("close", () => close(video), { once: true });
  dialog.showModal();
  says.textContent = unavailable || "Waiting for the camera …";
  if (unavailable) return false;
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    says.textContent = inWords(error);
    return false;
  }
  if (!dialog.open) {  // shut while the browser asked
    close(video);
    return false;
  }
  await video.play().catch(() => {});
  says.textContent = "";
  return true;
}

/** What the camera sees now, as a file of this name; null if it sees nothing yet. */
export async function snap(video, name) {
  if (!video.videoWidth) return null;
  const canvas = Object.assign(document.createElement("canvas"), {
    width: video.videoWidth, height: video.videoHeight,
  });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([blob], name, { type: "image/jpeg" });
}

function close(video) {
  for (const track of video.srcObject?.getTracks() || []) track.stop();
  video.srcObject = null;
}

function inWords(error) {
  if (error.name === "NotAllowedError") return "The browser was not allowed to use the camera: allow it in the address bar.";
  if (error.name === "NotFoundError") return "No camera was found.";
  return `The camera cannot be used: ${error.message || error.name}`;
}
