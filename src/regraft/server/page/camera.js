// A picture from the camera, as a file like any other.

/** Wires the dialog; `take(file)` gets each picture. */
export function wireCamera({ button, dialog, video, says, shoot, shut }, take) {
  if (!navigator.mediaDevices?.getUserMedia) {
    button.disabled = true;
    button.title = "Browsers give pages the camera only at https:// addresses and on this machine.";
    return;
  }
  let stream = null;
  let number = 0;

  const stop = () => {
    for (const track of stream?.getTracks() || []) track.stop();
    stream = null;
    video.srcObject = null;
  };

  button.addEventListener("click", async () => {
    dialog.showModal();
    shoot.disabled = true;
    says.textContent = "Waiting for the camera …";
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      says.textContent = inWords(error);
      return;
    }
    if (!dialog.open) return stop();
    video.srcObject = stream;
    await video.play().catch(() => {});
    shoot.disabled = false;
    says.textContent = "";
    shoot.focus();
  });

  shoot.addEventListener("click", () => {
    if (!video.videoWidth) return;
    const canvas = Object.assign(document.createElement("canvas"), {
      width: video.videoWidth, height: video.videoHeight,
    });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      number += 1;
      says.textContent = `Picture ${number} taken.`;
      take(new File([blob], `camera ${number}.jpg`, { type: "image/jpeg" }));
    }, "image/jpeg", 0.95);
  });

  shut.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", stop);
}

function inWords(error) {
  if (error.name === "NotAllowedError") return "The browser was not allowed to use the camera: allow it in the address bar.";
  if (error.name === "NotFoundError") return "No camera was found.";
  return `The camera cannot be used: ${error.message || error.name}`;
}
