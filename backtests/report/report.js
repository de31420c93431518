"use strict";
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  document.body.append(tip);
  const money = (v) => {
    const digits = Math.abs(v) < 1000 ? 2 : 0;
    const text = Math.abs(v).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return (v < 0 ? "−" : v > 0 ? "+" : "") + text;
  };
  for (const svg of document.querySelectorAll("svg[data-hover]")) {
    const data = JSON.parse(svg.dataset.hover);
    const cross = document.createElementNS("http://www.w3.org/2000/svg", "line");
    cross.setAttribute("class", "cross");
    cross.setAttribute("y1", data.top);
    cross.setAttribute("y2", data.bottom);
    cross.style.display = "none";
    svg.append(cross);
    const hide = () => { tip.style.display = cross.style.display = "none"; };
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      if (x < data.left || x > data.right) return hide();
      const at = Math.round(((x - data.left) / (data.right - data.left)) * (data.x.length - 1));
      const px = data.left + ((data.right - data.left) * at) / Math.max(data.x.length - 1, 1);
      cross.setAttribute("x1", px);
      cross.setAttribute("x2", px);
      cross.style.display = "";
      const head = document.createElement("b");
      head.textContent = data.x[at];
      tip.replaceChildren(head);
      for (const line of [...data.lines].sort((a, b) => b.y[at] - a.y[at])) {
        const row = document.createElement("div");
        const name = document.createElement("span");
        name.className = line.css;
        name.textContent = line.name;
        const value = document.createElement("span");
        value.textContent = money(line.y[at]);
        row.append(name, value);
        tip.append(row);
      }
      tip.style.display = "block";
      const left = event.clientX + 16 + tip.offsetWidth > innerWidth ? event.clientX - 16 - tip.offsetWidth : event.clientX + 16;
      tip.style.left = `${Math.max(4, left)}px`;
      tip.style.top = `${Math.min(event.clientY + 12, innerHeight - tip.offsetHeight - 8)}px`;
    });
  }
  const value = (cell) => parseFloat(cell.textContent.replace(/−/g, "-").replace(/[,+%<\s]/g, ""));
  for (const head of document.querySelectorAll("th.sorts")) {
    head.addEventListener("click", (event) => {
      if (event.target.closest("a")) event.preventDefault();
      const descending = head.getAttribute("aria-sort") !== "descending";
      for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const column = [...head.parentNode.children].indexOf(head);
      for (const body of head.closest("table").tBodies) {
        const rows = [...body.rows].filter((row) => !row.classList.contains("heading"));
        const key = (row) => { const v = value(row.cells[column]); return Number.isNaN(v) ? -Infinity : v; };
        rows.sort((a, b) => (descending ? key(b) - key(a) : key(a) - key(b)));
        body.append(...rows);
      }
    });
  }
})();
