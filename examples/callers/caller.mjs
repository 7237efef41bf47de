#!/usr/bin/env node
// Asks Mandate with node's own fetch: caller.mjs [PERSON]
//
// MANDATE_SERVER, MANDATE_CA and MANDATE_KEY say whom to ask and how: see examples/README.md.
// Ends with 0 if the person may publish, 2 if not, 1 if nobody could say.

// There is no decision. That is no access, and no deny either.
class NoAnswer extends Error {}

class Mandate {
  constructor(server, key) {
    this.server = server.replace(/\/+$/, "");
    this.headers = { "content-type": "application/json" };
    if (key?.includes(":")) {
      const at = key.indexOf(":");
      const pair = [key.slice(0, at), key.slice(at + 1)].map(encodeURIComponent).join(":");
      this.headers.authorization = `Basic ${Buffer.from(pair).toString("base64")}`;
    } else if (key) {
      this.headers.authorization = `Bearer ${key}`;
    }
  }

  async post(path, body) {
    let response, text;
    try {
      response = await fetch(this.server + path, {
        method: "POST",
        headers: this.headers,
        body: JSON.stringify(body),
        // An answer from elsewhere is not the answer of whom we asked, and our key is not for whoever that is.
        redirect: "error",
        signal: AbortSignal.timeout(5000),
      });
      text = await response.text();
    } catch (error) {
      throw new NoAnswer(`${this.server} cannot be reached: ${error.cause?.message ?? error.message}`);
    }
    let answer;
    try {
      answer = JSON.parse(text);
    } catch {
      answer = undefined;
    }
    if (response.status !== 200) {
      throw new NoAnswer(`${response.status} ${answer?.code}: ${answer?.detail}`);
    }
    if (typeof answer !== "object" || answer === null) throw new NoAnswer("the answer is not JSON");
    return answer;
  }

  // Whether it is an allow, and the reason of a deny.
  async evaluate(question) {
    const answer = await this.post("/access/v1/evaluation", question);
    return { allowed: decision(answer), reason: answer.context?.reason };
  }

  async evaluateEach(batch) {
    const { evaluations } = await this.post("/access/v1/evaluations", batch);
    if (!Array.isArray(evaluations) || evaluations.length !== batch.evaluations.length) {
      throw new NoAnswer("not every question was answered");
    }
    return evaluations.map(decision);
  }

  // Every result, page by page.
  async *searchResources(search) {
    for (;;) {
      const { results, page } = await this.post("/access/v1/search/resource", search);
      yield* results;
      if (!page?.next_token) return;
      search = { ...search, page: { ...search.page, token: page.next_token } };
    }
  }
}

// Only true is an allow and only false is a deny. `if (answer.decision)` would let the text "false" in.
function decision(answer) {
  // A question that was none is an error in its place.
  if (typeof answer?.decision !== "boolean" || answer.context?.error) {
    throw new NoAnswer(`\`${JSON.stringify(answer)}\` is no decision`);
  }
  return answer.decision;
}

const word = (allowed) => (allowed ? "allow" : "deny");

async function main() {
  const person = process.argv[2] ?? "maria";
  const { MANDATE_SERVER: server, MANDATE_CA: ca, MANDATE_KEY: key, NODE_EXTRA_CA_CERTS: trusted } = process.env;
  // Node reads its authorities once, before this line.
  if (ca && ca !== trusted) throw new NoAnswer('start node with NODE_EXTRA_CA_CERTS="$MANDATE_CA"');
  const mandate = new Mandate(server ?? "http://127.0.0.1:8080", key);
  const subject = { type: "user", id: person };
  const bakery = { type: "site", id: "bakery" };

  // One question, with the reason for a deny.
  const question = { subject, action: { name: "PublishSite" }, resource: bakery, context: { explain: true } };
  const { allowed, reason } = await mandate.evaluate(question);
  console.log(`${person} PublishSite bakery: ${word(allowed)}${reason ? ` (${reason})` : ""}`);

  // Several questions, answered at one revision. What stands beside the list holds for each of them.
  const actions = ["EditContent", "InviteContributor", "ManagePayouts"];
  const evaluations = actions.map((name) => ({ action: { name } }));
  const answers = await mandate.evaluateEach({ subject, resource: bakery, evaluations });
  answers.forEach((answer, at) => console.log(`${person} ${actions[at]} bakery: ${word(answer)}`));

  // A search, page by page.
  let found = 0;
  const search = { subject, action: { name: "EditContent" }, resource: { type: "site" }, page: { limit: 2 } };
  for await (const site of mandate.searchResources(search)) {
    console.log(`${person} may edit ${site.id}`);
    found += 1;
  }
  console.log(`${person} may edit ${found} sites`);
  return allowed ? 0 : 2;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof NoAnswer)) throw error;
  console.error(`no answer, so no access: ${error.message}`);
  process.exitCode = 1;
}
