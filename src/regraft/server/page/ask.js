// Requests to the server that gave this page: with its token where it asks for one, and again
// after a while where it is busy.

const MOST_TRIES = 8;

/** What the server refused: its words, and the cure. */
export class Refused extends Error {
  constructor(rule, cure, status) {
    super(rule);
    this.cure = cure || "";
    this.status = status;
  }
}

/** The answer as JSON; throws Refused. 422 is an answer too: none of the pictures can be read. */
export async function ask(door, path, options = {}) {
  for (let tries = 1; ; tries++) {
    const sent = door.headers();
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...options.headers, ...sent } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused("the server cannot be reached", "is it still running?", 0);
    }
    if (response.status === 401) {
      if (sent.Authorization === door.headers().Authorization) await door.open();
      continue;
    }
    if (response.status === 503 && tries < MOST_TRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(seconds, 10)));
      continue;
    }
    const content = await response.json().catch(() => ({}));
    if (response.ok || (response.status === 422 && content.predictions)) return content;
    throw new Refused(content.error || `the server answered ${response.status}`, content.cure, response.status);
  }
}
