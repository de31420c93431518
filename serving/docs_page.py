"""The API's own page: what there is, who is champion, and a request to try; it loads nothing from elsewhere."""

from typing import Final

DOCS_PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>FlowSense API</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>
:root { --bg: #f6f7f9; --card: #fff; --ink: #16191f; --soft: #59616e; --line: #e2e6ec; --accent: #2457c5; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #0f1217; --card: #171b22; --ink: #e7eaf0; --soft: #a3acba; --line: #2a303a; --accent: #7fa6ff; }
}
body { margin: 0; background: var(--bg); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 900px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 28px 0 8px; } p { margin: 0; color: var(--soft); }
pre, textarea { font: 13px/1.45 ui-monospace, Menlo, Consolas, monospace; background: var(--card); color: var(--ink);
  border: 1px solid var(--line); border-radius: 10px; padding: 12px; width: 100%; box-sizing: border-box; margin: 0;
  white-space: pre-wrap; overflow-wrap: anywhere; max-height: 340px; overflow: auto; }
button { font: inherit; font-weight: 600; color: var(--card); background: var(--accent); border: 0; border-radius: 8px;
  padding: 7px 18px; margin: 10px 0; cursor: pointer; }
table { border-collapse: collapse; } td { padding: 4px 18px 4px 0; vertical-align: top; } code { font-weight: 600; }
</style></head><body><main>
<h1>FlowSense API</h1><p id="who">asking …</p>
<h2>What there is</h2>
<table><tr><td><code>GET /health</code></td><td>whether it runs, who is champion, the executor</td></tr>
<tr><td><code>GET /v1/champion</code></td><td>model, version, columns; 503 without one</td></tr>
<tr><td><code>POST /v1/predict</code></td><td>feature rows in, probabilities out; 422 with a reason</td></tr>
<tr><td><code>GET /openapi.json</code></td><td>the schema</td></tr></table>
<h2>Try it</h2><textarea id="body" rows="9" spellcheck="false"></textarea><button id="send">POST /v1/predict</button>
<pre id="answer" hidden></pre>
<script>
"use strict";
const show = (id, value) => { const box = document.getElementById(id); box.hidden = false; box.textContent = value; };
(async () => {
  const health = await (await fetch("/health")).json();
  show("who", `${health.source}: ${health.reason}`);
  const answer = await fetch("/v1/champion");
  if (!answer.ok) return;
  const champion = await answer.json();
  const features = champion.columns.map(() => 0);
  const row = { instrument: champion.instruments[0], ts_recv: Date.now() * 1000000, features };
  document.getElementById("body").value = JSON.stringify({ rows: [row] });
})();
document.getElementById("send").addEventListener("click", async () => {
  const body = document.getElementById("body").value;
  const answer = await fetch("/v1/predict", { method: "POST", headers: { "content-type": "application/json" }, body });
  show("answer", `${answer.status}\\n${JSON.stringify(await answer.json(), null, 2)}`);
});
</script></main></body></html>
"""
