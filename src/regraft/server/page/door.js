// The token that a server asks for: from the address (#token=...), from before, or from whoever
// sits here, who is asked by a dialog.

const KEPT = "regraft-token";
const FORM = `
  <form method="dialog" id="door-form">
    <h2 id="door-title">This server asks for its token</h2>
    <p class="quiet">It was printed where the server was started, or given with <code>--token</code>.</p>
    <label>Token <input type="password" id="token" autocomplete="off" required></label>
    <p id="door-says" role="alert"></p>
    <div class="buttons"><button class="main">Enter</button></div>
  </form>`;

export class Door {
  constructor() {
    this.opened = null;
    this.dialog = Object.assign(document.createElement("dialog"), { id: "door", innerHTML: FORM });
    this.dialog.setAttribute("aria-labelledby", "door-title");
    document.body.append(this.dialog);
    const given = new URLSearchParams(location.hash.slice(1)).get("token");
    if (given) {
      sessionStorage.setItem(KEPT, given);
      history.replaceState(null, "", location.pathname + location.search);
    }
  }

  headers() {
    const token = sessionStorage.getItem(KEPT);
    return token ? { Authorization: `Bearer ${token}` } : {};
  }

  /** Asks for a token, once for all requests that wait for one. */
  open() {
    this.opened ??= new Promise((resolve) => {
      const input = this.dialog.querySelector("input");
      const says = this.dialog.querySelector("[role=alert]");
      says.textContent = sessionStorage.getItem(KEPT) ? "That token is not the server's." : "";
      this.dialog.addEventListener("close", () => {
        sessionStorage.setItem(KEPT, input.value.trim());
        input.value = "";
        this.opened = null;
        resolve();
      }, { once: true });
      this.dialog.showModal();
    });
    return this.opened;
  }
}
