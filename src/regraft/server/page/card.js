// One picture and what was said of it. Names are only ever text: nothing here writes HTML.

function made(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

/** 0.9876 as "98.8 %"; what is small but there is not "0 %". */
export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** A card that waits for its answer. */
export class Card {
  constructor(file, onRemove) {
    this.file = file;
    this.answer = null;
    this.url = URL.createObjectURL(file);
    this.element = made("li", "card");
    this.pictures = made("div", "two");
    this.pictures.append(this.#original());
    const remove = made("button", "remove", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => onRemove(this));
    this.heading = made("h3", "waiting", "waiting …");
    this.body = made("div");
    this.element.append(this.pictures, remove, made("p", "name", file.name), this.heading, this.body);
  }

  /** Its place in an order of doubt; what could not be read comes first. */
  get certainty() {
    return this.answer && !this.answer.error ? this.answer.probability ?? 0 : -1;
  }

  wait() {
    this.answer = null;
    this.element.className = "card";
    this.heading.className = "waiting";
    this.heading.textContent = "waiting …";
    this.body.replaceChildren();
    this.#heat(null);
  }

  show(answer) {
    this.answer = answer;
    this.heading.className = "";
    if (answer.error) return this.#refuse(answer.error, answer.mend);
    this.element.classList.toggle("unknown", Boolean(answer.none_of_these));
    this.heading.textContent = answer.none_of_these ? "None of these" : answer.label;
    this.body.replaceChildren(tops(answer), ...words(answer));
    this.#heat(answer.heatmap);
  }

  #refuse(reason, mend) {
    this.element.classList.add("bad");
    this.heading.textContent = "Cannot be read";
    this.body.replaceChildren(made("p", "words", sentence(reason)));
    if (mend) this.body.append(made("p", "words quiet", sentence(`what to do: ${mend}`)));
  }

  remove() {
    URL.revokeObjectURL(this.url);
    this.element.remove();
  }

  #original() {
    const figure = made("figure", "alone");
    const image = made("img");
    image.alt = "";
    image.decoding = "async";
    image.src = this.url;
    image.addEventListener("error", () => image.replaceWith(made("div", "none", "no preview")), { once: true });
    figure.append(image);
    return figure;
  }

  #heat(heatmap) {
    const [original, before] = this.pictures.children;
    before?.remove();
    original.classList.toggle("alone", !heatmap);
    if (!heatmap) return;
    const figure = made("figure");
    const image = made("img");
    image.alt = `Bright places speak for ${heatmap.label}`;
    image.src = `data:image/png;base64,${heatmap.png}`;
    figure.append(image, made("figcaption", "", "bright: what speaks for it"));
    this.pictures.append(figure);
  }
}

function tops(answer) {
  const list = made("ol", "tops");
  list.setAttribute("aria-label", "The most probable classes");
  const inside = new Set(answer.set || []);
  for (const [label, share] of answer.top) {
    const row = made("li", inside.has(label) ? "inside" : "");
    const track = made("span", "track");
    const bar = made("i");
    bar.style.width = `${100 * share}%`;
    track.setAttribute("aria-hidden", "true");
    track.append(bar);
    row.append(made("span", "of", label), made("span", "share", percent(share)), track);
    list.append(row);
  }
  return list;
}

function words(answer) {
  const found = [];
  if (answer.none_of_these) {
    found.push(`It is unlike what the model learnt from: only ${percent(answer.typical)} of those images are less like the others than this one.`);
  }
  if (answer.set) {
    const some = answer.set.join(", ");
    found.push(!answer.set.length ? "The set of classes that it may be is empty: it fits none as the pictures of that class do."
      : `The set of classes that it may be: ${some}${answer.set.length === 1 ? " alone" : ""}.`);
  }
  return found.map((text) => made("p", "words", text));
}

function sentence(text) {
  const last = text.endsWith(".") ? "" : ".";
  return text.charAt(0).toUpperCase() + text.slice(1) + last;
}
