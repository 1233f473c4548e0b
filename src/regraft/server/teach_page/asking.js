// One picture after the other, each with what it may be: what Next and Mend are made of.

import { askPerson, button, large, made, percent, picture, say, small } from "./dom.js";
import { complain, get, isUntold, label, remove, sentence, state } from "./state.js";

/**
 * A queue of questions in an element.
 *
 * A question is {number, best, choices: [[label, share]], words, twins}; `best` is what Enter takes.
 * `done(question)` hears of each that is answered, `empty` says what stands there when none is left.
 */
export class Asking {
  constructor({ host, done = () => {}, keep = () => {}, empty, keepWords = "Skip" }) {
    Object.assign(this, { host, done, keep, empty, keepWords, questions: [], place: 0, walked: false, hasHeat: false });
    this.underWay = new Set(); // numbers whose answer the server has not confirmed
    this.head = made("div", { class: "bar" });
    this.strip = made("div", { class: "strip" });
    this.body = made("div");
    host.replaceChildren(this.head, this.strip, this.body);
  }

  get current() {
    return this.questions[this.place];
  }

  /** Other questions; the one that was shown stays, where it is still among them. */
  show(questions) {
    const was = this.current?.number;
    this.questions = questions.filter(({ number }) => state.pictures.has(number) && !this.underWay.has(number));
    const place = this.questions.findIndex((one) => one.number === was);
    this.place = place >= 0 ? place : 0;
    this.draw();
  }

  draw() {
    const one = this.current && state.pictures.get(this.current.number);
    this.strip.replaceChildren(...this.questions.slice(0, 60).map((question, place) => this.#thumb(question, place)));
    this.strip.hidden = this.questions.length < 2;
    if (!one) {
      this.body.replaceChildren(made("p", { class: "quiet" }, this.empty()));
      return;
    }
    this.body.replaceChildren(this.#asked(this.current, one));
    this.#near(one);
  }

  #thumb(question, place) {
    const one = state.pictures.get(question.number);
    return made("button", {
      type: "button", "aria-current": String(place === this.place), "aria-label": `Picture ${place + 1} of ${this.questions.length}`,
      onclick: () => this.#walk(place),
    }, one ? picture(one, { alt: "" }) : "");
  }

  #asked(question, one) {
    const image = made("img", { class: "shown", src: large(one), alt: one.name });
    this.image = image;
    const bad = state.bad[one.number];
    const figure = made("figure", {}, image, made("figcaption", {}, one.path));
    if (bad) image.replaceWith(made("p", { class: "notice" }, sentence(bad[0]), " ", sentence(bad[1])));
    const heat = button("Where the model looks (H)", () => this.toggleHeat(), { "aria-pressed": "false" });
    this.heatButton = heat;
    const shares = new Map(question.choices);
    const names = [...new Set([...(question.best ? [question.best] : []), ...state.classes])];
    const choices = names.slice(0, 30).map((name) => this.#choice(name, shares.get(name), question.best));
    const right = made("div", {},
      made("h2", {}, question.title ?? "What is it?"),
      made("p", { class: "quiet" }, question.words ?? ""),
      made("div", { class: "choices" }, ...choices, button("A new class …", () => this.answerNew(), { class: "new" })),
      made("div", { class: "buttons" },
        button(`${question.keepWords ?? this.keepWords} (K)`, () => this.pass()),
        button("Trash (Del)", () => this.trash()),
        (state.lesson?.score || state.lesson?.classes.length) && !isUntold(one) ? heat : null,
      ),
      (this.nearby = made("div")),
    );
    if (this.hasHeat) this.toggleHeat(true);
    return made("div", { class: "asking" }, figure, right);
  }

  #choice(name, share, best) {
    const place = state.classes.indexOf(name);
    const key = (place >= 0 && place < 9 ? String(place + 1) : "") + (name === best ? " ⏎" : "");
    return made("button", { type: "button", class: name === best ? "best" : "", onclick: () => this.answer(name) },
      key ? made("kbd", {}, key.trim()) : made("span"), made("span", {}, name), made("span", { class: "n" }, share === undefined ? "" : percent(share)));
  }

  async #near(one) {
    const into = this.nearby;
    try {
      const { near } = await get(`api/near/${one.number}`);
      if (!near.length || this.nearby !== into) return;
      const figures = near.filter(({ number }) => state.pictures.has(number)).map(({ number, label: own }) => made("figure", {}, made("img", { src: small(state.pictures.get(number)), alt: "" }), made("figcaption", {}, own)));
      into.replaceChildren(made("p", { class: "quiet small" }, "Labelled pictures that are most like it:"), made("div", { class: "near" }, ...figures));
    } catch (error) {
      if (error.status !== 404) complain(error);
    }
  }

  toggleHeat(isOn = !this.hasHeat) {
    this.hasHeat = isOn;
    const one = state.pictures.get(this.current?.number);
    if (!one || !this.image || isUntold(one)) return;
    const label_ = this.current.best ? `&label=${encodeURIComponent(this.current.best)}` : "";
    this.image.src = isOn ? `api/heat/${one.number}?v=${state.lesson?.version}${label_}` : large(one);
    this.image.alt = isOn ? `${one.name}; bright places speak for ${this.current.best ?? "the answer"}` : one.name;
    this.heatButton?.setAttribute("aria-pressed", String(isOn));
  }

  async answer(name) {
    const question = this.current;
    if (!question) return;
    const one = state.pictures.get(question.number);
    if (one?.label === name) return this.pass();
    await this.#settle(question, label([question.number], name));
  }

  async answerNew() {
    const name = await askPerson("A new class", "The picture goes into it.", { what: "Name", yes: "Make it" });
    if (name?.trim()) this.answer(name.trim());
  }

  accept() {
    if (this.current.best) this.answer(this.current.best);
    else say("Nothing is suggested here: press the number of its class.");
  }

  async trash() {
    const question = this.current;
    if (!question) return;
    await this.#settle(question, remove([question.number]));
  }

  /** Off the queue at once; a list that the server made before it knew must not bring it back. */
  async #settle(question, done) {
    this.underWay.add(question.number);
    this.#drop(question);
    const isDone = await done;
    this.underWay.delete(question.number);
    if (isDone) this.done(question);
  }

  pass() {
    const question = this.current;
    if (!question) return;
    this.#drop(question);
    this.keep(question);
  }

  #drop(question) {
    this.questions = this.questions.filter((one) => one !== question);
    // The first is the best to ask, and a list of now may have put the one just answered further
    // down; who walked there goes on from there.
    this.place = this.walked ? Math.min(this.place, Math.max(0, this.questions.length - 1)) : 0;
    this.draw();
  }

  #walk(place) {
    Object.assign(this, { place, walked: place > 0 });
    this.draw();
  }

  /** Whether the key meant something. */
  key(event) {
    const name = state.classes[Number(event.key) - 1];
    if (/^[1-9]$/.test(event.key) && name) this.answer(name);
    else if (event.key === "0" && this.current) this.answer(null);
    else if (event.key === "Enter" && this.current && !event.target.closest("button, a, input, select")) this.accept();
    else if (event.key === "Delete" || event.key === "Backspace") this.trash();
    else if (event.key.toLowerCase() === "k") this.pass();
    else if (event.key.toLowerCase() === "h") this.toggleHeat();
    else if (event.key === "ArrowRight" && this.place + 1 < this.questions.length) this.#walk(this.place + 1);
    else if (event.key === "ArrowLeft" && this.place > 0) this.#walk(this.place - 1);
    else return false;
    return true;
  }
}
